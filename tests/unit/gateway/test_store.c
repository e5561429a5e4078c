/* SPDX-License-Identifier: Apache-2.0 */
/* A real SQLite file and the real thread behind it. */
#include "tests/unit/gateway/store_fixture.h"

#include "base/buf.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HOUR_MS     3600000ULL
#define NOW_MS      1790000000000ULL
#define ROWS_MAX    256
#define ID_BYTES    40
#define MANY        1500   /* several transactions */
#define LARGE_BYTES 300000 /* more than the disk of fixture_disk_full has room for */
#define DISK_BYTES  131072

struct world {
    struct store_fixture fix;
    unsigned done;  /* callbacks that came */
    int err;        /* of the last one */
    int first_err;  /* of the first one that was not 0 */
    unsigned order; /* the number that the next callback must have */
    size_t count;   /* rows of the last read, and what was in them: */
    char ids[ROWS_MAX][ID_BYTES], states[ROWS_MAX][16], docs[ROWS_MAX][128];
    uint64_t created[ROWS_MAX], ended[ROWS_MAX];
    struct push_row push; /* the first push; its texts are gone */
    char push_texts[512];
    /* from store_load */
    unsigned devices, calls, pushes, keys;
    struct device device;
    char key_texts[256];
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    if (!w || fixture_init(&w->fix) != 0)
        return -1;
    fixture_open(&w->fix);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    int err = fixture_free(&w->fix);
    free(w);
    return err;
}

static void note(struct world *w, int err) {
    w->done++;
    w->err = err;
    if (err != 0 && w->first_err == 0)
        w->first_err = err;
}

static void on_done(int err, void *arg) {
    note(arg, err);
}

static void on_calls(int err, const struct call_row *rows, size_t count, void *arg) {
    struct world *w = arg;
    assert_true(count <= ROWS_MAX);
    w->count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(w->ids[i], sizeof w->ids[i], "%s", rows[i].id);
        snprintf(w->states[i], sizeof w->states[i], "%s", rows[i].state);
        snprintf(w->docs[i], sizeof w->docs[i], "%s|%s|%s|%s", rows[i].tenant, rows[i].callee, rows[i].doc,
                 rows[i].timeline);
        w->created[i] = rows[i].created_ms;
        w->ended[i] = rows[i].ended_ms;
    }
    note(w, err);
}

static void keep_push(struct world *w, const struct push_row *r) {
    w->push = *r;
    snprintf(w->push_texts, sizeof w->push_texts, "%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s", r->id, r->call, r->device,
             r->tenant, r->app, r->app_version, r->os_version, r->predicted_why, r->reported, r->report_error,
             r->outcome, r->reason);
}

static void on_pushes(int err, const struct push_row *rows, size_t count, void *arg) {
    struct world *w = arg;
    assert_true(count <= ROWS_MAX);
    w->count = count;
    for (size_t i = 0; i < count; i++)
        snprintf(w->ids[i], sizeof w->ids[i], "%s", rows[i].id);
    if (count)
        keep_push(w, &rows[0]);
    note(w, err);
}

static void wait_done(struct world *w, unsigned n) {
    fixture_wait(&w->fix, &w->done, n);
}

static struct call_row call_of(const char *id) {
    return (struct call_row){.id = id,
                             .tenant = "t1",
                             .callee = "nurse-1",
                             .state = "ringing",
                             .created_ms = NOW_MS,
                             .doc = "{}",
                             .timeline = "[]"};
}

