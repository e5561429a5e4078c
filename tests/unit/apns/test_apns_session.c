/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: when they go out, what they say, and how they are given up. */
#include "tests/unit/apns/session_fixture.h"

static void nothing_goes_out_before_the_settings(void **state) {
    struct world *w = *state;
    say_settings(w, 100);
    to_server(w);
    assert_false(apns_session_ready(w->client));
    assert_false(apns_session_has_room(w->client, 1));
    assert_int_equal(submit(w, 2), E_FULL);
    to_server(w);
    assert_int_equal(w->seen_count, 0);
    pump(w);
    assert_true(apns_session_ready(w->client));
    assert_int_equal(submit(w, 2), 0);
    pump(w);
    assert_int_equal(w->seen_count, 1);
    assert_true(w->seen[0].ended);
}

static void one_stream_until_an_answer_proves_the_token(void **state) {
    static const struct {
        const char *status, *body;
    } no_proof[] = {{"403", "{\"reason\":\"ExpiredProviderToken\"}"},
                    {"429", "{\"reason\":\"TooManyProviderTokenUpdates\"}"},
                    {"503", "{\"reason\":\"ServiceUnavailable\"}"}};
    struct world *w = *state;
    say_settings(w, 100);
    pump(w);
    for (size_t i = 0; i < sizeof no_proof / sizeof *no_proof; i++) {
        assert_int_equal(fill(w, 2), 1);
        pump(w);
        respond(w, w->seen[i].id, no_proof[i].status, no_proof[i].body);
    }
    assert_int_equal(fill(w, 2), 1);
    pump(w);
    respond(w, w->seen[3].id, "400", "{\"reason\":\"BadDeviceToken\"}");
    assert_true(fill(w, 2) > 1);
}

static void the_peers_limit_holds_after_the_proof(void **state) {
    struct world *w = *state;
    prove(w, 5);
    assert_int_equal(fill(w, 2), 5);
    pump(w);
    assert_int_equal(w->seen_count, 6);
    respond(w, w->seen[1].id, "200", "");
    assert_int_equal(fill(w, 2), 1);
    pump(w);
    say_settings(w, 1);
    pump(w);
    for (size_t i = 2; i < 6; i++) {
        respond(w, w->seen[i].id, "200", "");
        assert_int_equal(submit(w, 2), E_FULL);
    }
    respond(w, w->seen[6].id, "200", "");
    assert_int_equal(fill(w, 2), 1);
}

static void no_request_waits_for_the_window(void **state) {
    struct world *w = *state;
    prove(w, 1000);
    /* 65,535 bytes of connection window, 2 of them used by the first request. */
    assert_int_equal(fill(w, 5000), 13);
    assert_true(apns_session_has_room(w->client, 533));
    assert_false(apns_session_has_room(w->client, 534));
    pump(w);
    assert_int_equal(w->seen_count, 14);
    for (size_t i = 1; i < 14; i++) {
        assert_int_equal(w->seen[i].body_len, 5000);
        assert_true(w->seen[i].ended);
    }
    assert_int_equal(submit(w, 5000), E_FULL);
    nghttp2_session_consume_connection(w->server, 40000);
    pump(w);
    assert_int_equal(fill(w, 5000), 8);
}

static void what_was_given_up_gives_its_window_back(void **state) {
    struct world *w = *state;
    prove(w, 1000);
    fill(w, 5000);
    apns_session_forget(w->client, w);
    assert_true(apns_session_has_room(w->client, 5000));
}

static const struct header *find(const struct seen *s, const char *name) {
    for (size_t i = 0; i < s->header_count; i++)
        if (strcmp(s->headers[i].name, name) == 0)
            return &s->headers[i];
    fail_msg("no %s", name);
    return NULL;
}

static void the_request_is_what_apple_describes(void **state) {
    static const char *const order[] = {":method",         ":scheme",        ":path",           ":authority",
                                        "authorization",   "apns-push-type", "apns-topic",      "apns-priority",
                                        "apns-expiration", "apns-id",        "apns-collapse-id"};
    static const char *const value[] = {"POST",
                                        "https",
                                        "/3/device/00ff",
                                        "api.push.apple.com",
                                        "bearer a.b.c",
                                        "voip",
                                        "com.example.app.voip",
                                        "10",
                                        "0",
                                        "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11",
                                        "c1"};
    struct world *w = *state;
    struct apns_request r = request(5000);
    r.collapse_id = "c1";
    say_settings(w, 1);
    pump(w);
    assert_int_equal(apns_session_submit(w->client, &r, w), 0);
    pump(w);
    assert_int_equal(w->seen[0].header_count, sizeof order / sizeof *order);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        assert_string_equal(w->seen[0].headers[i].name, order[i]);
        assert_string_equal(w->seen[0].headers[i].value, value[i]);
    }
    assert_int_equal(w->seen[0].body_len, 5000);
}

