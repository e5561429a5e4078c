/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of the two file formats fill. Private to dtls/. */
#ifndef DTLS_RINGBACK_PRIV_H
#define DTLS_RINGBACK_PRIV_H

#include "dtls/ringback.h"

#define PCMU_HZ          8000U
#define PCMU_FRAME_BYTES ((size_t)PCMU_HZ / 1000 * RINGBACK_FRAME_MS)

struct ringback {
    const char *codec;
    uint32_t clock_hz;
    unsigned count;
    struct {
        uint32_t at, len;
    } frame[RINGBACK_FRAMES_MAX];
    size_t bytes, cap;
    uint8_t data[]; /* cap bytes: the payloads, one behind the other */
};

/* One more frame. Returns 0, or E_FULL with a sentence when the file is too long. */
int ringback_add(struct ringback *r, const uint8_t *p, size_t len, struct err_text *et);

/* Each returns 0 with at least one frame, or an error with a sentence. */
int ringback_ogg_read(struct ringback *r, const uint8_t *p, size_t len, struct err_text *et);
int ringback_wav_read(struct ringback *r, const uint8_t *p, size_t len, struct err_text *et);

#endif
