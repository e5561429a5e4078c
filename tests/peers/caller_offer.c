/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/caller_offer.h"

#include <inttypes.h>

static const char *setup_name(enum sdp_setup setup) {
    return setup == SDP_SETUP_ACTIVE ? "active" : setup == SDP_SETUP_PASSIVE ? "passive" : "actpass";
}

void caller_offer_write(struct buf *out, const struct caller_offer *o) {
    bool opus = o->first == PEER_CODEC_OPUS;
    buf_addf(out, "v=0\r\no=- %" PRIu64 " 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", o->session_id);
    buf_adds(out, "a=group:BUNDLE 0\r\na=ice-options:trickle\r\n");
    buf_addf(out, "m=audio 9 UDP/TLS/RTP/SAVPF %d %d\r\nc=IN IP4 0.0.0.0\r\n", opus ? CALLER_OPUS_PT : CALLER_PCMU_PT,
             opus ? CALLER_PCMU_PT : CALLER_OPUS_PT);
    buf_addf(out, "a=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", o->ufrag, o->pwd);
    buf_addf(out, "a=fingerprint:%s\r\na=setup:%s\r\n", o->fingerprint, setup_name(o->setup));
    buf_addf(out, "a=rtpmap:%d opus/48000/2\r\na=fmtp:%d minptime=10;useinbandfec=1\r\n", CALLER_OPUS_PT,
             CALLER_OPUS_PT);
    buf_addf(out, "a=rtpmap:%d PCMU/8000\r\na=ptime:20\r\n", CALLER_PCMU_PT);
}
