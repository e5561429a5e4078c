/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/caller_offer.h"

#include <inttypes.h>
#include <stdio.h>

static const char *setup_name(enum sdp_setup setup) {
    return setup == SDP_SETUP_ACTIVE ? "active" : setup == SDP_SETUP_PASSIVE ? "passive" : "actpass";
}

static void write_transport(struct buf *out, const struct caller_offer *o) {
    if (!o->plain)
        buf_addf(out, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", o->ufrag, o->pwd);
    buf_addf(out, "a=fingerprint:%s\r\na=setup:%s\r\n", o->fingerprint, setup_name(o->setup));
}

/* The m-line's port and proto, and the c= line. */
static void write_place(struct buf *out, const struct caller_offer *o, const char *formats) {
    char ip[ADDR_STR_BYTES];
    if (o->plain)
        buf_addf(out, "m=audio %u UDP/TLS/RTP/SAVP %s\r\nc=IN %s %s\r\n", addr_port(o->plain), formats,
                 o->plain->u.sa.sa_family == AF_INET6 ? "IP6" : "IP4", addr_ip(ip, o->plain));
    else
        buf_addf(out, "m=audio 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0\r\n", formats);
}

void caller_offer_write(struct buf *out, const struct caller_offer *o) {
    bool opus = o->first == PEER_CODEC_OPUS;
    buf_addf(out, "v=0\r\no=- %" PRIu64 " 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", o->session_id);
    if (!o->plain)
        buf_adds(out, "a=group:BUNDLE 0\r\na=ice-options:trickle\r\n");
    char formats[16];
    snprintf(formats, sizeof formats, "%d %d", opus ? CALLER_OPUS_PT : CALLER_PCMU_PT,
             opus ? CALLER_PCMU_PT : CALLER_OPUS_PT);
    write_place(out, o, formats);
    buf_addf(out, "%sa=sendrecv\r\na=rtcp-mux\r\n", o->plain ? "" : "a=mid:0\r\n");
    write_transport(out, o);
    buf_addf(out, "a=rtpmap:%d opus/48000/2\r\na=fmtp:%d minptime=10;useinbandfec=1\r\n", CALLER_OPUS_PT,
             CALLER_OPUS_PT);
    buf_addf(out, "a=rtpmap:%d PCMU/8000\r\na=ptime:20\r\n", CALLER_PCMU_PT);
}
