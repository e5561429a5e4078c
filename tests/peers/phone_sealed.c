/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/phone_sealed.h"

#include "base/err.h"
#include "base/secret.h"
#include "tests/peers/peer_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INFO "wakegate sealed v1"

int phone_sealed_init(struct phone_sealed *s, const char *handoff) {
    uint8_t public_key[HPKE_KEY_BYTES];
    memset(s, 0, sizeof *s);
    s->can = strstr(handoff, "sealed") != NULL;
    if (!s->can)
        return 0;
    int err = hpke_key_new(s->private_key, public_key);
    if (err == 0)
        b64url_encode(s->public_key, public_key, sizeof public_key);
    return err;
}

void phone_sealed_wipe(struct phone_sealed *s) {
    secret_wipe(s, sizeof *s);
}

/* Decoded and opened in two pieces of memory of their own; both are wiped. */
static int open_text(json_t **handoff, const struct phone_sealed *s, const struct hpke_about *about, const char *text) {
    size_t cap = strlen(text);
    uint8_t *sealed = malloc(cap), *plain = malloc(cap);
    int err = sealed && plain ? 0 : E_NOMEM;
    int n = err == 0 ? b64url_decode(sealed, cap, text, cap) : 0;
    if (n < 0)
        err = E_MALFORMED;
    if (err == 0)
        err = hpke_open(plain, s->private_key, about, sealed, (size_t)n);
    if (err == 0) {
        *handoff = json_loadb((const char *)plain, (size_t)n - HPKE_OVERHEAD_BYTES, 0, NULL);
        secret_wipe(plain, cap);
        err = *handoff ? 0 : E_MALFORMED;
    }
    free(sealed);
    free(plain);
    return err;
}

int phone_sealed_open(json_t **handoff, const struct phone_sealed *s, const json_t *wakegate, const char *device) {
    char aad[UUID_BYTES + 256];
    const struct hpke_about about = {.info = INFO, .aad = aad};
    const char *text = peer_text(wakegate, "sealed");
    if (!s->can || !*text)
        return E_NOTFOUND;
    snprintf(aad, sizeof aad, "%s/%s", peer_text(wakegate, "call"), device);
    return open_text(handoff, s, &about, text);
}
