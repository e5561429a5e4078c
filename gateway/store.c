/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/store.h"

#include "base/log.h"
#include "gateway/store_sql.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#define BATCH_MAX 512 /* requests in one transaction */
#define OPS_MAX   3
#define PROBE_S   1 /* how often a database that takes no writes is tried again */

/* What the loop asks, and what the database thread answers. */
struct store_request {
    struct store_request *prev, *next;
    struct store_op ops[OPS_MAX];
    size_t op_count;
    bool reads;
    struct store_rows rows;
    int err;
    void (*deliver)(struct store_request *r);
    store_done_cb done;
    store_calls_cb calls;
    store_pushes_cb pushes;
    void *arg;
};

struct store {
    /* RO after init: */
    struct store_db *db; /* the thread's, once it runs */
    pthread_t thread;

    /* loop: */
    uv_async_t wake;
    void (*closed)(void *arg);
    void *closed_arg;

    /* under lock: */
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct store_request *queue, *answered;
    bool stopping, busy;

    /* atomic: */
    atomic_bool ok;
};

/* The database thread */

static int run_batch(struct store *s, struct store_request *batch) {
    struct store_request *r;
    int err = store_db_begin(s->db);
    DL_FOREACH(batch, r) {
        for (size_t i = 0; i < r->op_count && err == 0; i++)
            err = store_db_run(s->db, &r->ops[i], r->reads ? &r->rows : NULL);
    }
    if (err == 0)
        err = store_db_commit(s->db);
    else
        store_db_rollback(s->db);
    return err;
}

/* A batch that only read says nothing about writing. */
static void note_health(struct store *s, int err, bool wrote) {
    if (err != 0 && atomic_exchange(&s->ok, false))
        log_error("the database takes no writes", log_s("error", err_str(err)),
                  log_s("mend", "make room, or let the gateway's user write; it is tried again every second"));
    if (err == 0 && wrote && !atomic_exchange(&s->ok, true))
        log_info("the database takes writes again", log_end());
}

/* New calls are refused while it takes no writes, so nobody else would find out that it does again. */
static void probe(struct store *s) {
    const struct store_op op = {.statement = STORE_PROBE};
    int err = store_db_begin(s->db);
    if (err == 0 && (err = store_db_run(s->db, &op, NULL)) != 0)
        store_db_rollback(s->db);
    note_health(s, err == 0 ? store_db_commit(s->db) : err, true);
}

