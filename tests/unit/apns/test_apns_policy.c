/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes, answers, breakers and environments of the core, on a fake clock. */
#include "apns/apns_core_priv.h"
#include "tests/unit/apns/core_fixture.h"

#define BAD "dead"

/* Bad tokens are refused, and cost the connection all streams but one until the next good answer. */
static void cut_for_bad_tokens(struct world *w, struct request *r) {
    bool bad = strncmp(r->token, BAD, strlen(BAD)) == 0;
    say_streams(r->peer, bad ? 1 : STREAMS_MAX);
    respond(r, bad ? 400 : 200, bad ? "BadDeviceToken" : "");
    w->counter += bad;
}

static void bad_tokens_on_the_probe_lane_never_touch_the_rings(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = cut_for_bad_tokens;
    for (unsigned i = 0; i < 5000; i++) {
        char token[16];
        snprintf(token, sizeof token, "%s%04x", BAD, i);
        if (i % 100 == 0)
            push_to(w, i, APNS_LANE_PROBE, token, 30000);
        else
            push(w, i);
        if (i % 5 == 4)
            advance(w, 20);
    }
    advance(w, 1000);
    assert_int_equal(w->counter, 50);
    for (unsigned i = 0; i < w->request_count; i++) {
        const struct request *r = &w->requests[i];
        bool probe = r->number % 100 == 0;
        assert_int_equal(r->peer->lane, probe ? APNS_LANE_PROBE : APNS_LANE_RING);
        assert_int_equal(w->results[r->number].calls, 1);
        if (!probe)
            assert_true(w->results[r->number].at_ms <= r->at_ms);
    }
    assert_int_equal(w->request_count, 5000);
}

static void silent_on_probe(struct world *w, struct request *r) {
    (void)w;
    if (r->peer->lane == APNS_LANE_RING)
        respond(r, 200, "");
}

static void a_probe_without_an_answer_is_hedged_on_the_ring_lane(void **state) {
    struct world *w = *state;
    prove(w);
    push_to(w, 0, APNS_LANE_PROBE, NULL, 30000);
    advance(w, 2000);
    assert_int_equal(w->results[0].status, 200);
    w->react = silent_on_probe;
    push_to(w, 1, APNS_LANE_PROBE, NULL, 30000);
    advance(w, 299);
    assert_int_equal(w->results[1].calls, 0);
    advance(w, 10);
    assert_int_equal(w->results[1].status, 200);
    assert_true(w->results[1].hedged);
}

static void cut_first_ring(struct world *w, struct request *r) {
    if (r->number == 0)
        say_streams(r->peer, 1);
    if (r->number == 0)
        respond(r, 400, "DeviceTokenNotForTopic");
    else if (r->number == 1)
        w->counter = r->peer->index; /* not answered yet */
    else
        respond(r, 200, "");
}

static void a_ring_connection_cut_to_one_stream_gets_one_ring_and_its_sibling_the_rest(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = cut_first_ring;
    push(w, 0);
    advance(w, 10);
    const struct peer *cut = w->requests[0].peer;
    assert_int_equal(w->results[0].verdict, APNS_TOKEN_MISFILED);
    for (unsigned i = 1; i < 20; i++)
        push(w, i);
    turn(w);
    assert_int_equal(w->counter, cut->index);
    for (unsigned i = 2; i < 20; i++)
        assert_int_equal(w->results[i].status, 200);
}

static void refuse_credential(struct world *w, struct request *r) {
    (void)w;
    respond(r, 403, "InvalidProviderToken");
}

static void a_refused_credential_pauses_without_a_storm_and_recovers(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = refuse_credential;
    unsigned peers = w->peer_count;
    for (unsigned i = 0; i < 600; i++) {
        push_to(w, i, APNS_LANE_RING, NULL, 200000);
        advance(w, 100);
    }
    assert_in_range(w->request_count, 5, 20);
    assert_true(w->peer_count - peers < 60);
    assert_int_equal(w->alarms[APNS_ALARM_CREDENTIAL], 1);
    w->react = NULL;
    advance(w, 9000);
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(w->results[i].calls, 1);
    assert_int_equal(w->results[599].verdict, APNS_ACCEPTED);
}

static void refuse_tokens(struct world *w, struct request *r) {
    (void)w;
    respond(r, 400, "BadDeviceToken");
}

