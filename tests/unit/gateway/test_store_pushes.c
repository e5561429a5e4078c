/* SPDX-License-Identifier: Apache-2.0 */
/* Pushes, and the report about them. */
#include "base/buf.h"
#include "tests/unit/gateway/store_rows_fixture.h"

static void a_push_comes_back_as_it_was_put(void **state) {
    struct world *w = *state;
    struct push_row row = push_of("p1", "c1", "d1");
    row.predicted = true;
    row.observed = 0;
    row.reported = "lck";
    row.report_error = "e";
    row.outcome = "exempt";
    row.status = 410;
    row.reason = "Unregistered";
    row.written_ms = NOW_MS + 1;
    row.answered_ms = NOW_MS + 2;
    row.received_ms = NOW_MS + 3;
    row.reported_ms = NOW_MS + 4;
    row.attached_ms = NOW_MS + 5;
    row.ring_end_ms = NOW_MS + 6;
    row.network = "wifi";
    row.token_hash = "abc";
    put_push(w, &row);
    assert_string_equal(pushes(w, "t1", NULL, 10), "p1 ");
    assert_string_equal(w->push_texts, "p1|c1|d1|t1|vcs|1.2|26.4|asleep|lck|e|exempt|Unregistered|wifi|abc");
    assert_true(w->push.predicted);
    assert_int_equal(w->push.observed, 0);
    assert_int_equal(w->push.status, 410);
    assert_true(w->push.queued_ms == NOW_MS && w->push.written_ms == NOW_MS + 1 && w->push.answered_ms == NOW_MS + 2);
    assert_true(w->push.received_ms == NOW_MS + 3 && w->push.reported_ms == NOW_MS + 4);
    assert_true(w->push.attached_ms == NOW_MS + 5 && w->push.ring_end_ms == NOW_MS + 6);
}

static void an_observation_may_be_null(void **state) {
    struct world *w = *state;
    struct push_row row = push_of("p1", "c1", "d1");
    put_push(w, &row);
    pushes(w, "t1", NULL, 10);
    assert_int_equal(w->push.observed, -1);
    assert_false(w->push.predicted);
}

static void pushes_are_listed_newest_first_by_tenant_and_device(void **state) {
    struct world *w = *state;
    struct push_row p1 = push_of("p1", "c1", "d1"), p2 = push_of("p2", "c1", "d2"), p3 = push_of("p3", "c2", "d1"),
                    other = push_of("p4", "c3", "d1");
    p2.queued_ms++;
    p3.queued_ms += 2;
    other.tenant = "t2";
    put_push(w, &p3);
    put_push(w, &p1);
    put_push(w, &p2);
    put_push(w, &other);
    assert_string_equal(pushes(w, "t1", NULL, 10), "p3 p2 p1 ");
    assert_string_equal(pushes(w, "t1", "d1", 10), "p3 p1 ");
    assert_string_equal(pushes(w, "t1", NULL, 1), "p3 ");
    assert_string_equal(pushes(w, "t2", "d2", 10), "");
}

