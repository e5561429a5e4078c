/* SPDX-License-Identifier: Apache-2.0 */
/* Offers that are read, and offers that are refused. */
#include "base/bytes.h"
#include "tests/unit/dtls/sdp_fixture.h"

#define LINES_OF_HEAD 4

static void assert_refused(const char *text, int want, const char *sentence) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    assert_int_equal(sdp_parse(&s, text, strlen(text), &et), want);
    assert_null(s);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, et.s);
}

static void assert_unfit(const char *text, int want, const char *sentence) {
    struct err_text et = {""};
    struct sdp *s = parsed(text);
    assert_int_equal(sdp_check_offer(s, &et), want);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, et.s);
    sdp_free(s);
}

static void a_browsers_offer_is_read(void **state) {
    struct sdp *s = parsed(browser);
    (void)state;
    assert_string_equal(s->session_id, "4611731400430051336");
    assert_string_equal(s->ice_ufrag, "Zx9+");
    assert_string_equal(s->ice_pwd, PWD);
    assert_true(s->trickle && s->bundle);
    assert_false(s->ice_lite);
    assert_int_equal(s->setup, SDP_SETUP_ACTPASS);
    assert_int_equal(s->bundle_count, 3);
    assert_int_equal(s->media_count, 3);
    assert_string_equal(s->media[0].kind, "audio");
    assert_string_equal(s->media[0].proto, "UDP/TLS/RTP/SAVPF");
    assert_int_equal(s->media[0].port, 51472);
    assert_true(s->media[0].rtcp_mux);
    assert_string_equal(s->media[1].mid, "1");
    assert_int_equal(s->media[1].direction, SDP_SENDONLY);
    assert_string_equal(s->media[2].kind, "application");
    assert_int_equal(s->media[2].codec_count, 0);
    assert_int_equal(sdp_check_offer(s, NULL), 0);
    sdp_free(s);
}

static void codecs_keep_the_order_of_the_m_line(void **state) {
    struct sdp *s = parsed(browser);
    (void)state;
    assert_codecs(&s->media[0], "111 63 9 0 8 13 110 126");
    assert_string_equal(s->media[0].codecs[0].name, "opus");
    assert_int_equal(s->media[0].codecs[0].clock_hz, 48000);
    assert_int_equal(s->media[0].codecs[0].channels, 2);
    assert_string_equal(s->media[0].codecs[2].name, "G722");
    assert_int_equal(s->media[0].codecs[2].channels, 1);
    sdp_free(s);
}

static void static_payload_types_need_no_rtpmap(void **state) {
    struct sdp *s = parsed(simple);
    (void)state;
    assert_string_equal(s->media[0].codecs[0].name, "PCMU");
    assert_int_equal(s->media[0].codecs[0].clock_hz, 8000);
    sdp_free(s);
}

static void only_numeric_udp_candidates_of_the_first_component_are_kept(void **state) {
    struct sdp *s = parsed(browser);
    char text[ADDR_STR_BYTES];
    (void)state;
    assert_int_equal(s->candidate_count, 2);
    assert_string_equal(addr_str(text, &s->candidates[0]), "192.0.2.33:51472");
    assert_string_equal(addr_str(text, &s->candidates[1]), "[2001:db8::33]:51475");
    sdp_free(s);
}

static void bare_line_feeds_and_a_missing_last_one_are_read(void **state) {
    char text[sizeof browser];
    size_t n = 0;
    (void)state;
    for (const char *c = browser; *c; c++)
        if (*c != '\r')
            text[n++] = *c;
    text[n - 1] = 0;
    struct sdp *s = parsed(text);
    assert_int_equal(s->media_count, 3);
    assert_string_equal(s->media[2].lines[s->media[2].line_count - 1], "sctp-port:5000");
    sdp_free(s);
}

static void the_session_level_says_what_the_section_does_not(void **state) {
    struct sdp *s = parsed(simple);
    (void)state;
    assert_string_equal(s->ice_ufrag, "Zx9+");
    assert_string_equal(s->ice_pwd, PWD);
    assert_int_equal(s->fingerprint_count, 1);
    assert_int_equal(s->setup, SDP_SETUP_ACTPASS);
    sdp_free(s);
}

