/* SPDX-License-Identifier: Apache-2.0 */
/* Calls, what is pruned, and the order of answers. */
#include "tests/unit/gateway/store_rows_fixture.h"

#define HOUR_MS 3600000ULL

static void a_call_comes_back_as_it_was_put(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    row.state = "ended";
    row.ended_ms = NOW_MS + 5;
    row.doc = "{\"name\":\"O'Brien \\\"x\\\"; DROP TABLE calls; \xc3\xab\"}";
    row.timeline = "[1]";
    put(w, &row);
    assert_int_equal(get(w, "t1", "c1"), 1);
    assert_string_equal(w->ids[0], "c1");
    assert_string_equal(w->states[0], "ended");
    assert_string_equal(w->docs[0], "t1|nurse-1|{\"name\":\"O'Brien \\\"x\\\"; DROP TABLE calls; \xc3\xab\"}|[1]");
    assert_true(w->created[0] == NOW_MS && w->ended[0] == NOW_MS + 5);
}

static void an_unknown_call_is_no_row_and_no_error(void **state) {
    struct world *w = *state;
    assert_int_equal(get(w, "t1", "c1"), 0);
}

static void a_call_of_another_tenant_is_not_found(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    put(w, &row);
    assert_int_equal(get(w, "t2", "c1"), 0);
    assert_int_equal(get(w, "t1", "c1"), 1);
}

static void a_second_put_replaces(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    put(w, &row);
    row.state = "answered";
    put(w, &row);
    assert_string_equal(list(w, (struct call_query){0}), "c1 ");
    assert_string_equal(w->states[0], "answered");
}

static void a_list_is_of_one_tenant_newest_first(void **state) {
    struct world *w = *state;
    four_calls(w);
    assert_string_equal(list(w, (struct call_query){0}), "d c b a ");
    assert_string_equal(list(w, (struct call_query){.tenant = "t2"}), "other ");
    assert_string_equal(list(w, (struct call_query){.tenant = "t3"}), "");
}

static void a_list_is_filtered_by_state_and_callee(void **state) {
    struct world *w = *state;
    four_calls(w);
    assert_string_equal(list(w, (struct call_query){.state = "ringing"}), "b a ");
    assert_string_equal(list(w, (struct call_query){.callee = "nurse-2"}), "d b ");
    assert_string_equal(list(w, (struct call_query){.state = "ended", .callee = "nurse-2"}), "d ");
    assert_string_equal(list(w, (struct call_query){.state = "active"}), "");
}

static void the_cursor_goes_through_calls_of_one_millisecond(void **state) {
    struct world *w = *state;
    four_calls(w);
    assert_string_equal(list(w, (struct call_query){.limit = 2}), "d c ");
    struct call_query next = {.limit = 2, .before_ms = NOW_MS + 1, .before_id = "c"};
    assert_string_equal(list(w, next), "b a ");
    next.before_ms = NOW_MS;
    next.before_id = "a";
    assert_string_equal(list(w, next), "");
}

static void the_cursor_keeps_the_filter(void **state) {
    struct world *w = *state;
    four_calls(w);
    assert_string_equal(
        list(w, (struct call_query){.callee = "nurse-2", .before_ms = NOW_MS + 2, .before_id = "d", .limit = 5}), "b ");
}

/* Pruning */