/* A device whose secret changed, or that was deleted: nobody can prove anything with the tokens of its pushes. */
static void attach_tokens_of_a_device_are_forgotten(void **state) {
    struct world *w = *state;
    const struct {
        const char *id, *tenant, *device, *after;
    } rows[] = {{"p1", "t1", "d1", ""}, {"p2", "t1", "d1", ""}, {"p3", "t1", "d2", "abc"}, {"p4", "t2", "d1", "abc"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct push_row row = push_of(rows[i].id, "c1", rows[i].device);
        row.tenant = rows[i].tenant;
        row.token_hash = "abc";
        put_push(w, &row);
    }
    assert_int_equal(store_device_forget_tokens(w->fix.store, "t1", "d1"), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned before = w->done;
        assert_int_equal(store_push_get(w->fix.store, rows[i].id, on_pushes, w), 0);
        wait_done(w, before + 1);
        assert_int_equal(w->count, 1);
        assert_string_equal(strrchr(w->push_texts, '|') + 1, rows[i].after);
    }
}

/* Two were queued in one millisecond: the cursor's id tells them apart. */
static void pushes_come_in_pages_and_none_twice(void **state) {
    struct world *w = *state;
    struct push_row p1 = push_of("p1", "c1", "d1"), p2 = push_of("p2", "c1", "d1"), p3 = push_of("p3", "c2", "d1");
    struct push_query q = {.tenant = "t1", .device = "d1", .limit = 1};
    p3.queued_ms++;
    put_push(w, &p3);
    put_push(w, &p1);
    put_push(w, &p2);
    assert_string_equal(pushes_by(w, &q), "p3 ");
    q.before_ms = p3.queued_ms;
    q.before_id = "p3";
    assert_string_equal(pushes_by(w, &q), "p2 ");
    q.before_ms = p2.queued_ms;
    q.before_id = "p2";
    assert_string_equal(pushes_by(w, &q), "p1 ");
    q.before_id = "p1";
    assert_string_equal(pushes_by(w, &q), "");
}

static void a_call_has_its_pushes_and_no_others(void **state) {
    struct world *w = *state;
    struct push_row p1 = push_of("p1", "c1", "d1"), p2 = push_of("p2", "c2", "d1");
    unsigned before;
    put_push(w, &p1);
    put_push(w, &p2);
    before = w->done;
    assert_int_equal(store_push_of_call(w->fix.store, "c2", on_pushes, w), 0);
    wait_done(w, before + 1);
    assert_string_equal(ids_in_a_row(w), "p2 ");
}

/* The report */

#define LLU(v) ((unsigned long long)(v))

static void on_report(int err, const struct report_row *rows, size_t count, void *arg) {
    struct world *w = arg;
    struct buf out = {0};
    for (size_t i = 0; i < count; i++) {
        const struct report_row *r = &rows[i];
        buf_addf(&out, "%s|%s|%s|%s n%llu a%llu r%llu t%llu f%llu n%llu ", r->day, r->app, r->app_version,
                 r->os_version, LLU(r->pushes), LLU(r->accepted), LLU(r->receipts), LLU(r->must_report),
                 LLU(r->must_not_report), LLU(r->must_report_absent));
        buf_addf(&out, "%llu/%llu/%llu/%llu/%llu/%llu p%llu %lld %lld %lld;", LLU(r->reported), LLU(r->exempt),
                 LLU(r->violated), LLU(r->late), LLU(r->silent), LLU(r->filtered), LLU(r->predicted_right),
                 (long long)r->p50_ms, (long long)r->p95_ms, (long long)r->p99_ms);
    }
    w->count = count;
    snprintf(w->push_texts, sizeof w->push_texts, "%s", out.p ? out.p : "");
    buf_free(&out);
    note(w, err);
}

static const char *report(struct world *w, struct report_query q) {
    unsigned before = w->done;
    q.tenant = "t1";
    q.to_ms = q.to_ms ? q.to_ms : INT64_MAX;
    q.limit = 10;
    assert_int_equal(store_push_report(w->fix.store, &q, on_report, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
    return w->push_texts;
}

/* 100 received after 1 to 100 ms by app 1.2, and one silent; a day later one of app 1.3, that need not report and was
 * expected to; one of another tenant. */
static void many_pushes(struct world *w) {
    char id[16];
    for (unsigned i = 0; i < 103; i++) {
        bool exempt = i == 101, seen = i < 100 || exempt;
        snprintf(id, sizeof id, "p%u", i);
        struct push_row row = push_of(id, "c1", i % 2 ? "d1" : "d2");
        row.status = 200;
        row.predicted = true;
        row.written_ms = NOW_MS + 1;
        row.receipt_ms = seen ? row.written_ms + 1 + i % 100 : 0;
        row.observed = exempt ? 0 : i < 40 ? -1 : 1;
        row.outcome = exempt ? "exempt" : seen ? "reported" : "silent";
        row.app_version = exempt ? "1.3" : "1.2";
        row.tenant = i == 102 ? "t2" : "t1";
        row.queued_ms = NOW_MS + (exempt ? 86400000 : 0);
        put_push(w, &row);
    }
}

static void the_report_counts_by_group(void **state) {
    struct world *w = *state;
    many_pushes(w);
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_APP}),
                        "|vcs|| n102 a102 r101 t60 f1 n40 100/1/0/0/1/0 p60 50 95 99;");
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_DAY | STORE_BY_APP_VERSION}),
                        "2026-09-22||1.3| n1 a1 r1 t0 f1 n0 0/1/0/0/0/0 p0 2 2 2;"
                        "2026-09-21||1.2| n101 a101 r100 t60 f0 n40 100/0/0/0/1/0 p60 50 95 99;");
}