static void the_section_goes_before_the_session_level(void **state) {
    struct sdp *s =
        parsed(HEAD TRANSPORT SIMPLE_MEDIA "a=ice-ufrag:mine\r\na=setup:active\r\na=fingerprint:" FP_512 "\r\n");
    (void)state;
    assert_string_equal(s->ice_ufrag, "mine");
    assert_int_equal(s->setup, SDP_SETUP_ACTIVE);
    assert_int_equal(s->fingerprint_count, 1);
    assert_string_equal(s->fingerprints[0].hash, "sha-512");
    sdp_free(s);
}

static void the_first_section_of_the_bundle_carries_the_transport(void **state) {
    struct sdp *s = parsed(HEAD "a=group:BUNDLE b a\r\n"
                                "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=ice-ufrag:ofa1\r\n"
                                "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:b\r\na=ice-ufrag:ofb1\r\n");
    (void)state;
    assert_string_equal(s->ice_ufrag, "ofb1");
    sdp_free(s);
}

static void a_direction_of_the_session_level_holds_for_its_sections(void **state) {
    struct sdp *s = parsed(HEAD "a=recvonly\r\nm=audio 9 RTP/SAVP 0\r\nm=audio 9 RTP/SAVP 0\r\na=sendrecv\r\n");
    (void)state;
    assert_int_equal(s->media[0].direction, SDP_RECVONLY);
    assert_int_equal(s->media[1].direction, SDP_SENDRECV);
    sdp_free(s);
}

static void fingerprints_are_read_in_any_case(void **state) {
    char lower[] = "a=fingerprint:SHA-256 " FP_HEX "\r\n";
    (void)state;
    for (char *c = lower + strlen("a=fingerprint:SHA-256 "); *c; c++)
        *c = *c >= 'A' && *c <= 'F' ? (char)(*c + 'a' - 'A') : *c;
    struct sdp *a = parsed(simple), *b = parsed(with(simple, "a=fingerprint:" FP_256 "\r\n", lower));
    assert_int_equal(b->fingerprint_count, 1);
    assert_string_equal(b->fingerprints[0].hash, "sha-256");
    assert_memory_equal(&a->fingerprints[0], &b->fingerprints[0], sizeof a->fingerprints[0]);
    assert_int_equal(a->fingerprints[0].value[0], 0xab);
    sdp_free(a);
    sdp_free(b);
}

static void several_fingerprints_are_kept_and_unknown_hashes_passed_over(void **state) {
    struct sdp *s =
        parsed(with(simple, "a=setup",
                    "a=fingerprint:sha-1 AB:CD\r\na=fingerprint:" FP_384 "\r\na=fingerprint:" FP_512 "\r\na=setup"));
    (void)state;
    assert_int_equal(s->fingerprint_count, 3);
    assert_int_equal(s->fingerprints[0].len, 32);
    assert_int_equal(s->fingerprints[1].len, 48);
    assert_int_equal(s->fingerprints[2].len, 64);
    sdp_free(s);
}