static void wait_for_work(struct store *s) {
    struct timespec until;
    if (atomic_load(&s->ok)) {
        pthread_cond_wait(&s->work, &s->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PROBE_S;
    if (pthread_cond_timedwait(&s->work, &s->lock, &until) != ETIMEDOUT)
        return;
    pthread_mutex_unlock(&s->lock);
    probe(s);
    pthread_mutex_lock(&s->lock);
}

static struct store_request *take_batch(struct store *s) {
    struct store_request *batch = NULL, *r;
    pthread_mutex_lock(&s->lock);
    s->busy = false;
    pthread_cond_signal(&s->idle);
    while (!s->queue && !s->stopping)
        wait_for_work(s);
    s->busy = true;
    for (int n = 0; n < BATCH_MAX && (r = s->queue); n++) {
        DL_DELETE(s->queue, r);
        DL_APPEND(batch, r);
    }
    pthread_mutex_unlock(&s->lock);
    return batch;
}

static void *store_main(void *arg) {
    struct store *s = arg;
    struct store_request *batch, *r;
    while ((batch = take_batch(s))) {
        int err = run_batch(s, batch);
        bool wrote = false;
        DL_FOREACH(batch, r) {
            r->err = err;
            wrote = wrote || !r->reads;
        }
        note_health(s, err, wrote);
        pthread_mutex_lock(&s->lock);
        DL_CONCAT(s->answered, batch);
        pthread_mutex_unlock(&s->lock);
        uv_async_send(&s->wake);
    }
    return NULL;
}

/* The loop's side */

static void request_free(struct store_request *r) {
    for (size_t i = 0; i < r->op_count; i++)
        store_op_free(&r->ops[i]);
    store_rows_free(&r->rows);
    free(r);
}

static void deliver_answers(struct store *s) {
    struct store_request *r, *next;
    pthread_mutex_lock(&s->lock);
    struct store_request *answered = s->answered;
    s->answered = NULL;
    pthread_mutex_unlock(&s->lock);
    DL_FOREACH_SAFE(answered, r, next) {
        r->deliver(r);
        request_free(r);
    }
}

static void on_wake(uv_async_t *async) {
    deliver_answers(async->data);
}

static int submit(struct store *s, struct store_request *r) {
    pthread_mutex_lock(&s->lock);
    DL_APPEND(s->queue, r);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void deliver_done(struct store_request *r) {
    if (r->done)
        r->done(r->err, r->arg);
}

static struct store_request *request_new(store_done_cb done, void *arg) {
    struct store_request *r = calloc(1, sizeof *r);
    if (r) {
        r->deliver = deliver_done;
        r->done = done;
        r->arg = arg;
    }
    return r;
}

static struct store_op *add_op(struct store_request *r, enum store_statement statement) {
    struct store_op *op = &r->ops[r->op_count++];
    op->statement = statement;
    return op;
}

/* A copy that fails for want of memory is written as 0, which no reader of a text column takes for a value. */
static void add_text(struct store_op *op, const char *text) {
    op->in[op->count++].text = strdup(text ? text : "");
}

static void add_int(struct store_op *op, int64_t i) {
    op->in[op->count++].i = i;
}

static void device_values(struct store_op *op, const struct device *d) {
    char modes[64] = "", key[65] = "";
    for (unsigned i = 0; i < d->handoff_count; i++)
        snprintf(modes + strlen(modes), sizeof modes - strlen(modes), "%s%s", i ? "," : "",
                 media_mode_name(d->handoff[i]));
    if (d->has_sealing_key)
        hex_encode(key, d->sealing_key, sizeof d->sealing_key);
    const char *texts[] = {d->tenant, d->id, d->user, d->app, d->token};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add_text(op, texts[i]);
    add_int(op, d->sandbox);
    add_int(op, d->ui);
    add_text(op, modes);
    add_text(op, key);
    add_text(op, d->app_version);
    add_text(op, d->os_version);
    add_text(op, d->secret_hash);
    add_int(op, d->health);
    add_text(op, d->health_reason);
    add_int(op, (int64_t)d->created_ms);
    add_int(op, (int64_t)d->updated_ms);
    add_int(op, (int64_t)d->token_updated_ms);
    add_int(op, (int64_t)d->token_accepted_ms);
    add_int(op, d->token_refused);
}

int store_device_put(struct store *s, const struct device *dev, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    device_values(add_op(r, STORE_DEVICE_PUT), dev);
    return submit(s, r);
}

int store_device_delete(struct store *s, const char *tenant, const char *id, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_DEVICE_DELETE);
    add_text(op, tenant);
    add_text(op, id);
    return submit(s, r);
}

int store_call_put(struct store *s, const struct call_row *row, const struct idempotency_row *idem, store_done_cb cb,
                   void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_CALL_PUT);
    add_text(op, row->id);
    add_text(op, row->tenant);
    add_text(op, row->callee);
    add_text(op, row->state);
    add_int(op, (int64_t)row->created_ms);
    add_int(op, (int64_t)row->ended_ms);
    add_text(op, row->doc);
    add_text(op, row->timeline);
    if (idem) {
        op = add_op(r, STORE_IDEMPOTENCY_PUT);
        add_text(op, idem->tenant);
        add_text(op, idem->key);
        add_text(op, idem->body_hash);
        add_text(op, idem->call);
        add_text(op, idem->response);
        add_int(op, (int64_t)idem->created_ms);
    }
    return submit(s, r);
}

static struct call_row row_to_call(const struct store_value *v) {
    return (struct call_row){.id = v[0].text,
                             .tenant = v[1].text,
                             .callee = v[2].text,
                             .state = v[3].text,
                             .created_ms = (uint64_t)v[4].i,
                             .ended_ms = (uint64_t)v[5].i,
                             .doc = v[6].text,
                             .timeline = v[7].text};
}

static void deliver_calls(struct store_request *r) {
    struct call_row *rows = r->rows.count ? calloc(r->rows.count, sizeof *rows) : NULL;
    size_t count = rows ? r->rows.count : 0;
    for (size_t i = 0; i < count; i++)
        rows[i] = row_to_call(r->rows.values + i * r->rows.columns);
    r->calls(r->err, rows, count, r->arg);
    free(rows);
}

static struct store_request *calls_request(store_calls_cb cb, void *arg) {
    struct store_request *r = request_new(NULL, arg);
    if (r) {
        r->deliver = deliver_calls;
        r->calls = cb;
        r->reads = true;
    }
    return r;
}

int store_call_get(struct store *s, const char *tenant, const char *id, store_calls_cb cb, void *arg) {
    struct store_request *r = calls_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_CALL_GET);
    add_text(op, tenant);
    add_text(op, id);
    return submit(s, r);
}

