/* SPDX-License-Identifier: Apache-2.0 */
/* How the client ends: closing at every step, draining. */
#include "tests/unit/apns_sim/client_fixture.h"

static void closing_ends_each_push(struct world *w, size_t count) {
    close_apns(w);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(w->results[i].calls, 1);
        assert_int_equal(w->results[i].err, E_CLOSED);
    }
    settle(w, 20);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(w->results[i].calls, 1);
}

static void it_closes_before_the_loop_has_run(void **state) {
    struct world *w = *state;
    push_many(w, 0, 5);
    closing_ends_each_push(w, 5);
    each_was(w, 0, 5, APNS_NOT_SENT);
}

static void it_closes_at_every_step_of_the_way_up(void **state) {
    for (unsigned turns = 1; turns < 16; turns++) {
        struct world *w = world_new(files.certificate, 100);
        add_credential(w);
        w->relay.mode = turns % 2 ? RELAY_SLOW : RELAY_HOLD;
        push_many(w, 0, 2);
        for (unsigned i = 0; i < turns; i++)
            uv_run(&w->loop, UV_RUN_ONCE);
        closing_ends_each_push(w, 2);
        *state = w;
        if (turns < 15)
            teardown(state);
    }
}

static void it_closes_with_pushes_on_the_wire(void **state) {
    struct world *w = *state;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push_many(w, 0, 5);
    wait_for(w, requests(w) == 6);
    closing_ends_each_push(w, 5);
    each_was(w, 0, 5, APNS_SERVER_ERROR);
}

static void it_closes_while_it_waits_to_dial_again(void **state) {
    struct world *w = *state;
    prove(w);
    relay_cut(&w->relay);
    w->relay.mode = RELAY_HOLD;
    wait_for(w, !apns_credential_ready(w->credential));
    push_many(w, 0, 5);
    closing_ends_each_push(w, 5);
    each_was(w, 0, 5, APNS_NOT_SENT);
}

static void it_closes_while_a_connection_is_given_up(void **state) {
    struct world *w = *state;
    give_up_slowly(w, 3);
    assert_false(apns_credential_ready(w->credential));
    close_apns(w);
    each_was(w, 0, 1, APNS_CREDENTIAL_BAD);
    each_was(w, 1, 2, APNS_SERVER_ERROR);
}

static void a_callback_may_try_to_push_while_it_closes(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    push_many(w, 0, 3);
    apns_close(w->apns, on_flag, &w->apns_closed);
    assert_int_equal(try_push(w, &w->results[3], 3000, &et), E_CLOSED);
    assert_non_null(strstr(et.s, "closed"));
    wait_for(w, w->apns_closed);
    w->apns = NULL;
    assert_int_equal(w->results[3].calls, 0);
}

static void a_drain_ends_when_the_last_answer_is_there(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    bool drained = false;
    push_many(w, 0, 5);
    apns_drain(w->apns, 3000, on_flag, &drained);
    assert_int_equal(try_push(w, &w->results[5], 3000, &et), E_CLOSED);
    wait_for(w, drained);
    each_was(w, 0, 5, APNS_ACCEPTED);
}

static void a_drain_has_a_limit(void **state) {
    struct world *w = *state;
    bool drained = false;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push_many(w, 0, 1);
    apns_drain(w->apns, 50, on_flag, &drained);
    wait_for(w, drained);
    assert_int_equal(w->results[0].calls, 0);
}

static void a_client_without_credentials_closes(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    close_apns(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_closes_before_the_loop_has_run),          OWN(it_closes_at_every_step_of_the_way_up),
        TEST(it_closes_with_pushes_on_the_wire),          TEST(it_closes_while_it_waits_to_dial_again),
        TEST(it_closes_while_a_connection_is_given_up),   TEST(a_callback_may_try_to_push_while_it_closes),
        TEST(a_drain_ends_when_the_last_answer_is_there), TEST(a_drain_has_a_limit),
        OWN(a_client_without_credentials_closes),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
