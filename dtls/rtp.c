/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/rtp.h"

#define RTP_HEADER_BYTES  12
#define RTCP_HEADER_BYTES 8

bool rtp_is_rtp_or_rtcp(const uint8_t *p, size_t len) {
    if (len < RTCP_HEADER_BYTES || p[0] < 128 || p[0] > 191)
        return false;
    return rtp_is_rtcp(p, len) || len >= RTP_HEADER_BYTES;
}

bool rtp_is_rtcp(const uint8_t *p, size_t len) {
    return len >= RTCP_HEADER_BYTES && p[1] >= 192 && p[1] <= 223;
}

uint32_t rtp_ssrc(const uint8_t *p) {
    return (uint32_t)p[8] << 24 | (uint32_t)p[9] << 16 | (uint32_t)p[10] << 8 | p[11];
}

uint16_t rtp_seq(const uint8_t *p) {
    return (uint16_t)(p[2] << 8 | p[3]);
}

void rtp_streams_note(struct rtp_streams *t, uint32_t ssrc, uint16_t seq) {
    for (size_t i = 0; i < t->count; i++) {
        struct rtp_stream *s = &t->s[i];
        if (s->ssrc != ssrc)
            continue;
        /* A step of less than half the circle forward is newer; passing zero on the way counts one roll-over. */
        if ((uint16_t)(seq - s->seq) < 0x8000) {
            if (seq < s->seq)
                s->roc++;
            s->seq = seq;
        }
        return;
    }
    if (t->count < RTP_STREAMS_MAX)
        t->s[t->count++] = (struct rtp_stream){.ssrc = ssrc, .roc = 0, .seq = seq};
}