static void when_all_tokens_are_bad_none_is_given_up(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = refuse_tokens;
    unsigned invalid = 0, doubtful = 0;
    for (unsigned i = 0; i < 100; i++) {
        char token[16];
        snprintf(token, sizeof token, "%04x", i);
        push_to(w, i, APNS_LANE_RING, token, 30000);
        advance(w, 10);
        invalid += w->results[i].verdict == APNS_TOKEN_INVALID;
        doubtful += w->results[i].verdict == APNS_TOKEN_DOUBTFUL;
    }
    assert_int_equal(invalid + doubtful, 100);
    assert_true(invalid < 16);
    assert_int_equal(w->alarms[APNS_ALARM_BAD_TOKENS], 1);
}

/* Only the connections that the second credential opened take the token. */
static void one_environment(struct world *w, struct request *r) {
    bool other = r->peer->link && apns_link_credential(r->peer->link) == w->other;
    respond(r, other ? 200 : 400, other ? "" : "BadDeviceToken");
}

static void a_new_token_is_tried_in_the_other_environment_once(void **state) {
    struct world *w = *state;
    w->other = world_credential(w, "sandbox");
    apns_core_pair(w->credential, w->other);
    prove(w);
    w->react = one_environment;
    push_to(w, 0, APNS_LANE_PROBE, NULL, 30000);
    push_to(w, 1, APNS_LANE_RING, NULL, 30000);
    advance(w, 5000);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED);
    assert_ptr_equal(w->results[0].credential, w->other);
    assert_int_equal(w->results[1].verdict, APNS_TOKEN_INVALID);
    w->react = refuse_tokens;
    w->request_count = 0;
    push_to(w, 2, APNS_LANE_PROBE, NULL, 30000);
    advance(w, 5000);
    assert_int_equal(times(w, 2), 2);
    assert_int_equal(w->results[2].verdict, APNS_TOKEN_INVALID);
    assert_ptr_equal(w->results[2].credential, w->credential);
    assert_string_equal(w->results[2].reason, "BadDeviceToken");
}

static void expired_token(struct world *w, struct request *r) {
    if (w->counter++ == 0)
        respond(r, 403, "ExpiredProviderToken");
    else
        respond(r, 200, "");
}

static void a_fresh_token_that_has_expired_raises_the_clock_alarm(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = expired_token;
    push(w, 0);
    advance(w, 3000);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED);
    assert_int_equal(w->results[0].tries, 2);
    assert_int_equal(w->alarms[APNS_ALARM_CLOCK], 1);
    assert_null(w->requests[0].peer->link);
}

/* The topic was added at w->counter (ms): connections that began before do not know it. */
static void know_topic_since(struct world *w, struct request *r) {
    bool knows = r->peer->dialled_ms >= w->counter;
    respond(r, knows ? 200 : 400, knows ? "" : "TopicDisallowed");
}

static void a_topic_that_was_added_renews_older_connections_and_the_push_goes_again(void **state) {
    struct world *w = *state;
    prove(w);
    advance(w, APNS_TOPIC_OLD_MS);
    unsigned before = w->peer_count;
    w->counter = (unsigned)now_ms(w);
    w->react = know_topic_since;
    for (unsigned i = 0; i < 6; i++)
        push(w, i); /* on both */
    advance(w, 5000);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(w->results[i].verdict, APNS_ACCEPTED);
        assert_int_equal(w->results[i].tries, 2);
    }
    assert_null(w->peers[0]->link);
    assert_null(w->peers[1]->link);
    assert_int_equal(w->peer_count, before + 2);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
    assert_int_equal(w->alarms[APNS_ALARM_TOPIC], 0);
}

static void a_young_connection_is_believed(void **state) {
    struct world *w = *state;
    prove(w);
    unsigned before = w->peer_count;
    w->counter = UINT32_MAX;
    w->react = know_topic_since;
    push(w, 0);
    advance(w, 5000);
    assert_int_equal(w->results[0].verdict, APNS_CREDENTIAL_BAD);
    assert_int_equal(w->results[0].tries, 1);
    assert_int_equal(w->peer_count, before);
    assert_int_equal(w->alarms[APNS_ALARM_TOPIC], 1);
}

/* An hour of pushes to a topic that stays unknown. */
static void a_topic_that_is_never_allowed_makes_no_storm(void **state) {
    struct world *w = *state;
    prove(w);
    unsigned before = w->peer_count;
    w->counter = UINT32_MAX;
    w->react = know_topic_since;
    for (unsigned i = 0; i < 3600; i++) {
        push(w, i);
        advance(w, 1000);
    }
    advance(w, 30000);
    for (unsigned i = 0; i < 3600; i++)
        assert_int_equal(w->results[i].verdict, APNS_CREDENTIAL_BAD);
    assert_in_range(w->peer_count - before, 2, 2 * (6 + 1));
    assert_in_range(w->alarms[APNS_ALARM_TOPIC], 5, 7);
}

