/* SPDX-License-Identifier: Apache-2.0 */
/* RTP and RTCP headers, as far as a relay reads them (RFC 3550 5.1, 6.1; RFC 5761 4), and the roll-over counter of each
 * SSRC (RFC 3711 3.3.1). Thread: any. */
#ifndef DTLS_RTP_H
#define DTLS_RTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTP_STREAMS_MAX 16 /* SSRCs followed per direction of a call: audio, simulcast layers, their RTX, and spare */

/* First byte 128..191 (RFC 7983) and long enough for its header. */
bool rtp_is_rtp_or_rtcp(const uint8_t *p, size_t len);
/* RTCP by packet type 192..223 (RFC 5761 4); p is RTP or RTCP. */
bool rtp_is_rtcp(const uint8_t *p, size_t len);
uint32_t rtp_ssrc(const uint8_t *p);
uint16_t rtp_seq(const uint8_t *p);

struct rtp_stream {
    uint32_t ssrc;
    uint32_t roc; /* of the highest packet seen */
    uint16_t seq; /* highest seen */
};

struct rtp_streams {
    struct rtp_stream s[RTP_STREAMS_MAX];
    size_t count;
};

/* Follow one RTP packet. Returns its stream's place in t->s; -1: of a 17th SSRC, which is not followed. */
int rtp_streams_note(struct rtp_streams *t, uint32_t ssrc, uint16_t seq);
/* Its place in t->s; -1: not followed. */
int rtp_streams_find(const struct rtp_streams *t, uint32_t ssrc);
/* The roll-over counter of a packet that is less than half the circle of sequence numbers away, before or after. */
uint32_t rtp_stream_roc(const struct rtp_stream *s, uint16_t seq);

#endif