static void put(struct world *w, const struct call_row *row) {
    unsigned before = w->done;
    assert_int_equal(store_call_put(w->fix.store, row, NULL, on_done, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
}

static size_t get(struct world *w, const char *tenant, const char *id) {
    unsigned before = w->done;
    assert_int_equal(store_call_get(w->fix.store, tenant, id, on_calls, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
    return w->count;
}

/* The ids of a list, with a space behind each. */
static const char *list(struct world *w, struct call_query q) {
    static char out[2048];
    unsigned before = w->done;
    if (!q.limit)
        q.limit = 200;
    if (!q.tenant)
        q.tenant = "t1";
    assert_int_equal(store_call_list(w->fix.store, &q, on_calls, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
    out[0] = 0;
    for (size_t i = 0; i < w->count; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s ", w->ids[i]);
    return out;
}

/* What a restart finds */

static void load_device(const struct device *dev, void *arg) {
    struct world *w = arg;
    w->devices++;
    w->device = *dev;
}

static void load_call(const struct call_row *row, void *arg) {
    struct world *w = arg;
    snprintf(w->ids[w->calls++], sizeof w->ids[0], "%s", row->id);
}

static void load_push(const struct push_row *row, void *arg) {
    struct world *w = arg;
    w->pushes++;
    keep_push(w, row);
}

static void load_key(const struct idempotency_row *row, void *arg) {
    struct world *w = arg;
    w->keys++;
    snprintf(w->key_texts, sizeof w->key_texts, "%s|%s|%s|%s|%s|%llu", row->tenant, row->key, row->body_hash, row->call,
             row->response, (unsigned long long)row->created_ms);
}

static void load_sealed(const struct sealed_row *row, void *arg) {
    struct world *w = arg;
    snprintf(w->key_texts, sizeof w->key_texts, "%s|%s|%llu", row->name, row->value,
             (unsigned long long)row->updated_ms);
}

static const struct store_load_ops load_ops = {load_device, load_call, load_push, load_key, load_sealed};

static void reopen(struct world *w) {
    struct err_text et = {""};
    w->devices = w->calls = w->pushes = w->keys = 0;
    fixture_close(&w->fix);
    fixture_open(&w->fix);
    if (store_load(w->fix.store, &load_ops, w, &et) != 0)
        fail_msg("%s", et.s);
}

/* Calls */

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

static void four_calls(struct world *w) {
    struct call_row a = call_of("a"), b = call_of("b"), c = call_of("c"), d = call_of("d");
    b.callee = d.callee = "nurse-2";
    c.state = d.state = "ended";
    b.created_ms++;
    c.created_ms++;
    d.created_ms += 2;
    put(w, &a);
    put(w, &d);
    put(w, &b);
    put(w, &c);
    a.id = "other";
    a.tenant = "t2";
    put(w, &a);
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

/* Pushes and devices */

static struct push_row push_of(const char *id, const char *call, const char *device) {
    return (struct push_row){.id = id,
                             .call = call,
                             .device = device,
                             .tenant = "t1",
                             .app = "vcs",
                             .app_version = "1.2",
                             .os_version = "26.4",
                             .predicted_why = "asleep",
                             .observed = -1,
                             .reported = "",
                             .report_error = "",
                             .outcome = "",
                             .reason = "",
                             .queued_ms = NOW_MS};
}

static void put_push(struct world *w, const struct push_row *row) {
    unsigned before = w->done;
    assert_int_equal(store_push_put(w->fix.store, row, on_done, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
}

static const char *pushes(struct world *w, const char *tenant, const char *device, unsigned limit) {
    static char out[512];
    unsigned before = w->done;
    assert_int_equal(store_push_list(w->fix.store, tenant, device, limit, on_pushes, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
    out[0] = 0;
    for (size_t i = 0; i < w->count; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s ", w->ids[i]);
    return out;
}

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
    put_push(w, &row);
    assert_string_equal(pushes(w, "t1", NULL, 10), "p1 ");
    assert_string_equal(w->push_texts, "p1|c1|d1|t1|vcs|1.2|26.4|asleep|lck|e|exempt|Unregistered");
    assert_true(w->push.predicted);
    assert_int_equal(w->push.observed, 0);
    assert_int_equal(w->push.status, 410);
    assert_true(w->push.queued_ms == NOW_MS && w->push.written_ms == NOW_MS + 1 && w->push.answered_ms == NOW_MS + 2);
    assert_true(w->push.received_ms == NOW_MS + 3 && w->push.reported_ms == NOW_MS + 4);
    assert_true(w->push.attached_ms == NOW_MS + 5);
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

static struct device phone(void) {
    struct device d = {.id = "d1",
                       .tenant = "t1",
                       .user = "nurse-1",
                       .app = "vcs",
                       .token = "00ff",
                       .sandbox = true,
                       .ui = DEVICE_UI_ALERT,
                       .handoff = {MEDIA_MODE_DTLS, MEDIA_MODE_TRANSFER, MEDIA_MODE_SEALED, MEDIA_MODE_SDES},
                       .handoff_count = 4,
                       .has_sealing_key = true,
                       .app_version = "1.2",
                       .os_version = "26.4",
                       .secret_hash = "abc",
                       .health = DEVICE_SUSPECT,
                       .health_reason = "it's late",
                       .created_ms = 1,
                       .updated_ms = 2,
                       .token_updated_ms = 3};
    memset(d.sealing_key, 0xa5, sizeof d.sealing_key);
    return d;
}

static void a_device_comes_back_after_a_restart(void **state) {
    struct world *w = *state;
    struct device d = phone();
    store_device_put(w->fix.store, &d, on_done, w);
    reopen(w);
    assert_int_equal(w->devices, 1);
    const struct device *got = &w->device;
    assert_string_equal(got->id, "d1");
    assert_string_equal(got->tenant, "t1");
    assert_string_equal(got->user, "nurse-1");
    assert_string_equal(got->app, "vcs");
    assert_string_equal(got->token, "00ff");
    assert_true(got->sandbox);
    assert_int_equal(got->ui, DEVICE_UI_ALERT);
    assert_int_equal(got->handoff_count, 4);
    assert_memory_equal(got->handoff, d.handoff, sizeof d.handoff);
    assert_true(got->has_sealing_key);
    assert_memory_equal(got->sealing_key, d.sealing_key, sizeof d.sealing_key);
    assert_string_equal(got->app_version, "1.2");
    assert_string_equal(got->os_version, "26.4");
    assert_string_equal(got->secret_hash, "abc");
    assert_int_equal(got->health, DEVICE_SUSPECT);
    assert_string_equal(got->health_reason, "it's late");
    assert_true(got->created_ms == 1 && got->updated_ms == 2 && got->token_updated_ms == 3);
}

static void a_device_without_a_sealing_key_comes_back_without_one(void **state) {
    struct world *w = *state;
    struct device d = phone();
    d.has_sealing_key = false;
    d.handoff_count = 0;
    store_device_put(w->fix.store, &d, NULL, NULL);
    reopen(w);
    assert_false(w->device.has_sealing_key);
    assert_int_equal(w->device.handoff_count, 0);
}

static void a_deleted_device_stays_away_and_the_other_tenants_stays(void **state) {
    struct world *w = *state;
    struct device d = phone();
    store_device_put(w->fix.store, &d, NULL, NULL);
    snprintf(d.tenant, sizeof d.tenant, "t2");
    store_device_put(w->fix.store, &d, NULL, NULL);
    store_device_delete(w->fix.store, "t1", "d1", on_done, w);
    wait_done(w, 1);
    reopen(w);
    assert_int_equal(w->devices, 1);
    assert_string_equal(w->device.tenant, "t2");
}

/* What a restart needs */

static void only_calls_that_did_not_end_are_loaded(void **state) {
    struct world *w = *state;
    four_calls(w);
    reopen(w);
    assert_int_equal(w->calls, 3);
    for (unsigned i = 0; i < w->calls; i++)
        assert_true(strcmp(w->ids[i], "c") != 0 && strcmp(w->ids[i], "d") != 0);
}

static void only_accepted_pushes_without_an_outcome_are_loaded(void **state) {
    struct world *w = *state;
    struct push_row open = push_of("open", "c1", "d1"), decided = push_of("decided", "c1", "d2"),
                    refused = push_of("refused", "c1", "d3"), unanswered = push_of("unanswered", "c1", "d4");
    open.status = decided.status = 200;
    decided.outcome = "reported";
    refused.status = 400;
    put_push(w, &open);
    put_push(w, &decided);
    put_push(w, &refused);
    put_push(w, &unanswered);
    reopen(w);
    assert_int_equal(w->pushes, 1);
    assert_string_equal(w->push_texts, "open|c1|d1|t1|vcs|1.2|26.4|asleep||||");
}

static const struct idempotency_row key_row = {"t1", "k1", "hash", "c1", "{\"id\":\"c1\"}", NOW_MS};

static void an_idempotency_key_is_stored_with_its_call(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    store_call_put(w->fix.store, &row, &key_row, on_done, w);
    wait_done(w, 1);
    assert_int_equal(w->err, 0);
    reopen(w);
    assert_int_equal(w->keys, 1);
    assert_string_equal(w->key_texts, "t1|k1|hash|c1|{\"id\":\"c1\"}|1790000000000");
    assert_int_equal(w->calls, 1);
}

static void a_key_belongs_to_its_tenant(void **state) {
    struct world *w = *state;
    struct idempotency_row other = key_row;
    struct call_row row = call_of("c1");
    other.tenant = "t2";
    store_call_put(w->fix.store, &row, &key_row, NULL, NULL);
    store_call_put(w->fix.store, &row, &other, NULL, NULL);
    store_call_put(w->fix.store, &row, &other, NULL, NULL);
    reopen(w);
    assert_int_equal(w->keys, 2);
}

static void nothing_is_loaded_from_a_new_database(void **state) {
    struct world *w = *state;
    reopen(w);
    assert_int_equal(w->devices + w->calls + w->pushes + w->keys, 0);
}

static void submit_while_loading(const struct device *dev, void *arg) {
    struct world *w = arg;
    struct call_row row = call_of("from-load");
    (void)dev;
    store_call_put(w->fix.store, &row, NULL, on_done, w);
}

static void a_loading_callback_may_write(void **state) {
    static const struct store_load_ops ops = {submit_while_loading, load_call, load_push, load_key, load_sealed};
    struct world *w = *state;
    struct device d = phone();
    struct err_text et = {""};
    store_device_put(w->fix.store, &d, NULL, NULL);
    fixture_close(&w->fix);
    fixture_open(&w->fix);
    assert_int_equal(store_load(w->fix.store, &ops, w, &et), 0);
    wait_done(w, 1);
    assert_int_equal(get(w, "t1", "from-load"), 1);
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

/* Order and durability */

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

static void nothing_is_lost_when_it_closes_at_once(void **state) {
    struct world *w = *state;
    char id[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "c%04u", i);
        struct call_row row = call_of(id);
        row.state = i % 100 ? "ended" : "ringing";
        assert_int_equal(store_call_put(w->fix.store, &row, NULL, on_done, w), 0);
    }
    fixture_close(&w->fix);
    assert_int_equal(w->done, MANY);
    assert_int_equal(w->first_err, 0);
    fixture_open(&w->fix);
    for (unsigned i = 0; i < MANY; i += 7) {
        snprintf(id, sizeof id, "c%04u", i);
        assert_int_equal(get(w, "t1", id), 1);
    }
    list(w, (struct call_query){.state = "ringing"});
    assert_int_equal(w->count, MANY / 100);
}

static void die_after_the_answer(struct store_fixture *f) {
    struct world child = {.fix = *f};
    struct call_row row = call_of("c1");
    struct err_text et = {""};
    if (uv_loop_init(&child.fix.loop) != 0 || store_open(&child.fix.store, &child.fix.loop, f->url, &et) != 0)
        _exit(1);
    store_call_put(child.fix.store, &row, &key_row, on_done, &child);
    while (child.done == 0)
        uv_run(&child.fix.loop, UV_RUN_ONCE);
    kill(getpid(), child.err == 0 ? SIGKILL : SIGTERM);
}

static void what_was_told_survives_the_end_of_the_process(void **state) {
    struct world *w = *state;
    int status = 0;
    fixture_close(&w->fix);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        die_after_the_answer(&w->fix);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fixture_open(&w->fix);
    struct err_text et = {""};
    assert_int_equal(store_load(w->fix.store, &load_ops, w, &et), 0);
    assert_int_equal(w->calls, 1);
    assert_int_equal(w->keys, 1);
}

static const char *large_doc(void) {
    static char doc[LARGE_BYTES];
    memset(doc, 'x', sizeof doc - 1);
    return doc;
}

/* A write that the disk has no room for; there is room again afterwards. */
static void refused_write(struct world *w) {
    struct call_row large = call_of("large");
    unsigned before = w->done;
    large.doc = large_doc();
    fixture_disk_full(&w->fix, DISK_BYTES);
    store_call_put(w->fix.store, &large, NULL, on_done, w);
    wait_done(w, before + 1);
    fixture_disk_has_room(&w->fix);
    assert_true(w->err == E_IO || w->err == E_FULL);
}

static void a_full_disk_is_told_and_keeps_what_there_was(void **state) {
    struct world *w = *state;
    struct call_row small = call_of("small"), large = call_of("large");
    large.doc = large_doc();
    put(w, &small);
    assert_true(store_ok(w->fix.store));
    refused_write(w);
    assert_false(store_ok(w->fix.store));
    assert_string_equal(list(w, (struct call_query){0}), "small ");
    put(w, &large);
    assert_true(store_ok(w->fix.store));
    assert_string_equal(list(w, (struct call_query){0}), "small large ");
}

static void a_read_says_nothing_about_writing(void **state) {
    struct world *w = *state;
    refused_write(w);
    assert_int_equal(get(w, "t1", "large"), 0);
    assert_false(store_ok(w->fix.store));
}

static void reads_do_not_keep_it_from_finding_out(void **state) {
    struct world *w = *state;
    uint64_t until = clock_mono_ms() + FIXTURE_WAIT_MS;
    refused_write(w);
    while (!store_ok(w->fix.store) && clock_mono_ms() < until)
        get(w, "t1", "none");
    assert_true(store_ok(w->fix.store));
}

static void when_there_is_room_again_it_finds_out_by_itself(void **state) {
    struct world *w = *state;
    uint64_t until = clock_mono_ms() + FIXTURE_WAIT_MS;
    refused_write(w);
    while (!store_ok(w->fix.store) && clock_mono_ms() < until)
        usleep(5000);
    assert_true(store_ok(w->fix.store));
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

static void the_files_are_nobody_elses_to_read(void **state) {
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    struct world *w = *state;
    struct call_row row = call_of("c1");
    char name[128];
    put(w, &row);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        struct stat st;
        snprintf(name, sizeof name, "%s%s", w->fix.path, endings[i]);
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

/* Opening */

static void assert_cannot_open(struct world *w, const char *url, int err, const char *sentence) {
    struct store *s = NULL;
    struct err_text et = {""};
    assert_int_equal(store_open(&s, &w->fix.loop, url, &et), err);
    assert_null(s);
    if (strncmp(et.s, "store.url: ", 11) != 0 || !strstr(et.s, sentence))
        fail_msg("\"%s\" does not say \"%s\"", et.s, sentence);
    assert_int_equal(uv_run(&w->fix.loop, UV_RUN_NOWAIT) != 0, w->fix.store != NULL); /* no handle stays behind */
}

static void a_second_gateway_is_refused_and_the_first_works_on(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    char sentence[160];
    snprintf(sentence, sizeof sentence, "%s is in use by another gateway; give each its own database", w->fix.path);
    assert_cannot_open(w, w->fix.url, E_CONFLICT, sentence);
    put(w, &row);
    fixture_close(&w->fix);
    fixture_open(&w->fix);
    assert_int_equal(get(w, "t1", "c1"), 1);
}

static void in_sqlite(struct world *w, const char *sql) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(w->fix.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int on_version(void *arg, int columns, char **values, char **names) {
    (void)columns;
    (void)names;
    snprintf(arg, ID_BYTES, "PRAGMA user_version = %s", values[0]);
    return 0;
}

static void a_newer_schema_is_refused_and_left_alone(void **state) {
    struct world *w = *state;
    struct call_row row = call_of("c1");
    char as_before[ID_BYTES];
    sqlite3 *db = NULL;
    put(w, &row);
    fixture_close(&w->fix);
    assert_int_equal(sqlite3_open(w->fix.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version", on_version, as_before, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    in_sqlite(w, "PRAGMA user_version = 99");
    assert_cannot_open(w, w->fix.url, E_UNSUPPORTED, "was written by a newer wakegate (schema 99");
    in_sqlite(w, as_before);
    fixture_open(&w->fix);
    assert_int_equal(get(w, "t1", "c1"), 1);
}

/* A database as 0.1.0 of schema 1 left it. */
static void a_database_of_schema_1_is_brought_forward(void **state) {
    struct world *w = *state;
    fixture_close(&w->fix);
    in_sqlite(w,
              "DROP TABLE events; DROP TABLE deliveries; DROP TABLE event_source;"
              "DROP TABLE sealed; DROP INDEX pushes_by_time; ALTER TABLE pushes DROP COLUMN receipt_ms;"
              "ALTER TABLE devices DROP COLUMN token_accepted_ms; ALTER TABLE devices DROP COLUMN token_refused;"
              "INSERT INTO devices VALUES ('t1','d1','ann','vcs','00ff',1,0,'dtls','','1.0','26.4','hash',0,'',1,2,3);"
              "PRAGMA user_version = 1");
    fixture_open(&w->fix);
    reopen(w);
    assert_int_equal(w->devices, 1);
    assert_string_equal(w->device.user, "ann");
    assert_true(w->device.token_updated_ms == 3 && w->device.token_accepted_ms == 0 && !w->device.token_refused);
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

static void without_a_receipt_there_is_no_percentile(void **state) {
    struct world *w = *state;
    struct push_row row = push_of("p1", "c1", "d1");
    row.outcome = "silent";
    put_push(w, &row);
    assert_string_equal(report(w, (struct report_query){.groups = STORE_BY_APP}),
                        "|vcs|| n1 a0 r0 t0 f0 n0 0/0/0/0/1/0 p0 -1 -1 -1;");
}

static void a_sealed_value_comes_back_as_it_was_put(void **state) {
    struct world *w = *state;
    struct sealed_row row = {"provider-token/T/K", "old", 1};
    unsigned before = w->done;
    assert_int_equal(store_sealed_put(w->fix.store, &row, on_done, w), 0);
    row = (struct sealed_row){"provider-token/T/K", "new", NOW_MS};
    assert_int_equal(store_sealed_put(w->fix.store, &row, on_done, w), 0);
    wait_done(w, before + 2);
    reopen(w);
    assert_string_equal(w->key_texts, "provider-token/T/K|new|1790000000000");
}

static void a_file_that_is_no_database_is_refused_and_left_alone(void **state) {
    static const char text[] = "This is a letter, and not a database at all. It should be left as it is, please.\n";
    struct world *w = *state;
    char read[sizeof text] = "";
    fixture_close(&w->fix);
    FILE *f = fopen(w->fix.path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_cannot_open(w, w->fix.url, E_IO, w->fix.path);
    f = fopen(w->fix.path, "r");
    assert_non_null(f);
    assert_int_equal(fread(read, 1, sizeof read, f), sizeof text - 1);
    fclose(f);
    assert_string_equal(read, text);
    unlink(w->fix.path);
    fixture_open(&w->fix);
}

static void a_schema_that_is_half_there_is_refused(void **state) {
    struct world *w = *state;
    fixture_close(&w->fix);
    in_sqlite(w, "DROP TABLE pushes");
    assert_cannot_open(w, w->fix.url, E_IO, "pushes");
}

static void a_missing_folder_is_named(void **state) {
    struct world *w = *state;
    char url[160];
    snprintf(url, sizeof url, "sqlite:%s/none/w.db", w->fix.folder);
    assert_cannot_open(w, url, E_IO, "/none/w.db");
}

static void another_kind_of_store_is_refused(void **state) {
    assert_cannot_open(*state, "postgres://db", E_INVAL, "\"postgres://db\" is not of the form sqlite:PATH");
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        case_of(a_push_comes_back_as_it_was_put),
        case_of(an_observation_may_be_null),
        case_of(pushes_are_listed_newest_first_by_tenant_and_device),
        case_of(a_device_comes_back_after_a_restart),
        case_of(a_device_without_a_sealing_key_comes_back_without_one),
        case_of(a_deleted_device_stays_away_and_the_other_tenants_stays),
        case_of(only_calls_that_did_not_end_are_loaded),
        case_of(only_accepted_pushes_without_an_outcome_are_loaded),
        case_of(an_idempotency_key_is_stored_with_its_call),
        case_of(a_key_belongs_to_its_tenant),
        case_of(nothing_is_loaded_from_a_new_database),
        case_of(a_loading_callback_may_write),
        case_of(old_calls_go_with_their_pushes),
        case_of(keys_live_for_a_day),
        case_of(answers_come_in_the_order_of_the_requests),
        case_of(a_callback_may_write),
        case_of(nothing_is_lost_when_it_closes_at_once),
        case_of(what_was_told_survives_the_end_of_the_process),
        case_of(a_full_disk_is_told_and_keeps_what_there_was),
        case_of(a_read_says_nothing_about_writing),
        case_of(reads_do_not_keep_it_from_finding_out),
        case_of(when_there_is_room_again_it_finds_out_by_itself),
        case_of(after_sync_nothing_is_outstanding),
        case_of(the_files_are_nobody_elses_to_read),
        case_of(a_second_gateway_is_refused_and_the_first_works_on),
        case_of(a_newer_schema_is_refused_and_left_alone),
        case_of(a_database_of_schema_1_is_brought_forward),
        case_of(a_sealed_value_comes_back_as_it_was_put),
        case_of(the_report_counts_by_group),
        case_of(the_report_can_be_about_a_part),
        case_of(without_a_receipt_there_is_no_percentile),
        case_of(a_file_that_is_no_database_is_refused_and_left_alone),
        case_of(a_schema_that_is_half_there_is_refused),
        case_of(a_missing_folder_is_named),
        case_of(another_kind_of_store_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