static void the_report_can_be_about_a_part(void **state) {
    static const char late[] = "|||26.4 n1 a1 r1 t0 f1 n0 0/1/0/0/0/0 p0 2 2 2;";
    struct world *w = *state;
    many_pushes(w);
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_OS_VERSION, .app_version = "1.3"}), late);
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_OS_VERSION, .from_ms = NOW_MS + 1}), late);
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_APP, .to_ms = NOW_MS}), "");
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_APP, .device = "d3"}), "");
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_APP, .app = "other"}), "");
    report(w, (struct report_query){.groups = STORE_BY_APP, .device = "d1"});
    assert_int_equal(w->count, 1);
}

static void networks_are_apart_and_alerts_do_not_count(void **state) {
    struct world *w = *state;
    struct push_row row = push_of("p1", "c1", "d1");
    row.network = "wifi";
    put_push(w, &row);
    row.id = "p2";
    row.network = "cellular";
    put_push(w, &row);
    row.id = "p3";
    row.predicted_why = "alert";
    put_push(w, &row);
    report(w, (struct report_query){.groups = STORE_BY_NETWORK});
    assert_int_equal(w->count, 2);
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_APP, .network = "cellular"}),
                        "|vcs|| n1 a0 r0 t0 f0 n0 0/0/0/0/0/0 p0 -1 -1 -1;");
}

static void the_recent_pushes_are_those_of_the_token_and_no_alerts(void **state) {
    struct world *w = *state;
    struct push_row row = push_of("p1", "c1", "d1");
    put_push(w, &row);
    row.id = "p2";
    row.queued_ms = NOW_MS + 2;
    put_push(w, &row);
    row.id = "p3";
    row.predicted_why = "alert";
    put_push(w, &row);
    unsigned before = w->done;
    assert_int_equal(store_push_recent(w->fix.store, "t1", "d1", NOW_MS + 1, 16, on_pushes, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->count, 1);
    assert_string_equal(w->ids[0], "p2");
    assert_int_equal(store_push_get(w->fix.store, "p3", on_pushes, w), 0);
    wait_done(w, before + 2);
    assert_string_equal(w->ids[0], "p3");
    assert_int_equal(store_push_get(w->fix.store, "p4", on_pushes, w), 0);
    wait_done(w, before + 3);
    assert_int_equal(w->count, 0);
}

static void without_a_receipt_there_is_no_percentile(void **state) {
    struct world *w = *state;
    struct push_row row = push_of("p1", "c1", "d1");
    row.outcome = "silent";
    put_push(w, &row);
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_APP}),
                        "|vcs|| n1 a0 r0 t0 f0 n0 0/0/0/0/1/0 p0 -1 -1 -1;");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(a_push_comes_back_as_it_was_put),
        case_of(an_observation_may_be_null),
        case_of(pushes_are_listed_newest_first_by_tenant_and_device),
        case_of(attach_tokens_of_a_device_are_forgotten),
        case_of(pushes_come_in_pages_and_none_twice),
        case_of(a_call_has_its_pushes_and_no_others),
        case_of(the_report_counts_by_group),
        case_of(the_report_can_be_about_a_part),
        case_of(networks_are_apart_and_alerts_do_not_count),
        case_of(the_recent_pushes_are_those_of_the_token_and_no_alerts),
        case_of(without_a_receipt_there_is_no_percentile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