int store_call_list(struct store *s, const struct call_query *q, store_calls_cb cb, void *arg) {
    struct store_request *r = calls_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_CALL_LIST);
    add_text(op, q->tenant);
    add_text(op, q->state);
    add_text(op, q->callee);
    add_int(op, (int64_t)q->before_ms);
    add_text(op, q->before_id);
    add_int(op, q->limit);
    return submit(s, r);
}

int store_push_put(struct store *s, const struct push_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_PUSH_PUT);
    const char *texts[] = {row->id, row->call, row->device, row->tenant, row->app, row->app_version, row->os_version};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add_text(op, texts[i]);
    add_int(op, row->predicted);
    add_text(op, row->predicted_why);
    add_int(op, row->observed);
    add_text(op, row->reported);
    add_text(op, row->report_error);
    add_text(op, row->outcome);
    add_int(op, row->status);
    add_text(op, row->reason);
    const uint64_t times[] = {row->queued_ms,   row->written_ms,  row->answered_ms,
                              row->received_ms, row->reported_ms, row->attached_ms};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        add_int(op, (int64_t)times[i]);
    return submit(s, r);
}

static struct push_row row_to_push(const struct store_value *v) {
    return (struct push_row){
        .id = v[0].text,
        .call = v[1].text,
        .device = v[2].text,
        .tenant = v[3].text,
        .app = v[4].text,
        .app_version = v[5].text,
        .os_version = v[6].text,
        .predicted = v[7].i != 0,
        .predicted_why = v[8].text,
        .observed = (int)v[9].i,
        .reported = v[10].text,
        .report_error = v[11].text,
        .outcome = v[12].text,
        .status = (int)v[13].i,
        .reason = v[14].text,
        .queued_ms = (uint64_t)v[15].i,
        .written_ms = (uint64_t)v[16].i,
        .answered_ms = (uint64_t)v[17].i,
        .received_ms = (uint64_t)v[18].i,
        .reported_ms = (uint64_t)v[19].i,
        .attached_ms = (uint64_t)v[20].i,
    };
}

static void deliver_pushes(struct store_request *r) {
    struct push_row *rows = r->rows.count ? calloc(r->rows.count, sizeof *rows) : NULL;
    size_t count = rows ? r->rows.count : 0;
    for (size_t i = 0; i < count; i++)
        rows[i] = row_to_push(r->rows.values + i * r->rows.columns);
    r->pushes(r->err, rows, count, r->arg);
    free(rows);
}

int store_push_list(struct store *s, const char *tenant, const char *device, unsigned limit, store_pushes_cb cb,
                    void *arg) {
    struct store_request *r = request_new(NULL, arg);
    if (!r)
        return E_NOMEM;
    r->deliver = deliver_pushes;
    r->pushes = cb;
    r->reads = true;
    struct store_op *op = add_op(r, STORE_PUSH_LIST);
    add_text(op, tenant);
    add_text(op, device);
    add_int(op, limit);
    return submit(s, r);
}

int store_sealed_put(struct store *s, const struct sealed_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_SEALED_PUT);
    add_text(op, row->name);
    add_text(op, row->value);
    add_int(op, (int64_t)row->updated_ms);
    return submit(s, r);
}

int store_prune(struct store *s, uint64_t ended_before_ms, uint64_t now_ms, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    add_int(add_op(r, STORE_PRUNE_PUSHES), (int64_t)ended_before_ms);
    add_int(add_op(r, STORE_PRUNE_CALLS), (int64_t)ended_before_ms);
    add_int(add_op(r, STORE_PRUNE_IDEMPOTENCY), (int64_t)now_ms - 24LL * 3600 * 1000);
    return submit(s, r);
}

/* Life */

