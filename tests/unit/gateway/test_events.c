/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/event_streams.h"
#include "gateway/events.h"
#include "gateway/webhooks.h"
#include "tests/unit/gateway/store_fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>

#define LARGE_BYTES      300000 /* more than the disk of fixture_disk_full has room for */
#define DISK_BYTES       131072
#define SMALL_ROOM_BYTES 100000 /* for many small rows, and not for a large one */
#define BATCH            512    /* requests in one transaction of the store */
#define DAY_MS           86400000ULL

struct world {
    struct store_fixture fix;
    struct metrics *metrics;
    struct events *events;
    unsigned done, answers; /* callbacks of writes, and of reads */
    unsigned good;          /* writes that were done */
    int err;                /* of the last write */
    char heard[1024];       /* what the last read had: "type data;" for each row */
    uint64_t first, last;   /* its ids */
};

static void start(struct world *w) {
    struct err_text et = {""};
    fixture_open(&w->fix);
    if (events_new(&w->events, &w->fix.loop, w->fix.store, w->metrics, &et) != 0)
        fail_msg("%s", et.s);
}

static void stop(struct world *w) {
    events_close(w->events);
    fixture_close(&w->fix);
    w->events = events_free(w->events);
}

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    if (!w || fixture_init(&w->fix) != 0 || metrics_new(&w->metrics) != 0)
        return -1;
    start(w);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    if (w->events)
        stop(w);
    int err = fixture_free(&w->fix);
    metrics_free(w->metrics);
    free(w);
    return err;
}

static void on_done(int err, void *arg) {
    struct world *w = arg;
    w->done++;
    w->err = err;
    w->good += err == 0;
}

static void on_events(int err, const struct event_row *rows, size_t count, void *arg) {
    struct world *w = arg;
    size_t at = 0;
    assert_int_equal(err, 0);
    w->answers++;
    w->heard[0] = 0;
    w->first = count ? rows[0].id : 0;
    w->last = count ? rows[count - 1].id : 0;
    for (size_t i = 0; i < count && at < sizeof w->heard; i++) {
        assert_true(i == 0 || rows[i].id > rows[i - 1].id);
        at += (size_t)snprintf(w->heard + at, sizeof w->heard - at, "%s %s;", rows[i].type, rows[i].data);
    }
}

static const char *list(struct world *w, const char *tenant, uint64_t after, unsigned limit) {
    unsigned before = w->answers;
    assert_int_equal(store_event_list(w->fix.store, tenant, after, limit, on_events, w), 0);
    fixture_wait(&w->fix, &w->answers, before + 1);
    return w->heard;
}

static void add(struct world *w, enum event_type type, int n) {
    events_add(w->events, type, "t1", json_pack("{s:i}", "n", n));
}

static void put_small(struct world *w) {
    const struct sealed_row row = {"name", "value", 1};
    assert_int_equal(store_sealed_put(w->fix.store, &row, on_done, w), 0);
}

static void put_large(struct world *w) {
    static char doc[LARGE_BYTES];
    struct call_row row = {.id = "c", .tenant = "t", .callee = "c", .state = "ended", .doc = doc, .timeline = "[]"};
    memset(doc, 'x', sizeof doc - 1);
    assert_int_equal(store_call_put(w->fix.store, &row, NULL, on_done, w), 0);
}

static void an_event_is_stored_with_or_without_a_write_that_follows(void **state) {
    struct world *w = *state;
    add(w, EVENT_CALL_RINGING, 1);
    add(w, EVENT_RECEIPT, 2);
    put_small(w);
    fixture_wait(&w->fix, &w->done, 1);
    assert_string_equal(list(w, "t1", 0, 10), "call.ringing {\"n\":1};receipt {\"n\":2};");
    add(w, EVENT_DEVICE_DELETED, 3);
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    assert_string_equal(list(w, "t1", w->last, 10), "device.deleted {\"n\":3};");
    assert_int_equal(w->last, events_last_id(w->events));
}

static void a_list_is_one_tenants_and_has_a_limit(void **state) {
    struct world *w = *state;
    for (int n = 0; n < 5; n++) {
        add(w, EVENT_RECEIPT, n);
        events_add(w->events, EVENT_RECEIPT, "t2", json_object());
    }
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    assert_string_equal(list(w, "t1", 0, 2), "receipt {\"n\":0};receipt {\"n\":1};");
    assert_string_equal(list(w, "t1", w->last, 2), "receipt {\"n\":2};receipt {\"n\":3};");
    assert_string_equal(list(w, "t1", w->last, 2), "receipt {\"n\":4};");
    assert_string_equal(list(w, "t3", 0, 2), "");
}

/* The database is locked while the thread is given one transaction's worth and one more: between the event and its
 * write. */
