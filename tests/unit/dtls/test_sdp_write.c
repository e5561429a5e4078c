/* SPDX-License-Identifier: Apache-2.0 */
/* Answers and handoffs, read again by the parser. */
#include "tests/unit/dtls/sdp_fixture.h"

struct side {
    struct addr candidates[2];
    struct sdp_local l;
};

static void side_init(struct side *s) {
    memset(s, 0, sizeof *s);
    assert_int_equal(addr_parse_hostport(&s->candidates[0], "198.51.100.1:10000"), 0);
    assert_int_equal(addr_parse_hostport(&s->candidates[1], "[2001:db8::1]:10000"), 0);
    s->l = (struct sdp_local){.candidates = s->candidates,
                              .candidate_count = 2,
                              .ufrag = "oursufrg",
                              .pwd = "ourpasswordourpasswordourpasswor",
                              .fingerprint = FP_256,
                              .setup = SDP_SETUP_PASSIVE,
                              .session_id = 42};
}

typedef int (*sdp_writer)(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et);

/* What is written for an offer, and what a parser makes of it. */
struct written {
    struct buf text;
    struct sdp *sdp;
};

static struct written written(sdp_writer write, const char *offer, const struct sdp_local *l) {
    struct written w = {{0}, NULL};
    struct err_text et = {""};
    struct sdp *s = parsed(offer);
    if (write(&w.text, s, l, &et) != 0)
        fail_msg("%s", et.s);
    sdp_free(s);
    w.sdp = parsed(w.text.p);
    return w;
}

static void written_free(struct written *w) {
    buf_free(&w->text);
    w->sdp = sdp_free(w->sdp);
}

static void we_are_passive_unless_the_offer_is(void **state) {
    static const struct {
        const char *offered;
        enum sdp_setup ours;
    } rows[] = {{"a=setup:actpass", SDP_SETUP_PASSIVE},
                {"a=setup:active", SDP_SETUP_PASSIVE},
                {"a=setup:passive", SDP_SETUP_ACTIVE}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sdp *s = parsed(with(simple, "a=setup:actpass", rows[i].offered));
        assert_int_equal(sdp_answer_setup(s), rows[i].ours);
        sdp_free(s);
    }
}

