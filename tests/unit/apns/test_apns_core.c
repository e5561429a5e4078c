/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, retries, hedges and deadlines of the core, on a fake clock. */
#include "tests/unit/apns/core_fixture.h"

static void silent(struct world *w, struct request *r) {
    (void)w;
    (void)r;
}

static void the_ring_lane_has_two_connections_on_different_addresses(void **state) {
    struct world *w = *state;
    advance(w, 2000);
    assert_int_equal(w->peer_count, 2);
    assert_int_not_equal(w->peers[0]->address, w->peers[1]->address);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
    assert_true(apns_core_ready(w->credential));
}

static void the_probe_lane_may_be_there_from_the_start(void **state) {
    struct world *w = *state;
    struct apns_credential *c;
    struct apns_core_identity id = {.name = "app",
                                    .host = "h",
                                    .port = 443,
                                    .key = w->key,
                                    .team_id = "ABCDE12345",
                                    .key_id = "FGHIJ67890",
                                    .open_probe = true};
    assert_int_equal(apns_core_add(w->core, &c, &id), 0);
    advance(w, 4000);
    assert_int_equal(alive(w, APNS_LANE_PROBE), 1);
}

static void one_address_gets_one_connect_in_a_second(void **state) {
    struct world *w = *state;
    w->addresses = 1;
    for (unsigned i = 0; i < 100; i++) {
        advance(w, 500);
        for (unsigned k = 0; k < w->peer_count; k++)
            if (w->peers[k]->link && w->peers[k]->connected)
                peer_cut(w->peers[k]);
    }
    assert_true(w->peer_count > 5);
    for (unsigned i = 1; i < w->peer_count; i++)
        for (unsigned k = 0; k < i; k++)
            if (w->peers[i]->dialled_ms && w->peers[k]->dialled_ms)
                assert_true(w->peers[i]->dialled_ms >= w->peers[k]->dialled_ms + APNS_CONNECT_MIN_MS ||
                            w->peers[k]->dialled_ms >= w->peers[i]->dialled_ms + APNS_CONNECT_MIN_MS);
}

static void apps_share_the_limit_of_an_address(void **state) {
    struct world *w = *state;
    w->addresses = 2;
    for (unsigned i = 0; i < 3; i++)
        world_credential(w, "another");
    advance(w, 10000);
    assert_int_equal(w->peer_count, 8);
    assert_int_equal(alive(w, APNS_LANE_RING), 8);
    for (unsigned i = 0; i < w->peer_count; i++)
        for (unsigned k = 0; k < i; k++)
            if (w->peers[i]->address == w->peers[k]->address)
                assert_true(w->peers[i]->dialled_ms >= w->peers[k]->dialled_ms + 1000 ||
                            w->peers[k]->dialled_ms >= w->peers[i]->dialled_ms + 1000);
}

static void a_server_that_is_away_is_asked_ever_less_often(void **state) {
    struct world *w = *state;
    w->refuse_connects = true;
    advance(w, 3600000);
    assert_true(w->peer_count < 2 * (3600 / 60 + 10));
    assert_true(w->peer_count > 60);
    w->refuse_connects = false;
    advance(w, 76000);
    assert_true(apns_core_ready(w->credential));
}

static void a_goaway_brings_a_replacement_and_loses_nothing(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = silent;
    for (unsigned i = 0; i < 20; i++)
        push(w, i);
    turn(w);
    assert_int_equal(w->request_count, 20);
    /* Every other stream of the first connection is above the last one that it processed. */
    struct peer *p = w->requests[0].peer;
    int32_t last = 0;
    unsigned seen = 0;
    for (unsigned i = 0; i < 20; i++)
        if (w->requests[i].peer == p && ++seen == 5)
            last = w->requests[i].stream;
    assert_true(last > 0);
    say_goaway(p, last, "");
    w->react = NULL;
    for (unsigned i = 0; i < 20; i++)
        if (w->requests[i].peer != p || w->requests[i].stream <= last)
            respond(&w->requests[i], 200, "");
    advance(w, 5000);
    for (unsigned i = 0; i < 20; i++) {
        unsigned number = w->requests[i].number;
        bool above = w->requests[i].peer == p && w->requests[i].stream > last;
        assert_int_equal(w->results[number].calls, 1);
        assert_int_equal(w->results[number].verdict, APNS_ACCEPTED);
        assert_int_equal(times(w, number), above ? 2 : 1);
        assert_int_equal(w->results[number].tries, 1);
    }
    assert_null(p->link);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
}

static void refuse_three(struct world *w, struct request *r) {
    if (w->counter++ < 3)
        nghttp2_submit_rst_stream(r->peer->h2, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_REFUSED_STREAM);
    else
        respond(r, 200, "");
}

