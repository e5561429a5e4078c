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

int rtp_streams_find(const struct rtp_streams *t, uint32_t ssrc) {
    for (size_t i = 0; i < t->count; i++)
        if (t->s[i].ssrc == ssrc)
            return (int)i;
    return -1;
}

uint32_t rtp_stream_roc(const struct rtp_stream *s, uint16_t seq) {
    bool newer = (uint16_t)(seq - s->seq) < 0x8000;
    if (newer)
        return seq < s->seq ? s->roc + 1 : s->roc;
    return seq > s->seq && s->roc > 0 ? s->roc - 1 : s->roc;
}

int rtp_streams_note(struct rtp_streams *t, uint32_t ssrc, uint16_t seq) {
    int i = rtp_streams_find(t, ssrc);
    if (i >= 0 && (uint16_t)(seq - t->s[i].seq) < 0x8000) {
        t->s[i].roc = rtp_stream_roc(&t->s[i], seq);
        t->s[i].seq = seq;
    } else if (i < 0 && t->count < RTP_STREAMS_MAX) {
        i = (int)t->count++;
        t->s[i] = (struct rtp_stream){.ssrc = ssrc, .roc = 0, .seq = seq};
    }
    return i;
}
