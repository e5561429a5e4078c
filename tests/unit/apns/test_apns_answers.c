/* SPDX-License-Identifier: Apache-2.0 */
/* What the session makes of what the server says. */
#include "tests/unit/apns/session_fixture.h"

static void an_answer_carries_status_reason_time_and_id(void **state) {
    struct world *w = *state;
    prove(w, 5);
    submit(w, 2);
    pump(w);
    respond(w, w->seen[1].id, "410", "{\"reason\":\"Unregistered\",\"timestamp\":1790000000123}");
    assert_int_equal(w->answered, 1);
    assert_ptr_equal(w->last_tag, w);
    assert_int_equal(w->status, 410);
    assert_string_equal(w->reason, "Unregistered");
    assert_int_equal(w->timestamp_ms, 1790000000123);
    assert_string_equal(w->apns_id, "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11");
    assert_true(apns_session_idle(w->client));
}

static void a_body_that_is_no_answer_leaves_the_status(void **state) {
    static const char *const bodies[] = {"rubbish", "[]", "{\"reason\":5,\"timestamp\":\"x\"}", "{\"timestamp\":-1}",
                                         "{\"reason\":\"cut"};
    struct world *w = *state;
    prove(w, 5);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        submit(w, 2);
        pump(w);
        respond(w, w->seen[i + 1].id, "400", bodies[i]);
        assert_int_equal(w->answered, i + 1);
        assert_int_equal(w->status, 400);
        assert_string_equal(w->reason, "");
        assert_int_equal(w->timestamp_ms, 0);
    }
}

static void an_oversized_body_is_cut_and_the_session_goes_on(void **state) {
    static char body[7000];
    struct world *w = *state;
    prove(w, 5);
    snprintf(body, sizeof body, "%-*s", (int)sizeof body - 1, "{\"reason\":\"BadTopic\"}");
    submit(w, 2);
    pump(w);
    respond(w, w->seen[1].id, "400", body);
    assert_int_equal(w->answered, 1);
    assert_int_equal(w->status, 400);
    submit(w, 2);
    pump(w);
    respond(w, w->seen[2].id, "400", "{\"reason\":\"BadTopic\"}");
    assert_string_equal(w->reason, "BadTopic");
}

static void say_goaway(struct world *w, int32_t last, const char *text) {
    nghttp2_submit_goaway(w->server, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, (const uint8_t *)text, strlen(text));
    pump(w);
}

static void goaway_says(struct world *w, const char *text, const char *reason) {
    prove(w, 5);
    say_goaway(w, w->seen[0].id, text);
    assert_int_equal(w->goaways, 1);
    assert_string_equal(w->goaway, reason);
    assert_false(apns_session_ready(w->client));
    assert_int_equal(submit(w, 2), E_CLOSED);
}

static void a_goaway_with_json_tells_the_reason(void **state) {
    goaway_says(*state, "{\"reason\":\"BadCertificateEnvironment\"}", "BadCertificateEnvironment");
}

static void a_goaway_with_text_tells_the_text(void **state) {
    goaway_says(*state, "too many streams", "too many streams");
}

static void a_goaway_may_say_nothing(void **state) {
    goaway_says(*state, "", "");
}

static void a_goaway_with_a_long_text_is_cut(void **state) {
    char text[1000];
    struct world *w = *state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    prove(w, 5);
    say_goaway(w, w->seen[0].id, text);
    assert_int_equal(strlen(w->goaway), 255);
}

static void streams_above_the_last_one_are_refused_and_the_others_answered(void **state) {
    struct world *w = *state;
    prove(w, 5);
    fill(w, 2);
    pump(w);
    say_goaway(w, w->seen[2].id, "");
    assert_int_equal(w->lost, 3);
    assert_int_equal(w->refused, 3);
    assert_false(apns_session_idle(w->client));
    respond(w, w->seen[1].id, "200", "");
    respond(w, w->seen[2].id, "200", "");
    assert_int_equal(w->answered, 2);
    assert_true(apns_session_idle(w->client));
}

static void reset(struct world *w, uint32_t code) {
    prove(w, 5);
    submit(w, 2);
    pump(w);
    nghttp2_submit_rst_stream(w->server, NGHTTP2_FLAG_NONE, w->seen[1].id, code);
    pump(w);
    assert_int_equal(w->lost, 1);
    assert_int_equal(w->answered, 0);
}

static void a_refused_stream_is_refused(void **state) {
    struct world *w = *state;
    reset(w, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(w->refused, 1);
}

static void a_reset_stream_is_lost(void **state) {
    struct world *w = *state;
    reset(w, NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(w->refused, 0);
}

/* RFC 9113 8.1: a server may answer, and then reset with NO_ERROR what it did not read. */
static void an_answer_and_then_a_reset_is_an_answer(void **state) {
    struct world *w = *state;
    nghttp2_settings_entry entries[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100}};
    nghttp2_submit_settings(w->server, NGHTTP2_FLAG_NONE, entries, 1);
    pump(w);
    assert_int_equal(submit(w, 5000), 0);
    pump(w);
    assert_false(w->seen[0].ended);
    respond(w, w->seen[0].id, "413", "{\"reason\":\"PayloadTooLarge\"}");
    nghttp2_submit_rst_stream(w->server, NGHTTP2_FLAG_NONE, w->seen[0].id, NGHTTP2_NO_ERROR);
    pump(w);
    assert_int_equal(w->answered, 1);
    assert_int_equal(w->lost, 0);
    assert_int_equal(w->status, 413);
    assert_true(apns_session_has_room(w->client, 65435));
}

static void a_peer_that_breaks_the_protocol_ends_the_session(void **state) {
    static const uint8_t data_on_stream_0[] = {0, 0, 1, NGHTTP2_DATA, 0, 0, 0, 0, 0, 'x'};
    struct world *w = *state;
    const uint8_t *p;
    ssize_t n;
    prove(w, 5);
    assert_int_equal(apns_session_input(w->client, data_on_stream_0, sizeof data_on_stream_0), 0);
    while ((n = apns_session_output(w->client, &p)) > 0)
        ;
    assert_int_equal(n, E_CLOSED);
}

static void bytes_that_are_no_http2_end_the_session(void **state) {
    static const char rubbish[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct world *w = *state;
    const uint8_t *p;
    ssize_t n = 0;
    int err = apns_session_input(w->client, (const uint8_t *)rubbish, sizeof rubbish - 1);
    while (err == 0 && (n = apns_session_output(w->client, &p)) > 0)
        ;
    assert_true(err == E_CLOSED || n == E_CLOSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_answer_carries_status_reason_time_and_id),
        TEST(a_body_that_is_no_answer_leaves_the_status),
        TEST(an_oversized_body_is_cut_and_the_session_goes_on),
        TEST(a_goaway_with_json_tells_the_reason),
        TEST(a_goaway_with_text_tells_the_text),
        TEST(a_goaway_may_say_nothing),
        TEST(a_goaway_with_a_long_text_is_cut),
        TEST(streams_above_the_last_one_are_refused_and_the_others_answered),
        TEST(a_refused_stream_is_refused),
        TEST(a_reset_stream_is_lost),
        TEST(an_answer_and_then_a_reset_is_an_answer),
        TEST(a_peer_that_breaks_the_protocol_ends_the_session),
        TEST(bytes_that_are_no_http2_end_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