static void a_refused_push_goes_again_free_of_charge(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = refuse_three;
    push(w, 0);
    advance(w, 1000);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED);
    assert_int_equal(w->results[0].tries, 1);
    assert_int_equal(times(w, 0), 4);
    assert_ptr_not_equal(w->requests[0].peer, w->requests[1].peer);
}

static void an_unknown_push_goes_once_more_on_another_address(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = silent;
    push(w, 0);
    turn(w);
    struct peer *first = w->requests[0].peer;
    peer_cut(first);
    turn(w);
    assert_int_equal(times(w, 0), 2);
    assert_int_not_equal(w->requests[1].peer->address, first->address);
    peer_cut(w->requests[1].peer);
    advance(w, 5000);
    assert_int_equal(times(w, 0), 2);
    assert_int_equal(w->results[0].calls, 1);
    assert_int_equal(w->results[0].err, E_IO);
}

static void bulk_of_unknown_fate_is_not_sent_again(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = silent;
    push_to(w, 0, APNS_LANE_BULK, NULL, 30000);
    advance(w, 3000);
    assert_int_equal(w->requests[0].peer->lane, APNS_LANE_BULK);
    assert_int_equal(times(w, 0), 1);
    peer_cut(w->requests[0].peer);
    advance(w, 3000);
    assert_int_equal(times(w, 0), 1);
    assert_int_equal(w->results[0].err, E_IO);
}

static void a_ring_without_an_answer_is_hedged_after_300_ms(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = silent;
    push(w, 0);
    advance(w, 299);
    assert_int_equal(times(w, 0), 1);
    advance(w, 2);
    assert_int_equal(times(w, 0), 2);
    assert_int_not_equal(w->requests[0].peer->address, w->requests[1].peer->address);
    respond(&w->requests[1], 200, "");
    advance(w, 10);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED);
    assert_true(w->results[0].hedged);
    assert_true(w->requests[0].reset);
    advance(w, 20000);
    assert_int_equal(w->results[0].calls, 1);
    assert_int_equal(times(w, 0), 2);
}

static void an_answer_after_700_s_is_taken_and_holds_up_nothing(void **state) {
    struct world *w = *state;
    world_stop(w);
    w->hedge_ms = APNS_HEDGE_OFF;
    world_core(w);
    w->credential = world_credential(w, "app");
    prove(w);
    w->react = silent;
    push_to(w, 0, APNS_LANE_RING, NULL, 800000);
    push_to(w, 1, APNS_LANE_RING, NULL, 30000);
    turn(w);
    w->react = NULL;
    struct request *late = w->requests[0].number == 0 ? &w->requests[0] : &w->requests[1];
    for (unsigned i = 2; i < 72; i++) {
        push(w, i);
        advance(w, 10000);
        assert_int_equal(w->results[i].verdict, APNS_ACCEPTED);
    }
    assert_int_equal(w->results[1].err, E_TIMEOUT);
    assert_int_equal(w->results[0].calls, 0);
    respond(late, 200, "");
    advance(w, 100);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED);
    assert_int_equal(w->results[0].calls, 1);
    assert_int_equal(times(w, 0), 1);
}

/* A connection that died in silence: the PING that went with the ring finds it. */
static void a_dead_connection_is_found_with_the_ring(void **state) {
    struct world *w = *state;
    prove(w);
    advance(w, 600000);
    w->peers[0]->deaf = w->peers[1]->deaf = true;
    push(w, 0);
    advance(w, 7000);
    assert_null(w->peers[0]->link);
    assert_null(w->peers[1]->link);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
    assert_int_equal(w->results[0].calls, 1);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED); /* the hedge went to a dead one, too, and was no try */
    assert_int_equal(w->results[0].tries, 3);
    push(w, 1);
    advance(w, 100);
    assert_int_equal(w->results[1].verdict, APNS_ACCEPTED);
}

static void a_second_try_waits_for_a_connection_that_lives(void **state) {
    struct world *w = *state;
    prove(w);
    advance(w, 600000);
    w->peers[0]->deaf = w->peers[1]->deaf = true;
    push(w, 0); /* finds out */
    advance(w, 1000);
    push(w, 1);
    advance(w, 7000);
    assert_int_equal(w->results[1].verdict, APNS_ACCEPTED);
    assert_int_equal(w->results[1].tries, 2);
}

static void an_idle_connection_lives_for_days_and_is_asked_every_hour(void **state) {
    struct world *w = *state;
    prove(w);
    advance(w, 48ULL * 3600 * 1000);
    assert_int_equal(w->peer_count, 2);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
    w->peers[0]->deaf = true;
    advance(w, 3700000);
    assert_null(w->peers[0]->link);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
}

