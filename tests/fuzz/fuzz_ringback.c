/* SPDX-License-Identifier: Apache-2.0 */
/* A ringback file: refused with a sentence, or frames that can be sent. */
#include "dtls/ringback.h"

#include <ogg/ogg.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Checksums that fit, so that what is behind them is tried as well. */
static void mend(uint8_t *p, size_t size) {
    for (size_t at = 0; size - at >= 27 && memcmp(p + at, "OggS", 4) == 0;) {
        size_t header = 27U + p[at + 26], body = 0;
        for (size_t i = 0; i < p[at + 26] && at + 27 + i < size; i++)
            body += p[at + 27 + i];
        if (header + body > size - at)
            break;
        ogg_page page = {p + at, (long)header, p + at + header, (long)body};
        ogg_page_checksum_set(&page);
        at += header + body;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ringback *r = NULL;
    struct err_text et = {""};
    size_t len, bytes = 0;
    /* Of that size, for the address sanitizer. */
    uint8_t *p = malloc(size ? size : 1);
    if (!p)
        return 0;
    if (size)
        memcpy(p, data, size);
    mend(p, size);
    int err = ringback_parse(&r, p, size, &et);
    if ((err == 0) != (r != NULL) || (err != 0) != (et.s[0] != 0))
        abort();
    for (unsigned i = 0; r && i < ringback_frames(r); i++) {
        if (!ringback_frame(r, i, &len) || len == 0 || len > RINGBACK_FRAME_MAX_BYTES)
            abort();
        bytes += len;
    }
    if (r && (ringback_frames(r) == 0 || bytes > size + 160))
        abort();
    ringback_free(r);
    free(p);
    return 0;
}