/* With Retry-After. */
static void throttle(struct world *w, struct request *r) {
    nghttp2_nv nv[] = {peer_field(":status", "429"), peer_field("retry-after", "37")};
    (void)w;
    snprintf(r->peer->body, sizeof r->peer->body, "{\"reason\":\"TooManyRequests\"}");
    nghttp2_data_provider body = {.source.ptr = r->peer->body, .read_callback = peer_read_body};
    nghttp2_submit_response(r->peer->h2, r->stream, nv, 2, &body);
}

static void a_device_that_is_throttled_is_told_once_with_its_pause(void **state) {
    struct world *w = *state;
    prove(w);
    unsigned before = w->peer_count;
    w->react = throttle;
    push(w, 0);
    advance(w, 60000);
    assert_int_equal(w->results[0].verdict, APNS_THROTTLED);
    assert_int_equal(w->results[0].retry_after_s, 37);
    assert_string_equal(w->results[0].reason, "TooManyRequests");
    assert_int_equal(times(w, 0), 1);
    assert_int_equal(w->peer_count, before); /* others' rings go on as before */
    w->react = NULL;
    push(w, 1);
    turn(w);
    assert_int_equal(w->results[1].status, 200);
}

/* A rolling restart of the far side. */
static void shut_down(struct world *w, struct request *r) {
    if (++w->counter % 50 == 0) {
        respond(r, 503, "Shutdown");
        say_goaway(r->peer, INT32_MAX, "");
    } else if (!r->peer->goaway) {
        respond(r, 200, "");
    }
}

static void a_rolling_shutdown_loses_nothing(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = shut_down;
    for (unsigned i = 0; i < 1000; i++) {
        push(w, i);
        advance(w, 100);
    }
    advance(w, 10000);
    for (unsigned i = 0; i < 1000; i++)
        if (w->results[i].calls != 1 || w->results[i].verdict != APNS_ACCEPTED)
            fail_msg("push %u: %u results, verdict %d", i, w->results[i].calls, w->results[i].verdict);
}

/* Every connection says once that it goes, those that come in the next ten seconds, too. */
static void shut_down_all(struct world *w, struct request *r) {
    if (r->peer->goaway)
        return;
    if (now_ms(w) < START_MS + 15000) {
        respond(r, 503, "Shutdown");
        say_goaway(r->peer, r->stream, "{\"reason\":\"Shutdown\"}");
    } else {
        respond(r, 200, "");
    }
}

static void a_shutdown_of_all_loses_no_ring_that_can_wait(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = shut_down_all;
    for (unsigned i = 0; i < 100; i++)
        push(w, i);
    push_to(w, 100, APNS_LANE_RING, NULL, 3000);
    push_to(w, 101, APNS_LANE_BULK, NULL, 30000);
    advance(w, 40000);
    for (unsigned i = 0; i < 100; i++)
        if (w->results[i].calls != 1 || w->results[i].verdict != APNS_ACCEPTED || w->results[i].tries != 1)
            fail_msg("push %u: %u results, verdict %d, %u tries", i, w->results[i].calls, w->results[i].verdict,
                     w->results[i].tries);
    for (unsigned i = 100; i < 102; i++) {
        assert_int_equal(w->results[i].calls, 1);
        assert_int_equal(w->results[i].status, 503);
        assert_string_equal(w->results[i].reason, "Shutdown");
    }
    assert_true(times(w, 100) > 2);
    assert_int_equal(times(w, 101), 1);
    assert_true(w->peer_count < 4 + 4 * 15); /* at most one connect a second to each address */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bad_tokens_on_the_probe_lane_never_touch_the_rings),
        TEST(a_probe_without_an_answer_is_hedged_on_the_ring_lane),
        TEST(a_ring_connection_cut_to_one_stream_gets_one_ring_and_its_sibling_the_rest),
        TEST(a_refused_credential_pauses_without_a_storm_and_recovers),
        TEST(when_all_tokens_are_bad_none_is_given_up),
        TEST(a_new_token_is_tried_in_the_other_environment_once),
        TEST(a_fresh_token_that_has_expired_raises_the_clock_alarm),
        TEST(a_topic_that_was_added_renews_older_connections_and_the_push_goes_again),
        TEST(a_young_connection_is_believed),
        TEST(a_topic_that_is_never_allowed_makes_no_storm),
        TEST(a_device_that_is_throttled_is_told_once_with_its_pause),
        TEST(a_rolling_shutdown_loses_nothing),
        TEST(a_shutdown_of_all_loses_no_ring_that_can_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
