/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments of trickle ICE, as WHIP clients send and get them. */
#include "dtls/sdp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PWD "P2uYro0UCOQ4zxjKXaWCBui1"

/* In the form of RFC 9725 4.3.2: the credentials of the session, candidates that a lite agent can use and others. */
static const char trickle[] =
    "a=ice-ufrag:EsAw\r\na=ice-pwd:" PWD "\r\n"
    "m=audio 9 RTP/AVP 0\r\n"
    "a=mid:0\r\n"
    "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n"
    "a=candidate:2 1 udp 2122194687 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 61765 typ host\r\n"
    "a=candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n"
    "a=end-of-candidates\r\n";

static const char offer[] =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";

static struct sdp *parsed(const char *text) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    if (sdp_parse_fragment(&s, text, strlen(text), &et) != 0)
        fail_msg("%s", et.s);
    return s;
}

static void assert_refused(const char *text, const char *sentence) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    assert_int_equal(sdp_parse_fragment(&s, text, strlen(text), &et), E_MALFORMED);
    assert_null(s);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, et.s);
}

static void candidates_are_read_with_the_credentials_of_their_session(void **state) {
    struct sdp *s = parsed(trickle);
    struct addr want;
    (void)state;
    addr_parse(&want, "192.0.2.1", 61764);
    assert_string_equal(s->ice_ufrag, "EsAw");
    assert_string_equal(s->ice_pwd, PWD);
    assert_int_equal(s->candidate_lines, 3);
    assert_int_equal(s->candidate_count, 1);
    assert_true(addr_eq(&s->candidates[0], &want));
    assert_true(s->end_of_candidates);
    assert_string_equal(s->media[0].mid, "0");
    sdp_free(s);
}

static void each_thing_that_a_fragment_can_say_is_enough_alone(void **state) {
    static const char *const texts[] = {
        "a=end-of-candidates\r\n", "a=ice-ufrag:EsAw\na=ice-pwd:" PWD,
        "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:2 1 udp 1 host.local 1 typ host\r\n",
        "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:" PWD "\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sdp_free(parsed(texts[i]));
}

static void the_credentials_may_stand_in_any_section(void **state) {
    struct sdp *s = parsed("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
                           "m=video 9 RTP/AVP 96\r\na=mid:1\r\na=ice-ufrag:ysXw\r\na=ice-pwd:" PWD "\r\n");
    (void)state;
    assert_string_equal(s->ice_ufrag, "ysXw");
    assert_string_equal(s->ice_pwd, PWD);
    sdp_free(s);
}

static void what_is_no_fragment_is_told_why(void **state) {
    (void)state;
    assert_refused("", "empty");
    assert_refused("v=0\r\n", "line 1: a fragment has a= and m= lines only");
    assert_refused("a=end-of-candidates\r\nc=IN IP4 192.0.2.1\r\n", "line 2: a fragment has a= and m= lines only");
    assert_refused("a=end-of-candidates\r\nrubbish\r\n", "line 2: not of the form");
    assert_refused("a=mid:0\r\na=sendrecv\r\n", "no a=candidate, a=end-of-candidates or a=ice-ufrag");
    assert_refused("a=ice-ufrag:EsAw\r\na=end-of-candidates\r\n", "belong together");
    assert_refused("a=ice-pwd:" PWD "\r\n", "belong together");
    assert_refused("a=ice-ufrag:EsAw\r\nm=audio 9 RTP/AVP 0\r\na=ice-pwd:" PWD "\r\n", "in one place");
    assert_refused("a=ice-ufrag:E\r\na=ice-pwd:" PWD "\r\n", "line 1: a=ice-ufrag needs");
    assert_refused("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 5\r\n", "line 3: a=candidate needs");
}

static void the_limit_of_a_description_holds(void **state) {
    static char text[SDP_MAX_BYTES + 1];
    struct err_text et = {""};
    struct sdp *s = NULL;
    (void)state;
    memset(text, '\n', sizeof text);
    assert_int_equal(sdp_parse_fragment(&s, text, sizeof text, &et), E_UNSUPPORTED);
    assert_non_null(strstr(et.s, "at most 65536"));
}

static void each_section_has_to_be_one_of_the_offers(void **state) {
    struct err_text et = {""};
    struct sdp *o = NULL;
    (void)state;
    assert_int_equal(sdp_parse(&o, offer, strlen(offer), &et), 0);
    struct sdp *s = parsed(trickle);
    assert_int_equal(sdp_check_fragment(s, o, &et), 0);
    snprintf(s->media[0].mid, sizeof s->media[0].mid, "2");
    assert_int_equal(sdp_check_fragment(s, o, &et), E_MALFORMED);
    assert_string_equal(et.s, "m-line 1 (audio): its a=mid (\"2\") is none of the offer's");
    s->media[0].mid[0] = 0;
    assert_int_equal(sdp_check_fragment(s, o, &et), E_MALFORMED);
    sdp_free(s);
    s = parsed("a=end-of-candidates\r\n");
    assert_int_equal(sdp_check_fragment(s, o, &et), 0);
    sdp_free(s);
    sdp_free(o);
}

static void the_answer_to_a_restart_is_a_fragment_with_everything(void **state) {
    struct err_text et = {""};
    struct buf out = {0};
    struct addr at[2];
    struct sdp *o = NULL;
    struct sdp_local l = {.candidates = at, .candidate_count = 2, .ufrag = "oursufrg", .pwd = PWD PWD};
    (void)state;
    addr_parse_hostport(&at[0], "198.51.100.1:10000");
    addr_parse_hostport(&at[1], "[2001:db8::1]:10000");
    assert_int_equal(sdp_parse(&o, offer, strlen(offer), &et), 0);
    assert_int_equal(sdp_write_fragment(&out, o, &l, &et), 0);
    struct sdp *s = parsed(out.p);
    assert_true(s->ice_lite && s->trickle && s->end_of_candidates);
    assert_string_equal(s->ice_ufrag, "oursufrg");
    assert_string_equal(s->ice_pwd, PWD PWD);
    assert_int_equal(s->candidate_count, 2);
    assert_true(addr_eq(&s->candidates[0], &at[0]) && addr_eq(&s->candidates[1], &at[1]));
    assert_int_equal(s->media_count, 1); /* the data channel is not taken, so its section carries nothing */
    assert_string_equal(s->media[0].mid, "1");
    assert_int_equal(s->media[0].codecs[0].pt, 111);
    assert_int_equal(sdp_check_fragment(s, o, &et), 0);
    sdp_free(s);
    sdp_free(o);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candidates_are_read_with_the_credentials_of_their_session),
        cmocka_unit_test(each_thing_that_a_fragment_can_say_is_enough_alone),
        cmocka_unit_test(the_credentials_may_stand_in_any_section),
        cmocka_unit_test(what_is_no_fragment_is_told_why),
        cmocka_unit_test(the_limit_of_a_description_holds),
        cmocka_unit_test(each_section_has_to_be_one_of_the_offers),
        cmocka_unit_test(the_answer_to_a_restart_is_a_fragment_with_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