static void no_deadline_is_passed(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = silent;
    push_to(w, 0, APNS_LANE_RING, NULL, 700);
    advance(w, 5000);
    assert_int_equal(w->results[0].err, E_TIMEOUT);
    assert_int_equal(w->results[0].at_ms, START_MS + 2010 + 700);
    w->refuse_connects = true;
    for (unsigned i = 0; i < w->peer_count; i++)
        if (w->peers[i]->link && w->peers[i]->connected)
            peer_cut(w->peers[i]);
    push_to(w, 1, APNS_LANE_RING, NULL, 700);
    advance(w, 701);
    assert_int_equal(w->results[1].err, E_EXPIRED);
    w->refuse_connects = false;
    w->react = NULL;
    advance(w, 100000);
    assert_int_equal(times(w, 1), 0);
}

static void a_queued_push_can_be_withdrawn(void **state) {
    struct world *w = *state;
    push(w, 0);
    push(w, 1);
    assert_int_equal(apns_core_withdraw(w->credential, w->results[0].id), 0);
    assert_int_equal(w->results[0].verdict, APNS_NOT_SENT);
    advance(w, 2000);
    assert_int_equal(times(w, 0), 0);
    assert_int_equal(w->results[1].verdict, APNS_ACCEPTED);
    assert_int_equal(apns_core_withdraw(w->credential, w->results[1].id), E_NOTFOUND);
}

/* Every 500 requests a GOAWAY: below, at and above what was answered so far, in turn. */
static void goaway_every_500(struct world *w, struct request *r) {
    struct peer *p = r->peer;
    if (p->goaway)
        return; /* above the last stream: the client takes it as refused */
    if (++w->counter % 500 != 0) {
        respond(r, 200, "");
        return;
    }
    switch (w->kinds++ % 3) {
    case 0: /* this one and what follows was not processed */
        say_goaway(p, r->stream - 2, "{\"reason\":\"Shutdown\"}");
        break;
    case 1: /* this one was, and is answered */
        respond(r, 200, "");
        say_goaway(p, r->stream, "");
        break;
    default: /* no limit: what is under way is answered */
        respond(r, 200, "");
        say_goaway(p, INT32_MAX, "bye");
        p->goaway = false;
    }
}

static void of_10000_pushes_with_many_goaways_none_is_lost_or_doubled(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = goaway_every_500;
    for (unsigned i = 0; i < 10000; i++) {
        push(w, i);
        if (i % 10 == 9)
            advance(w, 10);
    }
    advance(w, 20000);
    unsigned *answered = calloc(10000, sizeof *answered);
    for (unsigned i = 0; i < w->request_count; i++)
        answered[w->requests[i].number] += w->requests[i].answered;
    for (unsigned i = 0; i < 10000; i++) {
        if (w->results[i].calls != 1 || w->results[i].verdict != APNS_ACCEPTED || answered[i] != 1)
            fail_msg("push %u: %u results, verdict %d, answered %u times", i, w->results[i].calls,
                     w->results[i].verdict, answered[i]);
    }
    assert_true(w->kinds >= 20);
    free(answered);
}

static void a_reload_brings_new_connections_up_before_the_old_ones_go(void **state) {
    struct world *w = *state;
    prove(w);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct apns_core_identity id = {.name = "app",
                                    .host = "api.example",
                                    .port = 443,
                                    .key = key,
                                    .team_id = "ABCDE12345",
                                    .key_id = "NEWKEY7890",
                                    .ring_connections = 2};
    w->refuse_connects = true;
    assert_int_equal(apns_core_reload(w->credential, &id), 0);
    EVP_PKEY_free(key);
    advance(w, 3000);
    push(w, 0); /* on an old one */
    advance(w, 10);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED);
    char old[300];
    snprintf(old, sizeof old, "%s", w->requests[0].bearer);
    w->refuse_connects = false;
    advance(w, 20000);
    assert_null(w->peers[0]->link);
    assert_null(w->peers[1]->link);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
    push(w, 1);
    advance(w, 10);
    assert_int_equal(w->results[1].verdict, APNS_ACCEPTED);
    assert_string_not_equal(w->requests[1].bearer, old);
}

static void hold(struct world *w, struct request *r) {
    (void)w;
    (void)r;
}

static void assert_takes_no_more(struct world *w) {
    struct err_text et = {""};
    apns_push_id id;
    struct apns_push p = {.token = "00ff",
                          .apns_id = "00000000-0000-4000-8000-000000000000",
                          .topic = "com.example.app.voip",
                          .priority = 10,
                          .payload = "{\"aps\":{}}",
                          .payload_len = 10,
                          .deadline_ms = now_ms(w) + 1000};
    assert_int_equal(apns_core_push(w->credential, &p, on_result, &w->results[0], &id, &et), E_CLOSED);
}