static void prune(struct world *w, uint64_t ended_before_ms, uint64_t now_ms) {
    unsigned before = w->done;
    assert_int_equal(store_prune(w->fix.store, ended_before_ms, now_ms, on_done, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
}

static void old_calls_go_with_their_pushes(void **state) {
    struct world *w = *state;
    struct call_row old = call_of("old"), late = call_of("late"), live = call_of("live");
    struct push_row p_old = push_of("p-old", "old", "d1"), p_late = push_of("p-late", "late", "d1"),
                    p_live = push_of("p-live", "live", "d1");
    old.ended_ms = NOW_MS - 1;
    late.ended_ms = NOW_MS;
    live.created_ms = 1; /* however old: it lives */
    p_late.queued_ms++;
    p_live.queued_ms += 2;
    put(w, &old);
    put(w, &late);
    put(w, &live);
    put_push(w, &p_old);
    put_push(w, &p_late);
    put_push(w, &p_live);
    prune(w, NOW_MS, NOW_MS);
    assert_string_equal(list(w, (struct call_query){0}), "late live ");
    assert_string_equal(pushes(w, "t1", NULL, 10), "p-live p-late ");
}

static void keys_live_for_a_day(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    store_call_put(w->fix.store, &row, &key_row, NULL, NULL);
    prune(w, 0, NOW_MS + 24 * HOUR_MS);
    reopen(w);
    assert_int_equal(w->keys, 1);
    prune(w, 0, NOW_MS + 24 * HOUR_MS + 1);
    reopen(w);
    assert_int_equal(w->keys, 0);
}

#define OLD_CALLS (STORE_PRUNE_ROWS * 2 + 300)

static void put_old_calls(struct world *w) {
    char call[16], push[16], key[16];
    unsigned before = w->done;
    for (unsigned i = 0; i < OLD_CALLS; i++) {
        snprintf(call, sizeof call, "c%u", i);
        snprintf(push, sizeof push, "p%u", i);
        snprintf(key, sizeof key, "k%u", i);
        struct call_row row = call_of(call);
        struct push_row p = push_of(push, call, "d1");
        struct idempotency_row idem = key_row;
        row.state = "ended";
        row.ended_ms = NOW_MS - 1 - i % 7;
        idem.key = key;
        idem.call = call;
        store_call_put(w->fix.store, &row, &idem, on_done, w);
        store_push_put(w->fix.store, &p, on_done, w);
    }
    wait_done(w, before + 2 * OLD_CALLS);
    assert_int_equal(w->first_err, 0);
}

static void on_prune_done(int err, void *arg) {
    assert_int_equal(err, 0);
    *(unsigned *)arg = 1;
}

static void pruning_lets_others_through_and_leaves_nothing(void **state) {
    struct world *w = *state;
    struct call_row late = call_of("late");
    unsigned pruned = 0, before;
    put_old_calls(w);
    late.ended_ms = NOW_MS;
    put(w, &late);
    before = w->done;
    assert_int_equal(store_prune(w->fix.store, NOW_MS, NOW_MS + 25 * HOUR_MS, on_prune_done, &pruned), 0);
    store_call_get(w->fix.store, "t1", "late", on_calls, w); /* asked later, and answered between two steps */
    wait_done(w, before + 1);
    assert_int_equal(w->count, 1);
    assert_int_equal(pruned, 0);
    fixture_wait(&w->fix, &pruned, 1);
    assert_string_equal(list(w, (struct call_query){0}), "late ");
    assert_string_equal(pushes(w, "t1", NULL, 10), "");
    reopen(w);
    assert_int_equal(w->keys, 0);
}

static void pruning_does_not_hold_up_the_end(void **state) {
    struct world *w = *state;
    unsigned pruned = 0;
    put_old_calls(w);
    assert_int_equal(store_prune(w->fix.store, NOW_MS, NOW_MS, on_prune_done, &pruned), 0);
    store_sync(w->fix.store);
    assert_int_equal(pruned, 1);
    list(w, (struct call_query){0});
    assert_int_equal(w->count, 200); /* of those that are left: one step was made */
    store_prune(w->fix.store, NOW_MS, NOW_MS, on_prune_done, &pruned);
    reopen(w);
    assert_int_equal(w->keys, OLD_CALLS);
}

static void a_key_of_a_clock_that_was_wrong_goes_too(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    struct idempotency_row future = key_row, old = key_row;
    future.key = "future";
    future.created_ms = NOW_MS + 1000 * HOUR_MS;
    old.key = "old";
    old.created_ms = NOW_MS - 25 * HOUR_MS;
    store_call_put(w->fix.store, &row, &future, NULL, NULL);
    store_call_put(w->fix.store, &row, &old, NULL, NULL);
    store_call_put(w->fix.store, &row, &key_row, NULL, NULL);
    prune(w, 0, NOW_MS);
    reopen(w);
    assert_int_equal(w->keys, 1);
    assert_int_equal(strncmp(w->key_texts, "t1|k1|", 6), 0);
}

/* Order */

struct numbered {
    struct world *w;
    unsigned number;
};

static void in_order(struct numbered *n, int err) {
    assert_int_equal(n->number, n->w->order);
    n->w->order++;
    note(n->w, err);
}

static void on_write_in_order(int err, void *arg) {
    in_order(arg, err);
}

static void on_read_in_order(int err, const struct call_row *rows, size_t count, void *arg) {
    struct numbered *n = arg;
    (void)rows;
    assert_int_equal(count, n->number / 2 + 1); /* every write before this read, and none after it */
    in_order(n, err);
}

static void answers_come_in_the_order_of_the_requests(void **state) {
    struct world *w = *state;
    struct numbered n[60];
    char id[16];
    for (unsigned i = 0; i < sizeof n / sizeof *n; i++) {
        n[i] = (struct numbered){w, i};
        snprintf(id, sizeof id, "c%u", i);
        struct call_row row = call_of(id);
        struct call_query q = {.tenant = "t1", .limit = 200};
        if (i % 2 == 0)
            store_call_put(w->fix.store, &row, NULL, on_write_in_order, &n[i]);
        else
            store_call_list(w->fix.store, &q, on_read_in_order, &n[i]);
    }
    assert_int_equal(w->done, 0); /* never from within the call */
    wait_done(w, sizeof n / sizeof *n);
    assert_int_equal(w->first_err, 0);
}

static void on_done_write_again(int err, void *arg) {
    struct world *w = arg;
    struct call_row row = call_of("second");
    note(w, err);
    store_call_put(w->fix.store, &row, NULL, on_done, w);
}

static void a_callback_may_write(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("first");
    store_call_put(w->fix.store, &row, NULL, on_done_write_again, w);
    wait_done(w, 2);
    assert_int_equal(get(w, "t1", "second"), 1);
}

static void after_sync_nothing_is_outstanding(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("first");
    for (unsigned i = 0; i < 20; i++)
        store_call_put(w->fix.store, &row, NULL, on_done, w);
    store_call_put(w->fix.store, &row, NULL, on_done_write_again, w);
    store_sync(w->fix.store);
    assert_int_equal(w->done, 22);
    store_sync(w->fix.store);
    assert_int_equal(w->done, 22);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(a_call_comes_back_as_it_was_put),
        case_of(an_unknown_call_is_no_row_and_no_error),
        case_of(a_call_of_another_tenant_is_not_found),
        case_of(a_second_put_replaces),
        case_of(a_list_is_of_one_tenant_newest_first),
        case_of(a_list_is_filtered_by_state_and_callee),
        case_of(the_cursor_goes_through_calls_of_one_millisecond),
        case_of(the_cursor_keeps_the_filter),
        case_of(old_calls_go_with_their_pushes),
        case_of(keys_live_for_a_day),
        case_of(pruning_lets_others_through_and_leaves_nothing),
        case_of(pruning_does_not_hold_up_the_end),
        case_of(a_key_of_a_clock_that_was_wrong_goes_too),
        case_of(answers_come_in_the_order_of_the_requests),
        case_of(a_callback_may_write),
        case_of(after_sync_nothing_is_outstanding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