static void an_event_is_in_the_transaction_of_what_it_tells_about(void **state) {
    struct world *w = *state;
    sqlite3 *other = NULL;
    struct stat log;
    char name[128];
    snprintf(name, sizeof name, "%s-wal", w->fix.path);
    assert_int_equal(stat(name, &log), 0);
    assert_int_equal(sqlite3_open(w->fix.path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    put_small(w);
    usleep(100000); /* the thread has it, and waits */
    for (int i = 0; i < BATCH - 1; i++)
        put_small(w);
    add(w, EVENT_DEVICE_DELETED, 1);
    put_large(w);
    fixture_disk_full(&w->fix, (rlim_t)log.st_size + SMALL_ROOM_BYTES);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    fixture_wait(&w->fix, &w->done, BATCH + 1);
    fixture_disk_has_room(&w->fix);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_true(w->good == 1); /* there was room for the small ones */
    assert_int_not_equal(w->err, 0);
    assert_string_equal(list(w, "t1", 0, 10), "");
}

static void what_stands_is_stored_when_there_is_room_again_and_in_order(void **state) {
    struct world *w = *state;
    fixture_disk_full(&w->fix, DISK_BYTES);
    add(w, EVENT_CALL_RINGING, 1); /* the call is refused, and so is this */
    add(w, EVENT_CALL_ANSWERED, 2);
    put_large(w);
    fixture_wait(&w->fix, &w->done, 1);
    assert_int_not_equal(w->err, 0);
    add(w, EVENT_CALL_ENDED, 3);
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    assert_string_equal(list(w, "t1", 0, 10), "");
    fixture_disk_has_room(&w->fix);
    uint64_t until = clock_mono_ms() + FIXTURE_WAIT_MS;
    while (!*list(w, "t1", 0, 10) && clock_mono_ms() < until)
        usleep(20000);
    assert_string_equal(w->heard, "call.answered {\"n\":2};call.ended {\"n\":3};");
    assert_true(w->first > 2); /* an id that was given away in vain does not come back */
}

static void what_stands_is_stored_at_the_end_at_the_latest(void **state) {
    struct world *w = *state;
    fixture_disk_full(&w->fix, DISK_BYTES);
    add(w, EVENT_CALL_ENDED, 1);
    put_large(w);
    fixture_wait(&w->fix, &w->done, 1);
    fixture_disk_has_room(&w->fix);
    while (!store_ok(w->fix.store))
        usleep(20000);
    stop(w);
    start(w);
    assert_string_equal(list(w, "t1", 0, 10), "call.ended {\"n\":1};");
}

static void ids_go_on_after_a_restart_also_where_all_rows_were_pruned(void **state) {
    struct world *w = *state;
    struct store_event_state before, after;
    struct err_text et = {""};
    for (int n = 0; n < 3; n++)
        add(w, EVENT_RECEIPT, n);
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    list(w, "t1", 0, 10);
    uint64_t last = w->last;
    stop(w);
    start(w);
    assert_int_equal(store_event_state(w->fix.store, &before, &et), 0);
    assert_int_equal(before.last, last);
    assert_int_equal(before.first, last - 2);
    store_prune(w->fix.store, clock_wall_ms() + DAY_MS, clock_wall_ms(), on_done, w);
    fixture_wait(&w->fix, &w->done, 1);
    stop(w);
    start(w);
    assert_int_equal(store_event_state(w->fix.store, &after, &et), 0);
    assert_int_equal(after.last, last);
    assert_int_equal(after.first, last + 1);
    assert_int_equal(strlen(after.source), 12);
    assert_string_equal(after.source, before.source);
    add(w, EVENT_RECEIPT, 4);
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    list(w, "t1", 0, 10);
    assert_int_equal(w->first, last + 1);
}

static void on_deliveries(int err, const struct delivery_row *rows, size_t count, void *arg) {
    struct world *w = arg;
    assert_int_equal(err, 0);
    w->answers++;
    snprintf(w->heard, sizeof w->heard, "%zu", count);
    for (size_t i = 0; i < count; i++) {
        size_t at = strlen(w->heard);
        snprintf(w->heard + at, sizeof w->heard - at, " %llu:%s %s %u %d %s", (unsigned long long)rows[i].id,
                 rows[i].webhook, rows[i].event.data, rows[i].attempts, rows[i].status, rows[i].detail);
    }
}

static const char *due(struct world *w, uint64_t now_ms) {
    unsigned before = w->answers;
    assert_int_equal(store_delivery_due(w->fix.store, "h", now_ms, 10, on_deliveries, w), 0);
    fixture_wait(&w->fix, &w->answers, before + 1);
    return w->heard;
}

static const char *dead(struct world *w) {
    unsigned before = w->answers;
    assert_int_equal(store_dead_list(w->fix.store, "t1", 0, 0, 10, on_deliveries, w), 0);
    fixture_wait(&w->fix, &w->answers, before + 1);
    return w->heard;
}

static void prune(struct world *w, uint64_t now_ms) {
    unsigned before = w->done;
    store_prune(w->fix.store, now_ms, now_ms, on_done, w);
    fixture_wait(&w->fix, &w->done, before + 1);
    assert_int_equal(w->err, 0);
}

static void an_event_stays_for_as_long_as_a_webhook_waits_for_it(void **state) {
    struct world *w = *state;
    uint64_t now_ms = clock_wall_ms();
    add(w, EVENT_RECEIPT, 1);
    add(w, EVENT_RECEIPT, 2);
    store_delivery_put(w->fix.store, "h", events_last_id(w->events), now_ms, on_done, w);
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    fixture_wait(&w->fix, &w->done, 1);
    prune(w, now_ms + DAY_MS);
    assert_string_equal(list(w, "t1", 0, 10), "receipt {\"n\":2};");
    assert_string_equal(due(w, now_ms - 1), "0");
    assert_string_equal(due(w, now_ms), "1 1:h {\"n\":2} 0 0 ");
    const struct delivery_row failed = {.id = 1, .attempts = 1, .tried_ms = now_ms, .status = 500, .detail = "so"};
    store_delivery_failed(w->fix.store, &failed, false, now_ms + 5000, NULL, NULL);
    assert_string_equal(due(w, now_ms + 4999), "0");
    assert_string_equal(due(w, now_ms + 5000), "1 1:h {\"n\":2} 1 500 so");
    store_delivery_failed(w->fix.store, &failed, true, 0, NULL, NULL);
    assert_string_equal(due(w, now_ms + DAY_MS), "0");
    assert_string_equal(dead(w), "1 1:h {\"n\":2} 1 500 so");
    store_dead_retry(w->fix.store, 1, now_ms, NULL, NULL);
    assert_string_equal(dead(w), "0");
    assert_string_equal(due(w, now_ms), "1 1:h {\"n\":2} 0 500 so");
    store_delivery_done(w->fix.store, 1, NULL, NULL);
    assert_string_equal(due(w, now_ms), "0");
    prune(w, now_ms + DAY_MS);
    assert_string_equal(list(w, "t1", 0, 10), "");
}

static void a_delivery_does_not_wait_for_ever(void **state) {
    struct world *w = *state;
    uint64_t now_ms = clock_wall_ms();
    add(w, EVENT_RECEIPT, 1);
    store_delivery_put(w->fix.store, "h", events_last_id(w->events), now_ms, on_done, w);
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    prune(w, now_ms + STORE_DELIVERY_KEEP_MS);
    assert_string_equal(due(w, now_ms), "1 1:h {\"n\":1} 0 0 ");
    prune(w, now_ms + STORE_DELIVERY_KEEP_MS + 1);
    assert_string_equal(due(w, now_ms), "0");
    assert_string_equal(list(w, "t1", 0, 10), "");
}

static void an_event_is_one_line_of_json(void **state) {
    const struct event_row row = {7, "t1", "receipt", 1790000000123, "{\"a\":\"b\"}"};
    struct buf out = {0};
    (void)state;
    event_write(&out, &row);
    assert_string_equal(out.p, "{\"id\":7,\"type\":\"receipt\",\"timestamp\":\"2026-09-21T14:13:20.123Z\",\"data\":"
                               "{\"a\":\"b\"}}");
    buf_free(&out);
}

static void patterns_and_scopes_choose_types(void **state) {
    unsigned every = (1U << EVENT_TYPES) - 1, calls = event_types_of_scopes(CONFIG_SCOPE_CALLS);
    (void)state;
    assert_int_equal(event_types_matching("*"), every);
    assert_int_equal(event_types_matching("receipt"), 1U << EVENT_RECEIPT);
    assert_int_equal(event_types_matching("call.a*"), 1U << EVENT_CALL_ANSWERED | 1U << EVENT_CALL_ACTIVE);
    assert_int_equal(event_types_matching("calls"), 0);
    assert_int_equal(event_types_matching(""), 0);
    assert_int_equal(calls, event_types_matching("call.*") | event_types_matching("push.*") | 1U << EVENT_RECEIPT);
    assert_int_equal(event_types_of_scopes(CONFIG_SCOPE_DEVICES), event_types_matching("device.*"));
    assert_int_equal(event_types_of_scopes(CONFIG_SCOPE_ADMIN), 0);
    assert_int_equal(event_types_of_scopes(CONFIG_SCOPE_CALLS | CONFIG_SCOPE_DEVICES), every);
    for (int t = 0; t < EVENT_TYPES; t++)
        assert_int_equal(event_type_by_name(event_type_name((enum event_type)t)), t);
    assert_int_equal(event_type_by_name("call.rung"), EVENT_TYPES);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(an_event_is_stored_with_or_without_a_write_that_follows),
        case_of(a_list_is_one_tenants_and_has_a_limit),
        case_of(an_event_is_in_the_transaction_of_what_it_tells_about),
        case_of(what_stands_is_stored_when_there_is_room_again_and_in_order),
        case_of(what_stands_is_stored_at_the_end_at_the_latest),
        case_of(ids_go_on_after_a_restart_also_where_all_rows_were_pruned),
        case_of(an_event_stays_for_as_long_as_a_webhook_waits_for_it),
        case_of(a_delivery_does_not_wait_for_ever),
        cmocka_unit_test(an_event_is_one_line_of_json),
        cmocka_unit_test(patterns_and_scopes_choose_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