static void one_that_is_retired_goes_when_its_pushes_have_their_results(void **state) {
    struct world *w = *state;
    w->other = world_credential(w, "other");
    advance(w, 3000);
    prove(w);
    w->react = hold;
    push(w, 0);
    advance(w, 10);
    assert_int_equal(w->request_count, 1);
    apns_core_retire(w->credential);
    assert_takes_no_more(w);
    advance(w, 200);
    assert_false(apns_core_unused(w->credential));
    assert_int_equal(w->results[0].calls, 0);
    respond(&w->requests[0], 200, "");
    advance(w, 10);
    assert_int_equal(w->results[0].verdict, APNS_ACCEPTED);
    assert_true(apns_core_unused(w->credential));
    unsigned before = alive(w, APNS_LANE_RING);
    apns_core_remove(w->credential);
    assert_int_equal(alive(w, APNS_LANE_RING), before - 2); /* those of the other stay */
    w->credential = w->other;
    w->react = NULL;
    push(w, 1);
    advance(w, 10);
    assert_int_equal(w->results[1].verdict, APNS_ACCEPTED);
}

static void say_bad_token(struct world *w, struct request *r) {
    if (w->counter++ == 0)
        respond(r, 400, "BadDeviceToken");
}

/* Its push is at the other one, but comes back with a result. */
static void one_that_is_retired_waits_for_a_push_that_is_at_its_pair(void **state) {
    struct world *w = *state;
    w->other = world_credential(w, "other");
    apns_core_pair(w->credential, w->other);
    advance(w, 3000);
    w->react = say_bad_token;
    push_to(w, 0, APNS_LANE_PROBE, NULL, 30000);
    advance(w, 3000);
    assert_int_equal(w->request_count, 2);
    apns_core_retire(w->credential);
    assert_false(apns_core_unused(w->credential));
    assert_false(apns_core_unused(w->other));
    respond(&w->requests[1], 200, "");
    advance(w, 10);
    assert_int_equal(w->results[0].calls, 1);
    assert_ptr_equal(w->results[0].credential, w->other);
    assert_true(apns_core_unused(w->credential));
    apns_core_remove(w->credential);
    /* The other has no pair any more: a bad token is the answer. */
    w->credential = w->other;
    w->counter = 0;
    push_to(w, 1, APNS_LANE_PROBE, NULL, 30000);
    advance(w, 100);
    assert_int_equal(w->results[1].verdict, APNS_TOKEN_INVALID);
}

static void one_whose_pair_has_found_another_has_none(void **state) {
    struct world *w = *state;
    struct apns_credential *first = w->credential;
    w->other = world_credential(w, "other");
    apns_core_pair(first, w->other);
    apns_core_pair(first, world_credential(w, "third"));
    w->credential = w->other;
    w->react = say_bad_token;
    advance(w, 5000);
    push_to(w, 0, APNS_LANE_PROBE, NULL, 30000);
    advance(w, 5000);
    assert_int_equal(w->results[0].verdict, APNS_TOKEN_INVALID);
    assert_int_equal(w->request_count, 1);
    apns_core_pair(first, NULL);
    w->credential = first;
    w->counter = 0;
    push_to(w, 1, APNS_LANE_PROBE, NULL, 30000);
    advance(w, 5000);
    assert_int_equal(w->results[1].verdict, APNS_TOKEN_INVALID);
    assert_int_equal(w->request_count, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_ring_lane_has_two_connections_on_different_addresses),
        TEST(the_probe_lane_may_be_there_from_the_start),
        TEST(one_address_gets_one_connect_in_a_second),
        TEST(apps_share_the_limit_of_an_address),
        TEST(a_server_that_is_away_is_asked_ever_less_often),
        TEST(a_goaway_brings_a_replacement_and_loses_nothing),
        TEST(a_refused_push_goes_again_free_of_charge),
        TEST(an_unknown_push_goes_once_more_on_another_address),
        TEST(bulk_of_unknown_fate_is_not_sent_again),
        TEST(a_ring_without_an_answer_is_hedged_after_300_ms),
        TEST(an_answer_after_700_s_is_taken_and_holds_up_nothing),
        TEST(a_dead_connection_is_found_with_the_ring),
        TEST(a_second_try_waits_for_a_connection_that_lives),
        TEST(an_idle_connection_lives_for_days_and_is_asked_every_hour),
        TEST(no_deadline_is_passed),
        TEST(a_queued_push_can_be_withdrawn),
        TEST(of_10000_pushes_with_many_goaways_none_is_lost_or_doubled),
        TEST(one_that_is_retired_goes_when_its_pushes_have_their_results),
        TEST(one_that_is_retired_waits_for_a_push_that_is_at_its_pair),
        TEST(one_whose_pair_has_found_another_has_none),
        TEST(a_reload_brings_new_connections_up_before_the_old_ones_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
