/* SPDX-License-Identifier: Apache-2.0 */
/* Apple's extension of a client certificate that lists topics: as many as there is room for, each a text. */
#include "apns/sim/sim_tls.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sim_certificate c;
    unsigned char *der = malloc(size ? size : 1); /* of that size, for the address sanitizer */
    if (!der)
        return 0;
    if (size)
        memcpy(der, data, size);
    memset(&c, 0, sizeof c);
    sim_tls_topics(&c, der, size);
    size_t sum = 0;
    check(c.topic_count <= SIM_TOPICS_MAX);
    for (unsigned i = 0; i < c.topic_count; i++) {
        check(memchr(c.topics[i], 0, sizeof c.topics[i]));
        sum += strlen(c.topics[i]);
    }
    check(sum <= size);
    for (unsigned i = c.topic_count; i < SIM_TOPICS_MAX; i++)
        check(!c.topics[i][0]);
    free(der);
    return 0;
}