static void what_differs_in_every_push_stays_out_of_the_header_table(void **state) {
    static const char *const fresh[] = {":path", "authorization", "apns-expiration", "apns-id", "apns-collapse-id"};
    static const char *const kept[] = {":method", "apns-push-type", "apns-topic", "apns-priority"};
    struct world *w = *state;
    struct apns_request r = request(2);
    size_t table = 0;
    r.collapse_id = "c1";
    say_settings(w, 1);
    pump(w);
    for (size_t i = 0; i < 3; i++) {
        char id[] = "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c1x", token[] = "00fx", expiration[] = "179000000x";
        id[35] = token[3] = expiration[9] = (char)('0' + i);
        r.apns_id = id;
        r.token = token;
        r.expiration = expiration;
        assert_int_equal(apns_session_submit(w->client, &r, w), 0);
        pump(w);
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            assert_false(find(&w->seen[i], kept[k])->never_indexed);
        for (size_t k = 0; k < sizeof fresh / sizeof *fresh; k++)
            assert_int_equal(find(&w->seen[i], fresh[k])->never_indexed, k < 2 || i > 0);
        if (i > 0)
            assert_int_equal(nghttp2_session_get_hd_inflate_dynamic_table_size(w->server), table);
        table = nghttp2_session_get_hd_inflate_dynamic_table_size(w->server);
        respond(w, w->seen[i].id, "200", "");
    }
    assert_true(table > 0 && table < 1024);
}

static void what_was_given_up_is_reset_and_never_told(void **state) {
    struct world *w = *state;
    char *gone = malloc(5000);
    prove(w, 5);
    memset(gone, ' ', 5000);
    struct apns_request r = request(5000);
    r.payload = gone;
    assert_int_equal(apns_session_submit(w->client, &r, &r), 0);
    assert_int_equal(submit(w, 2), 0);
    apns_session_forget(w->client, &r);
    free(gone);
    pump(w);
    assert_int_equal(submit(w, 3), 0);
    pump(w);
    apns_session_forget(w->client, w);
    pump(w);
    assert_int_equal(w->seen[w->seen_count - 2].reset_code, NGHTTP2_CANCEL);
    assert_int_equal(w->answered + w->lost, 0);
    respond(w, w->seen[w->seen_count - 1].id, "200", "");
    assert_int_equal(w->answered, 1);
    assert_true(apns_session_idle(w->client));
}

static void there_is_no_room_inside_a_callback(void **state) {
    struct world *w = *state;
    prove(w, 5);
    assert_false(w->room_inside);
    assert_true(apns_session_has_room(w->client, 1));
}

static void a_drained_session_takes_nothing_but_answers(void **state) {
    struct world *w = *state;
    prove(w, 5);
    submit(w, 2);
    apns_session_drain(w->client);
    assert_int_equal(submit(w, 2), E_CLOSED);
    pump(w);
    respond(w, w->seen[1].id, "200", "");
    assert_int_equal(w->answered, 1);
}

static void a_session_with_streams_under_way_can_be_freed(void **state) {
    struct world *w = *state;
    prove(w, 5);
    fill(w, 100);
    to_server(w);
    assert_null(w->client = apns_session_free(w->client));
    assert_int_equal(w->lost, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_goes_out_before_the_settings),
        TEST(one_stream_until_an_answer_proves_the_token),
        TEST(the_peers_limit_holds_after_the_proof),
        TEST(no_request_waits_for_the_window),
        TEST(what_was_given_up_gives_its_window_back),
        TEST(the_request_is_what_apple_describes),
        TEST(what_differs_in_every_push_stays_out_of_the_header_table),
        TEST(what_was_given_up_is_reset_and_never_told),
        TEST(there_is_no_room_inside_a_callback),
        TEST(a_drained_session_takes_nothing_but_answers),
        TEST(a_session_with_streams_under_way_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
