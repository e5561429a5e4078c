/* SPDX-License-Identifier: Apache-2.0 */
/* What pushes get. */
#include "tests/unit/apns_sim/client_fixture.h"

#define FULL_PUSHES 800 /* of 5 KB: more than socket buffers take */

static void push_payload(struct world *w, struct result *r, const char *payload, size_t len) {
    struct apns_push p = a_push(r, 10000);
    struct err_text et = {""};
    p.payload = payload;
    p.payload_len = len;
    r->w = w;
    if (apns_push(w->credential, &p, on_result, r, &r->id, &et) != 0)
        fail_msg("%s", et.s);
}

static void a_push_is_accepted(void **state) {
    struct world *w = *state;
    struct result *r = &w->results[0];
    assert_false(apns_credential_ready(w->credential));
    push(w, r, 3000);
    assert_int_equal(r->calls, 0);
    wait_for(w, r->calls);
    assert_int_equal(r->verdict, APNS_ACCEPTED);
    assert_int_equal(r->status, 200);
    assert_int_equal(r->err, 0);
    assert_string_equal(r->reason, "");
    assert_string_equal(r->apns_id, r->sent_id);
    assert_true(r->queued_us > 0 && r->queued_us <= r->written_us && r->written_us <= r->answered_us);
    assert_true(apns_credential_ready(w->credential));
    settle(w, 120);
    assert_int_equal(r->calls, 1);
    assert_int_equal(requests(w), 1);
}

static void a_device_that_left_is_told_with_its_time(void **state) {
    struct world *w = *state;
    struct sim_device *d = sim_device_find(w->sim, TOKEN);
    d->registered = false;
    d->unregistered_ms = 1780000000123;
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_TOKEN_INVALID);
    assert_int_equal(w->results[0].status, 410);
    assert_string_equal(w->results[0].reason, "Unregistered");
    assert_int_equal(w->results[0].timestamp_ms, 1780000000123);
}

static void a_push_past_its_deadline_is_never_sent(void **state) {
    struct world *w = *state;
    w->relay.mode = RELAY_HOLD;
    push(w, &w->results[0], 60);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_NOT_SENT);
    assert_int_equal(w->results[0].err, E_EXPIRED);
    assert_int_equal(w->results[0].status, 0);
    assert_int_equal(w->results[0].written_us, 0);
    assert_string_equal(w->results[0].apns_id, w->results[0].sent_id);
    w->relay.mode = RELAY_PASS;
    prove(w);
    push(w, &w->results[1], -1);
    wait_for(w, w->results[1].calls);
    assert_int_equal(w->results[1].err, E_EXPIRED);
    assert_int_equal(requests(w), 1);
}

static void an_answer_that_does_not_come_is_a_timeout(void **state) {
    struct world *w = *state;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push(w, &w->results[0], 60);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_SERVER_ERROR);
    assert_int_equal(w->results[0].err, E_TIMEOUT);
    assert_true(w->results[0].written_us > 0);
    w->relay.mode = RELAY_PASS;
    push(w, &w->results[1], 3000);
    wait_for(w, w->results[1].calls);
    each_was(w, 1, 1, APNS_ACCEPTED);
    each_was(w, 0, 1, APNS_SERVER_ERROR);
}

static void the_earliest_deadline_goes_first(void **state) {
    static const int64_t deadlines[] = {3000, 2500, 3500, 2000, 2500};
    static const size_t order[] = {3, 1, 4, 0, 2};
    struct world *w = *state;
    for (size_t i = 0; i < 5; i++)
        push(w, &w->results[i], deadlines[i]);
    wait_for(w, done(w, 0, 5) == 5);
    each_was(w, 0, 5, APNS_ACCEPTED);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(request_id(w, i), w->results[order[i]].sent_id);
}

static void a_queued_push_can_be_withdrawn(void **state) {
    struct world *w = *state;
    push_many(w, 0, 2);
    assert_int_equal(apns_withdraw(w->credential, w->results[0].id), 0);
    each_was(w, 0, 1, APNS_NOT_SENT);
    assert_int_equal(w->results[0].err, E_CLOSED);
    assert_int_equal(apns_withdraw(w->credential, w->results[0].id), E_NOTFOUND);
    wait_for(w, w->results[1].calls);
    assert_int_equal(requests(w), 1);
    w->relay.mode = RELAY_HOLD;
    push(w, &w->results[2], 3000);
    assert_int_equal(apns_withdraw(w->credential, w->results[2].id), E_NOTFOUND);
    assert_int_equal(w->results[2].calls, 0);
}