static struct device row_to_device(const struct store_value *v) {
    struct device d = {.sandbox = v[5].i != 0,
                       .ui = (enum device_ui)v[6].i,
                       .health = (enum device_health)v[12].i,
                       .created_ms = (uint64_t)v[14].i,
                       .updated_ms = (uint64_t)v[15].i,
                       .token_updated_ms = (uint64_t)v[16].i,
                       .token_accepted_ms = (uint64_t)v[17].i,
                       .token_refused = v[18].i != 0};
    char *save = NULL;
    snprintf(d.tenant, sizeof d.tenant, "%s", v[0].text);
    snprintf(d.id, sizeof d.id, "%s", v[1].text);
    snprintf(d.user, sizeof d.user, "%s", v[2].text);
    snprintf(d.app, sizeof d.app, "%s", v[3].text);
    snprintf(d.token, sizeof d.token, "%s", v[4].text);
    for (char *m = strtok_r(v[7].text, ",", &save); m && d.handoff_count < DEVICE_MODES_MAX;
         m = strtok_r(NULL, ",", &save))
        d.handoff[d.handoff_count++] = media_mode_by_name(m);
    d.has_sealing_key = hex_decode(d.sealing_key, sizeof d.sealing_key, v[8].text) == (int)sizeof d.sealing_key;
    snprintf(d.app_version, sizeof d.app_version, "%s", v[9].text);
    snprintf(d.os_version, sizeof d.os_version, "%s", v[10].text);
    snprintf(d.secret_hash, sizeof d.secret_hash, "%s", v[11].text);
    snprintf(d.health_reason, sizeof d.health_reason, "%s", v[13].text);
    return d;
}

static void load_one(enum store_statement statement, const struct store_value *v, const struct store_load_ops *ops,
                     void *arg) {
    if (statement == STORE_DEVICES_ALL) {
        struct device d = row_to_device(v);
        ops->device(&d, arg);
    } else if (statement == STORE_CALLS_LIVE) {
        struct call_row row = row_to_call(v);
        ops->call(&row, arg);
    } else if (statement == STORE_PUSHES_OPEN) {
        struct push_row row = row_to_push(v);
        ops->push(&row, arg);
    } else if (statement == STORE_SEALED_ALL) {
        struct sealed_row row = {v[0].text, v[1].text, (uint64_t)v[2].i};
        ops->sealed(&row, arg);
    } else {
        struct idempotency_row row = {v[0].text, v[1].text, v[2].text, v[3].text, v[4].text, (uint64_t)v[5].i};
        ops->idempotency(&row, arg);
    }
}

int store_load(struct store *s, const struct store_load_ops *ops, void *arg, struct err_text *et) {
    static const enum store_statement statements[] = {STORE_DEVICES_ALL, STORE_CALLS_LIVE, STORE_PUSHES_OPEN,
                                                      STORE_IDEMPOTENCY_ALL, STORE_SEALED_ALL};
    enum { COUNT = sizeof statements / sizeof *statements };
    struct store_rows rows[COUNT] = {{0}};
    int err = 0;
    /* Nothing was submitted yet: the thread waits, and the database is ours. The callbacks may submit, so they come
     * when everything has been read. */
    for (size_t i = 0; i < COUNT && err == 0; i++)
        err = store_db_run(s->db, &(struct store_op){.statement = statements[i]}, &rows[i]);
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < rows[i].count && err == 0; k++)
            load_one(statements[i], rows[i].values + k * rows[i].columns, ops, arg);
        store_rows_free(&rows[i]);
    }
    return err == 0 ? 0 : err_say(et, err, "store.url: the database cannot be read: %s", err_str(err));
}

int store_open(struct store **sp, uv_loop_t *loop, const char *url, struct err_text *et) {
    if (strncmp(url, "sqlite:", 7) != 0)
        return err_say(et, E_INVAL, "store.url: \"%s\" is not of the form sqlite:PATH", url);
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_say(et, E_NOMEM, "out of memory");
    int err = store_db_open(&s->db, url + 7, et);
    if (err != 0) {
        free(s);
        return err;
    }
    atomic_store(&s->ok, true);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->idle, NULL);
    uv_async_init(loop, &s->wake, on_wake);
    s->wake.data = s;
    if (pthread_create(&s->thread, NULL, store_main, s) != 0)
        abort(); /* no memory for a thread's stack at start */
    *sp = s;
    return 0;
}

static void on_closed(uv_handle_t *h) {
    struct store *s = h->data;
    void (*closed)(void *) = s->closed;
    void *arg = s->closed_arg;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->idle);
    free(s);
    closed(arg);
}

void store_sync(struct store *s) {
    bool more = true;
    while (more) {
        pthread_mutex_lock(&s->lock);
        while (s->queue || s->busy)
            pthread_cond_wait(&s->idle, &s->lock);
        more = s->answered != NULL;
        pthread_mutex_unlock(&s->lock);
        deliver_answers(s);
    }
}

void store_close(struct store *s, void (*done)(void *arg), void *arg) {
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL); /* what waited is committed */
    deliver_answers(s);
    s->db = store_db_close(s->db);
    s->closed = done;
    s->closed_arg = arg;
    uv_close((uv_handle_t *)&s->wake, on_closed);
}

bool store_ok(const struct store *s) {
    return atomic_load(&s->ok);
}