static void an_sdes_key_is_read_from_the_first_suite_that_we_know(void **state) {
    struct sdp *s = parsed(HEAD "c=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/SAVP 0\r\n"
                                "a=crypto:1 AES_CM_256_HMAC_SHA1_80 inline:AAAA\r\n"
                                "a=crypto:2 AES_CM_128_HMAC_SHA1_80 "
                                "inline:4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm|2^31|1:4\r\n"
                                "a=crypto:3 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0OD6ChoqOkpaanqKmqqw==\r\n");
    char text[ADDR_STR_BYTES], key[61];
    (void)state;
    assert_int_equal(s->media[0].crypto.profile, MEDIA_PROFILE_AES128_CM_SHA1_80);
    assert_int_equal(s->media[0].crypto.tag, 2);
    assert_string_equal(hex_encode(key, s->media[0].crypto.master, 30),
                        "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
    /* A peer without ICE has its address in c= and m=. */
    assert_int_equal(s->candidate_count, 1);
    assert_string_equal(addr_str(text, &s->candidates[0]), "192.0.2.9:4000");
    sdp_free(s);
}

static void every_mistake_names_its_line(void **state) {
    static const struct {
        const char *line;
        int err;
        const char *sentence;
    } wrong[] = {
        {"nonsense", E_MALFORMED, "not of the form letter=value"},
        {"m=audio", E_MALFORMED, "m= needs a kind"},
        {"m=audio x UDP/TLS/RTP/SAVPF 0", E_MALFORMED, "no usable port"},
        {"m=audio 65536 UDP/TLS/RTP/SAVPF 0", E_MALFORMED, "no usable port"},
        {"m=audio 9 UDP/TLS/RTP/SAVPF 0 128", E_MALFORMED, "\"128\" is not a payload type"},
        {"a=ice-ufrag:abc", E_MALFORMED, "a=ice-ufrag needs 4 to 256"},
        {"a=ice-ufrag:ab cd", E_MALFORMED, "a=ice-ufrag needs 4 to 256"},
        {"a=ice-pwd:short", E_MALFORMED, "a=ice-pwd needs 22 to 256"},
        {"a=setup:holdconn", E_UNSUPPORTED, "a=setup:holdconn"},
        {"a=fingerprint:", E_MALFORMED, "no hash name"},
        {"a=fingerprint:sha-256 AB:CD", E_MALFORMED, "sha-256 needs 32 bytes in hex with colons, there are 2"},
        {"a=fingerprint:sha-256 " FP_HEX ":00", E_MALFORMED, "sha-256 needs 32 bytes"},
        {"a=fingerprint:sha-256 XY", E_MALFORMED, "sha-256 needs 32 bytes"},
        {"a=candidate:1 1 udp", E_MALFORMED, "a=candidate needs"},
        {"a=candidate:1 1 udp 1 192.0.2.1 65536 typ host", E_MALFORMED, "a=candidate needs"},
        {"c=IN IP4", E_MALFORMED, "c= needs"},
    };
    char text[1024], want[256];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, HEAD "%s\r\n", wrong[i].line);
        snprintf(want, sizeof want, "line %d: %s", LINES_OF_HEAD + 1, wrong[i].sentence);
        struct err_text et = {""};
        struct sdp *s = NULL;
        assert_int_equal(sdp_parse(&s, text, strlen(text), &et), wrong[i].err);
        assert_null(s);
        if (strncmp(et.s, want, strlen("line 5: ")) != 0 || !strstr(et.s, wrong[i].sentence))
            fail_msg("\"%s\" is not \"%s\"", et.s, want);
    }
}

static void mistakes_inside_a_section_name_their_line(void **state) {
    (void)state;
    assert_refused(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:x PCMU\r\n", E_MALFORMED,
                   "line 6: a=rtpmap needs a payload type");
    assert_refused(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:\r\n", E_MALFORMED, "line 6: a=mid needs a word");
    assert_refused(HEAD "m=audio 9 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80\r\n", E_MALFORMED,
                   "line 6: a=crypto needs a tag");
    assert_refused(HEAD "m=audio 9 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n", E_MALFORMED,
                   "line 6: a=crypto: AES_CM_128_HMAC_SHA1_80 needs 30 bytes");
}

static void what_does_not_begin_with_v_0_is_no_sdp(void **state) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    (void)state;
    assert_refused("o=- 1 1 IN IP4 0.0.0.0\r\n", E_MALFORMED, "line 1: an SDP description begins with v=0");
    assert_refused("{\"sdp\":1}", E_MALFORMED, "line 1: ");
    assert_int_equal(sdp_parse(&s, "", 0, &et), E_MALFORMED);
    assert_non_null(strstr(et.s, "empty"));
}

static void a_nul_byte_is_refused(void **state) {
    static const char text[] = "v=0\r\ns=a\0b\r\n";
    struct err_text et = {""};
    struct sdp *s = NULL;
    (void)state;
    assert_int_equal(sdp_parse(&s, text, sizeof text - 1, &et), E_MALFORMED);
    assert_non_null(strstr(et.s, "line 2: a NUL byte"));
}

