/* SPDX-License-Identifier: Apache-2.0 */
/* A fragment of trickle ICE, against an offer: what is taken has something to say, and what is refused a sentence. */
#include "dtls/sdp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char offer[] = "v=0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=rtcp-mux\r\n";

static void check(bool ok) {
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err_text et = {""};
    struct sdp *s = NULL, *o = NULL;
    if (sdp_parse_fragment(&s, (const char *)data, size, &et) != 0) {
        check(!s && et.s[0] != 0);
        return 0;
    }
    check(!s->ice_ufrag[0] == !s->ice_pwd[0]);
    check(s->ice_ufrag[0] || s->candidate_lines > 0 || s->end_of_candidates);
    check(s->candidate_count <= s->candidate_lines);
    check(sdp_parse(&o, offer, strlen(offer), &et) == 0);
    check(sdp_check_fragment(s, o, &et) == 0 || et.s[0] != 0);
    sdp_free(o);
    sdp_free(s);
    return 0;
}
