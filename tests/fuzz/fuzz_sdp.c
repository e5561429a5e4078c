/* SPDX-License-Identifier: Apache-2.0 */
/* An offer from parser to answer and handoff: what is written for an offer that was taken can be read again. */
#include "dtls/sdp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

static void write_one(const struct sdp *offer, const struct sdp_local *l,
                      int (*write)(struct buf *, const struct sdp *, const struct sdp_local *, struct err_text *)) {
    struct buf out = {0};
    struct err_text et = {""};
    struct sdp *again = NULL;
    if (write(&out, offer, l, &et) == 0) {
        check(sdp_parse(&again, out.p, out.len, &et) == 0 || out.len > SDP_MAX_BYTES);
        sdp_free(again);
    } else {
        check(et.s[0] != 0);
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const codecs[] = {"opus", "H264"};
    static const struct media_keys keys = {.profile = MEDIA_PROFILE_AEAD_AES_128_GCM};
    struct addr at;
    struct err_text et = {""};
    struct sdp *s = NULL;
    if (sdp_parse(&s, (const char *)data, size, &et) != 0) {
        check(!s && et.s[0] != 0);
        return 0;
    }
    int err = sdp_check_offer(s, &et);
    addr_parse(&at, "192.0.2.1", 10000);
    struct sdp_local l = {.candidates = &at,
                          .candidate_count = 1,
                          .ufrag = "abcdefgh",
                          .pwd = "passwordpasswordpasswordpassword",
                          .fingerprint = "sha-256 "
                                         "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:"
                                         "10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F",
                          .setup = sdp_answer_setup(s)};
    if (err == 0) {
        write_one(s, &l, sdp_write_answer);
        l.codecs = codecs;
        l.codec_count = 2;
        write_one(s, &l, sdp_write_answer);
        l.keys = &keys;
        write_one(s, &l, sdp_write_handoff);
        l.brief_codecs = 1;
        write_one(s, &l, sdp_write_handoff);
    }
    sdp_free(s);
    return 0;
}