static void a_callback_may_push_again(void **state) {
    struct world *w = *state;
    for (size_t i = 0; i + 1 < 10; i++)
        w->results[i].then = &w->results[i + 1];
    push(w, &w->results[0], 3000);
    wait_for(w, w->results[9].calls);
    each_was(w, 0, 10, APNS_ACCEPTED);
    assert_int_equal(w->relay.accepted, 1);
}

/* The network takes less than there is to say: what is left follows when it takes more. */
static void a_socket_that_is_full_loses_nothing(void **state) {
    struct world *w = *state = world_new(files.certificate, 1000);
    char payload[APNS_VOIP_PAYLOAD_MAX_BYTES];
    int fd, small = 4096;
    w->sim->b.window_bytes = 16000000;
    assert_int_equal(uv_fileno((uv_handle_t *)&w->relay.tcp, &fd), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    struct apns_credential_config cfg = config(w);
    cfg.hedge_ms = APNS_HEDGE_OFF;
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    prove(w);
    settle(w, 50); /* SETTINGS and windows */
    memset(payload, ' ', sizeof payload);
    memcpy(payload, "{}", 2);
    relay_read(&w->relay, false);
    struct result *many = calloc(FULL_PUSHES, sizeof *many);
    for (size_t i = 0; i < FULL_PUSHES; i++)
        push_payload(w, &many[i], payload, sizeof payload);
    settle(w, 100);
    assert_int_equal(requests(w), 1);
    w->relay.mode = RELAY_HOLD; /* nothing that comes in sets the writing going */
    relay_read(&w->relay, true);
    wait_for(w, requests(w) == 1 + FULL_PUSHES);
    w->relay.mode = RELAY_PASS;
    for (size_t i = 0; i < FULL_PUSHES; i++) {
        wait_for(w, many[i].calls);
        assert_int_equal(many[i].calls, 1);
        assert_int_equal(many[i].verdict, APNS_ACCEPTED);
    }
    assert_int_equal(w->relay.accepted, 1);
    free(many);
}

/* Each answer lets the next one out; nothing waits for the sweep. */
static void a_queue_moves_at_the_pace_of_the_answers(void **state) {
    struct world *w = *state = world_new(files.certificate, 1);
    add_credential(w);
    prove(w);
    uint64_t start_ms = clock_mono_ms();
    push_many(w, 0, RESULTS_MAX);
    wait_for(w, done(w, 0, RESULTS_MAX) == RESULTS_MAX);
    each_was(w, 0, RESULTS_MAX, APNS_ACCEPTED);
    assert_true(clock_mono_ms() - start_ms < RESULTS_MAX * 50 / 2);
}

static void a_full_queue_takes_no_more(void **state) {
    struct world *w = *state;
    struct result *many = calloc(APNS_QUEUE_MAX + 1, sizeof *many);
    struct err_text et = {""};
    for (size_t i = 0; i < APNS_QUEUE_MAX; i++)
        push(w, &many[i], 60000);
    assert_int_equal(try_push(w, &many[APNS_QUEUE_MAX], 60000, &et), E_FULL);
    assert_non_null(strstr(et.s, "8192"));
    close_apns(w);
    for (size_t i = 0; i < APNS_QUEUE_MAX; i++)
        assert_true(many[i].calls == 1 && many[i].err == E_CLOSED);
    assert_int_equal(many[APNS_QUEUE_MAX].calls, 0);
    free(many);
}

static void a_push_that_fails_the_preflight_is_not_taken(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    struct apns_push p = {.token = "xyz", .apns_id = "", .topic = "", .payload = "", .priority = 1};
    apns_push_id id;
    assert_int_equal(apns_push(w->credential, &p, on_result, &w->results[0], &id, &et), E_INVAL);
    assert_non_null(strstr(et.s, "token"));
    close_apns(w);
    assert_int_equal(w->results[0].calls, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_push_is_accepted),
        TEST(a_device_that_left_is_told_with_its_time),
        TEST(a_push_past_its_deadline_is_never_sent),
        TEST(an_answer_that_does_not_come_is_a_timeout),
        TEST(the_earliest_deadline_goes_first),
        TEST(a_queued_push_can_be_withdrawn),
        TEST(a_callback_may_push_again),
        OWN(a_socket_that_is_full_loses_nothing),
        OWN(a_queue_moves_at_the_pace_of_the_answers),
        TEST(a_full_queue_takes_no_more),
        TEST(a_push_that_fails_the_preflight_is_not_taken),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
