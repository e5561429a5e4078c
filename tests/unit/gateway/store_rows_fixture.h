/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are put into a store, and what comes out of it: a real SQLite file and the real thread behind it. */
#ifndef TESTS_UNIT_GATEWAY_STORE_ROWS_FIXTURE_H
#define TESTS_UNIT_GATEWAY_STORE_ROWS_FIXTURE_H

#include "tests/unit/gateway/store_fixture.h"

#define NOW_MS   1790000000000ULL
#define ROWS_MAX 256
#define ID_BYTES 40

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
    unsigned devices, calls, pushes, keys, kept;
    struct device device;
    char key_texts[256];
};

static inline int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    if (!w || fixture_init(&w->fix) != 0)
        return -1;
    fixture_open(&w->fix);
    *state = w;
    return 0;
}

static inline int tear_down(void **state) {
    struct world *w = *state;
    int err = fixture_free(&w->fix);
    free(w);
    return err;
}

static inline void note(struct world *w, int err) {
    w->done++;
    w->err = err;
    if (err != 0 && w->first_err == 0)
        w->first_err = err;
}

static inline void on_done(int err, void *arg) {
    note(arg, err);
}

static inline void on_calls(int err, const struct call_row *rows, size_t count, void *arg) {
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

static inline void keep_push(struct world *w, const struct push_row *r) {
    w->push = *r;
    snprintf(w->push_texts, sizeof w->push_texts, "%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s", r->id, r->call,
             r->device, r->tenant, r->app, r->app_version, r->os_version, r->predicted_why, r->reported,
             r->report_error, r->outcome, r->reason, r->network, r->token_hash);
}

static inline void on_pushes(int err, const struct push_row *rows, size_t count, void *arg) {
    struct world *w = arg;
    assert_true(count <= ROWS_MAX);
    w->count = count;
    for (size_t i = 0; i < count; i++)
        snprintf(w->ids[i], sizeof w->ids[i], "%s", rows[i].id);
    if (count)
        keep_push(w, &rows[0]);
    note(w, err);
}

static inline void wait_done(struct world *w, unsigned n) {
    fixture_wait(&w->fix, &w->done, n);
}

static inline struct call_row call_of(const char *id) {
    return (struct call_row){.id = id,
                             .tenant = "t1",
                             .callee = "nurse-1",
                             .state = "ringing",
                             .created_ms = NOW_MS,
                             .doc = "{}",
                             .timeline = "[]"};
}

static inline void put(struct world *w, const struct call_row *row) {
    unsigned before = w->done;
    assert_int_equal(store_call_put(w->fix.store, row, NULL, on_done, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
}

static inline size_t get(struct world *w, const char *tenant, const char *id) {
    unsigned before = w->done;
    assert_int_equal(store_call_get(w->fix.store, tenant, id, on_calls, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
    return w->count;
}

/* The ids of a list, with a space behind each. */
static inline const char *ids_in_a_row(const struct world *w) {
    static char out[2048];
    out[0] = 0;
    for (size_t i = 0; i < w->count; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s ", w->ids[i]);
    return out;
}

static inline const char *list(struct world *w, struct call_query q) {
    unsigned before = w->done;
    if (!q.limit)
        q.limit = 200;
    if (!q.tenant)
        q.tenant = "t1";
    assert_int_equal(store_call_list(w->fix.store, &q, on_calls, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
    return ids_in_a_row(w);
}

static inline struct push_row push_of(const char *id, const char *call, const char *device) {
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

static inline void put_push(struct world *w, const struct push_row *row) {
    unsigned before = w->done;
    assert_int_equal(store_push_put(w->fix.store, row, on_done, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
}

static inline const char *pushes_by(struct world *w, const struct push_query *q) {
    unsigned before = w->done;
    assert_int_equal(store_push_list(w->fix.store, q, on_pushes, w), 0);
    wait_done(w, before + 1);
    assert_int_equal(w->err, 0);
    return ids_in_a_row(w);
}

static inline const char *pushes(struct world *w, const char *tenant, const char *device, unsigned limit) {
    return pushes_by(w, &(struct push_query){.tenant = tenant, .device = device, .limit = limit});
}

static inline void four_calls(struct world *w) {
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

static inline struct device phone(void) {
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
                       .health_cause = HEALTH_SILENT,
                       .health_reason = "it's late",
                       .created_ms = 1,
                       .updated_ms = 2,
                       .token_updated_ms = 3,
                       .alert_token = "11ee",
                       .token_since_ms = 4};
    memset(d.sealing_key, 0xa5, sizeof d.sealing_key);
    return d;
}

static const struct idempotency_row key_row = {"t1", "k1", "hash", "c1", "{\"id\":\"c1\"}", NOW_MS};

/* What a restart finds */

static inline void load_device(const struct device *dev, void *arg) {
    struct world *w = arg;
    w->devices++;
    w->device = *dev;
}

static inline void load_call(const struct call_row *row, void *arg) {
    struct world *w = arg;
    snprintf(w->ids[w->calls++], sizeof w->ids[0], "%s", row->id);
}

static inline void load_push(const struct push_row *row, void *arg) {
    struct world *w = arg;
    w->pushes++;
    keep_push(w, row);
}

static inline void load_key(const struct idempotency_row *row, void *arg) {
    struct world *w = arg;
    w->keys++;
    snprintf(w->key_texts, sizeof w->key_texts, "%s|%s|%s|%s|%s|%llu", row->tenant, row->key, row->body_hash, row->call,
             row->response, (unsigned long long)row->created_ms);
}

static inline void load_sealed(const struct sealed_row *row, void *arg) {
    struct world *w = arg;
    snprintf(w->key_texts, sizeof w->key_texts, "%s|%s|%llu", row->name, row->value,
             (unsigned long long)row->updated_ms);
}

static inline void load_kept(const struct kept_row *row, void *arg) {
    struct world *w = arg;
    w->kept++;
    snprintf(w->key_texts, sizeof w->key_texts, "%s|%s|%s", row->call, row->part, row->value);
}

static const struct store_load_ops load_ops = {load_device, load_call, load_push, load_key, load_sealed, load_kept};

static inline void reopen(struct world *w) {
    struct err_text et = {""};
    w->devices = w->calls = w->pushes = w->keys = w->kept = 0;
    fixture_close(&w->fix);
    fixture_open(&w->fix);
    if (store_load(w->fix.store, &load_ops, w, &et) != 0)
        fail_msg("%s", et.s);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