static void limits_are_said_with_their_number(void **state) {
    struct buf b = {0};
    struct err_text et = {""};
    struct sdp *s = NULL;
    (void)state;
    buf_adds(&b, HEAD);
    for (int i = 0; i <= SDP_MEDIA_MAX; i++)
        buf_adds(&b, "m=audio 9 RTP/SAVP 0\r\n");
    assert_refused(b.p, E_UNSUPPORTED, "line 13: more than 8 m-lines");
    buf_reset(&b);
    buf_adds(&b, HEAD "m=audio 9 RTP/SAVP 0\r\n");
    for (int i = 0; i <= SDP_LINES_MAX; i++)
        buf_adds(&b, "a=x\r\n");
    assert_refused(b.p, E_UNSUPPORTED, "line 518: more than 512 attribute lines");
    buf_reset(&b);
    buf_adds(&b, HEAD "m=audio 9 RTP/SAVP");
    for (int i = 0; i <= SDP_CODECS_MAX; i++)
        buf_addf(&b, " %d", i);
    assert_refused(b.p, E_UNSUPPORTED, "line 5: more than 64 codecs");
    buf_reset(&b);
    buf_adds(&b, HEAD "s=");
    while (b.len < 8000)
        buf_adds(&b, "x");
    assert_refused(b.p, E_UNSUPPORTED, "line 5: longer than");
    while (b.len <= SDP_MAX_BYTES)
        buf_adds(&b, "x");
    assert_int_equal(sdp_parse(&s, b.p, b.len, &et), E_UNSUPPORTED);
    assert_non_null(strstr(et.s, "at most 65536"));
    buf_free(&b);
}

static void an_offer_that_cannot_be_taken_is_told_why(void **state) {
    (void)state;
    assert_unfit(with(simple, "a=rtcp-mux\r\n", ""), E_UNSUPPORTED, "m-line 1 (audio) has no a=rtcp-mux");
    assert_unfit(HEAD TRANSPORT "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", E_UNSUPPORTED,
                 "no audio or video m-line");
    assert_unfit(with(simple, "m=audio 9", "m=audio 0"), E_UNSUPPORTED, "no audio or video m-line");
    assert_unfit(with(simple, "a=ice-ufrag:Zx9+\r\n", ""), E_MALFORMED, "come together");
    assert_unfit(with(with(simple, "a=ice-options", "a=ice-lite\r\na=ice-options"), "actpass", "passive"),
                 E_UNSUPPORTED, "no address in c= and m=");
    assert_unfit(with(simple, "a=fingerprint:" FP_256 "\r\n", ""), E_MALFORMED, "no a=fingerprint");
    assert_unfit(with(simple, "a=setup:actpass\r\n", ""), E_MALFORMED, "no a=setup");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_browsers_offer_is_read),
        cmocka_unit_test(codecs_keep_the_order_of_the_m_line),
        cmocka_unit_test(static_payload_types_need_no_rtpmap),
        cmocka_unit_test(only_numeric_udp_candidates_of_the_first_component_are_kept),
        cmocka_unit_test(bare_line_feeds_and_a_missing_last_one_are_read),
        cmocka_unit_test(the_session_level_says_what_the_section_does_not),
        cmocka_unit_test(the_section_goes_before_the_session_level),
        cmocka_unit_test(the_first_section_of_the_bundle_carries_the_transport),
        cmocka_unit_test(fingerprints_are_read_in_any_case),
        cmocka_unit_test(several_fingerprints_are_kept_and_unknown_hashes_passed_over),
        cmocka_unit_test(an_sdes_key_is_read_from_the_first_suite_that_we_know),
        cmocka_unit_test(every_mistake_names_its_line),
        cmocka_unit_test(mistakes_inside_a_section_name_their_line),
        cmocka_unit_test(what_does_not_begin_with_v_0_is_no_sdp),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(limits_are_said_with_their_number),
        cmocka_unit_test(an_offer_that_cannot_be_taken_is_told_why),
        cmocka_unit_test(a_direction_of_the_session_level_holds_for_its_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