static void the_answer_takes_sound_and_pictures_and_rejects_the_data_channel(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_int_equal(w.sdp->media_count, 3);
    assert_int_equal(w.sdp->media[0].port, 10000);
    assert_int_equal(w.sdp->media[1].port, 10000);
    assert_int_equal(w.sdp->media[2].port, 0);
    assert_non_null(strstr(w.text.p, "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert_non_null(strstr(w.text.p, "a=group:BUNDLE 0 1\r\n"));
    assert_string_equal(w.sdp->media[2].mid, "2");
    assert_true(w.sdp->media[0].rtcp_mux && w.sdp->media[1].rtcp_mux);
    written_free(&w);
}

static void the_answer_says_our_transport(void **state) {
    struct side side;
    char text[ADDR_STR_BYTES];
    (void)state;
    side_init(&side);
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_true(w.sdp->ice_lite);
    assert_string_equal(w.sdp->ice_ufrag, side.l.ufrag);
    assert_string_equal(w.sdp->ice_pwd, side.l.pwd);
    assert_int_equal(w.sdp->setup, SDP_SETUP_PASSIVE);
    assert_int_equal(w.sdp->fingerprint_count, 1);
    assert_int_equal(w.sdp->candidate_count, 2);
    assert_string_equal(addr_str(text, &w.sdp->candidates[1]), "[2001:db8::1]:10000");
    assert_non_null(strstr(w.text.p, "c=IN IP4 198.51.100.1\r\n"));
    assert_string_equal(w.sdp->session_id, "42");
    written_free(&w);
}

static void the_answer_mirrors_the_directions(void **state) {
    static const enum sdp_direction mirrored[] = {SDP_SENDRECV, SDP_RECVONLY, SDP_SENDONLY, SDP_INACTIVE};
    static const char *const names[] = {"a=sendrecv\r\n", "a=sendonly\r\n", "a=recvonly\r\n", "a=inactive\r\n"};
    struct side side;
    char offer[sizeof simple + 16];
    (void)state;
    side_init(&side);
    for (size_t i = 0; i < 4; i++) {
        snprintf(offer, sizeof offer, "%s%s", simple, names[i]);
        struct written w = written(sdp_write_answer, offer, &side.l);
        assert_int_equal(w.sdp->media[0].direction, mirrored[i]);
        written_free(&w);
        w = written(sdp_write_handoff, offer, &side.l);
        assert_int_equal(w.sdp->media[0].direction, i);
        written_free(&w);
    }
}

static void all_codecs_are_answered_when_none_is_named(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_codecs(&w.sdp->media[0], "111 63 9 0 8 13 110 126");
    assert_codecs(&w.sdp->media[1], "96 97 102 103 114");
    assert_non_null(strstr(w.text.p, "a=fmtp:111 minptime=10;useinbandfec=1\r\n"));
    assert_non_null(strstr(w.text.p, "a=rtcp-fb:96 nack pli\r\n"));
    assert_non_null(strstr(w.text.p, "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"));
    /* Who agrees to the MID extension must send it, and nobody knows yet whether the phone can. */
    assert_null(strstr(w.text.p, "rtp-hdrext:sdes:mid"));
    assert_null(strstr(w.text.p, "a=ssrc:"));
    written_free(&w);
}

static void the_named_codecs_keep_their_retransmission_and_helpers(void **state) {
    static const char *const names[] = {"OPUS", "h264"};
    struct side side;
    (void)state;
    side_init(&side);
    side.l.codecs = names;
    side.l.codec_count = 2;
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_codecs(&w.sdp->media[0], "111 63 13 110 126");
    assert_codecs(&w.sdp->media[1], "102 103 114");
    assert_non_null(strstr(w.text.p, "a=fmtp:103 apt=102\r\n"));
    assert_null(strstr(w.text.p, "apt=96"));
    assert_null(strstr(w.text.p, "VP8"));
    written_free(&w);
}

static void a_section_whose_codecs_are_all_unnamed_is_rejected(void **state) {
    static const char *const names[] = {"opus"};
    struct side side;
    (void)state;
    side_init(&side);
    side.l.codecs = names;
    side.l.codec_count = 1;
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_int_not_equal(w.sdp->media[0].port, 0);
    assert_int_equal(w.sdp->media[1].port, 0);
    assert_non_null(strstr(w.text.p, "a=group:BUNDLE 0\r\n"));
    written_free(&w);
}

static void a_payload_type_named_twice_counts_once(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    struct written w =
        written(sdp_write_answer,
                with(with(simple, "SAVPF 0", "SAVPF 0 8 0 0"), "a=rtcp-mux", "a=rtcp-mux\r\na=fmtp:0 x=y"), &side.l);
    assert_codecs(&w.sdp->media[0], "0 8");
    char *line = strstr(w.text.p, "a=fmtp:0 x=y");
    assert_non_null(line);
    assert_null(strstr(line + 1, "a=fmtp:0 x=y"));
    written_free(&w);
}

static void a_payload_type_is_that_of_a_section_in_which_the_caller_listens(void **state) {
    static const char *const names[] = {"opus"}, *const hears[] = {"sendrecv", "recvonly"},
                             *const deaf[] = {"sendonly", "inactive"};
    const struct sdp_local all = {0}, one = {.codecs = names, .codec_count = 1};
    char offer[512];
    struct sdp *s = parsed(browser);
    (void)state;
    assert_int_equal(sdp_answer_pt(s, &all, "OPUS", 48000), 111);
    assert_int_equal(sdp_answer_pt(s, &all, "PCMU", 8000), 0);
    assert_int_equal(sdp_answer_pt(s, &all, "opus", 8000), E_NOTFOUND);
    assert_int_equal(sdp_answer_pt(s, &all, "VP8", 90000), E_NOTFOUND);
    assert_int_equal(sdp_answer_pt(s, &one, "opus", 48000), 111);
    assert_int_equal(sdp_answer_pt(s, &one, "PCMU", 8000), E_NOTFOUND);
    sdp_free(s);
    for (size_t i = 0; i < 4; i++) {
        snprintf(offer, sizeof offer, HEAD TRANSPORT "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtcp-mux\r\na=%s\r\n",
                 i < 2 ? hears[i] : deaf[i - 2]);
        s = parsed(offer);
        assert_int_equal(sdp_answer_pt(s, &all, "PCMU", 8000), i < 2 ? 0 : E_NOTFOUND);
        sdp_free(s);
    }
}

static void no_common_codec_is_an_error_with_a_sentence(void **state) {
    static const char *const names[] = {"AMR-WB"};
    struct side side;
    struct err_text et = {""};
    struct buf out = {0};
    struct sdp *s = parsed(browser);
    (void)state;
    side_init(&side);
    side.l.codecs = names;
    side.l.codec_count = 1;
    assert_int_equal(sdp_write_answer(&out, s, &side.l, &et), E_UNSUPPORTED);
    assert_non_null(strstr(et.s, "no m-line has a codec that the app allows"));
    assert_int_equal(sdp_write_handoff(&out, s, &side.l, &et), E_UNSUPPORTED);
    buf_free(&out);
    sdp_free(s);
}

static void a_rejected_m_line_stays_rejected(void **state) {
    struct side side;
    char offer[1024];
    (void)state;
    side_init(&side);
    snprintf(offer, sizeof offer, "%sm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n", simple);
    struct written w = written(sdp_write_answer, offer, &side.l);
    assert_int_equal(w.sdp->media_count, 2);
    assert_int_equal(w.sdp->media[1].port, 0);
    assert_int_equal(w.sdp->media[1].direction, SDP_INACTIVE);
    written_free(&w);
}

static void without_a_bundle_only_the_first_section_is_taken(void **state) {
    struct side side;
    char offer[1024];
    (void)state;
    side_init(&side);
    snprintf(offer, sizeof offer,
             "%sm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n", simple);
    struct written w = written(sdp_write_answer, offer, &side.l);
    assert_int_equal(w.sdp->media[0].port, 10000);
    assert_int_equal(w.sdp->media[1].port, 0);
    assert_false(w.sdp->bundle);
    written_free(&w);
}

static void side_with_keys(struct side *side, struct media_keys *keys, enum media_profile profile) {
    side_init(side);
    media_keys_random(keys, profile);
    side->l.keys = keys;
    side->l.fingerprint = NULL;
    side->l.setup = SDP_SETUP_NONE;
}

static void the_handoff_with_keys_speaks_sdes(void **state) {
    struct side side;
    struct media_keys keys;
    (void)state;
    side_with_keys(&side, &keys, MEDIA_PROFILE_AEAD_AES_128_GCM);
    struct written w = written(sdp_write_handoff, browser, &side.l);
    assert_int_equal(w.sdp->media_count, 2);
    assert_string_equal(w.sdp->media[0].proto, "RTP/SAVPF");
    assert_int_equal(w.sdp->media[0].crypto.profile, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_memory_equal(w.sdp->media[0].crypto.master, keys.tx, 28);
    assert_int_equal(w.sdp->fingerprint_count, 0);
    assert_codecs(&w.sdp->media[0], "111 63 9 0 8 13 110 126");
    written_free(&w);
}

static void a_brief_handoff_has_few_codecs_and_none_of_their_helpers(void **state) {
    struct side side;
    struct media_keys keys;
    (void)state;
    side_with_keys(&side, &keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
    struct written all = written(sdp_write_handoff, browser, &side.l);
    side.l.brief_codecs = 2;
    struct written w = written(sdp_write_handoff, browser, &side.l);
    assert_int_equal(w.sdp->media_count, 2);
    assert_codecs(&w.sdp->media[0], "111 9");
    assert_int_equal(w.sdp->media[1].codec_count, 2);
    assert_non_null(strstr(w.text.p, "a=fmtp:111 "));
    assert_null(strstr(w.text.p, "extmap"));
    assert_null(strstr(w.text.p, "rtcp-fb"));
    assert_memory_equal(w.sdp->media[0].crypto.master, keys.tx, 30);
    assert_string_equal(w.sdp->ice_pwd, all.sdp->ice_pwd);
    assert_true(w.text.len < all.text.len);
    written_free(&w);
    written_free(&all);
}

static void the_handoff_without_keys_speaks_dtls(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    side.l.setup = SDP_SETUP_ACTPASS;
    struct written w = written(sdp_write_handoff, browser, &side.l);
    assert_string_equal(w.sdp->media[0].proto, "UDP/TLS/RTP/SAVPF");
    assert_int_equal(w.sdp->setup, SDP_SETUP_ACTPASS);
    assert_int_equal(w.sdp->fingerprint_count, 1);
    assert_int_equal(w.sdp->media[0].crypto.profile, MEDIA_PROFILE_NONE);
    assert_false(sdp_has_ice(w.sdp)); /* for a=ice-lite alone */
    side.l.full_ice = true;
    written_free(&w);
    w = written(sdp_write_handoff, browser, &side.l);
    assert_false(w.sdp->ice_lite);
    assert_int_equal(sdp_check_offer(w.sdp, NULL), 0);
    written_free(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payload_type_named_twice_counts_once),
        cmocka_unit_test(we_are_passive_unless_the_offer_is),
        cmocka_unit_test(the_answer_takes_sound_and_pictures_and_rejects_the_data_channel),
        cmocka_unit_test(the_answer_says_our_transport),
        cmocka_unit_test(the_answer_mirrors_the_directions),
        cmocka_unit_test(all_codecs_are_answered_when_none_is_named),
        cmocka_unit_test(the_named_codecs_keep_their_retransmission_and_helpers),
        cmocka_unit_test(a_section_whose_codecs_are_all_unnamed_is_rejected),
        cmocka_unit_test(a_payload_type_is_that_of_a_section_in_which_the_caller_listens),
        cmocka_unit_test(no_common_codec_is_an_error_with_a_sentence),
        cmocka_unit_test(a_rejected_m_line_stays_rejected),
        cmocka_unit_test(without_a_bundle_only_the_first_section_is_taken),
        cmocka_unit_test(the_handoff_with_keys_speaks_sdes),
        cmocka_unit_test(a_brief_handoff_has_few_codecs_and_none_of_their_helpers),
        cmocka_unit_test(the_handoff_without_keys_speaks_dtls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
