/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/store.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/store_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#define BATCH_MAX 512 /* requests in one transaction */
#define PROBE_S   1   /* how often a database that takes no writes is tried again */

struct store {
    /* RO after init: */
    struct store_db *db; /* the thread's, once it runs */
    pthread_t thread;

    /* thread: */
    uint64_t probed_ms; /* monotonic: when a database that takes no writes was tried last */

    /* loop: */
    uv_async_t wake;
    uv_prepare_t flush;         /* runs while something is held */
    struct store_request *held; /* for the next write */
    bool ending;
    uv_timer_t late_timer;      /* runs once while something is late */
    struct store_request *late; /* writes that nobody waits for, each with what was held for it */
    unsigned handles;
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

static int run_request(struct store *s, struct store_request *r) {
    int err = 0;
    for (size_t i = 0; i < r->op_count && err == 0; i++) {
        err = store_db_run(s->db, &r->ops[i], r->reads ? &r->rows : NULL);
        size_t changes = r->reads ? 0 : store_db_changes(s->db);
        r->changes_max = changes > r->changes_max ? changes : r->changes_max;
    }
    return err;
}

static int run_batch(struct store *s, struct store_request *batch) {
    struct store_request *r;
    int err = store_db_begin(s->db);
    DL_FOREACH(batch, r) {
        if (err == 0)
            err = run_request(s, r);
    }
    if (err == 0)
        err = store_db_commit(s->db);
    else
        store_db_rollback(s->db);
    return err;
}

/* A batch that only read says nothing about writing. */
static void note_health(struct store *s, int err, bool wrote) {
    if (err != 0 && atomic_exchange(&s->ok, false)) {
        s->probed_ms = clock_mono_ms();
        log_error("the database takes no writes", log_s("error", err_str(err)),
                  log_s("mend", "make room, or let the gateway's user write; it is tried again every second"));
    }
    if (err == 0 && wrote && !atomic_exchange(&s->ok, true))
        log_info("the database takes writes again", log_end());
}

/* New calls are refused while it takes no writes, so nobody else would find out that it does again. */
static void probe(struct store *s) {
    const struct store_op op = {.statement = STORE_PROBE};
    s->probed_ms = clock_mono_ms();
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
    for (int n = 0; (r = s->queue) && (n < BATCH_MAX || r->joined); n++) {
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
        if (!atomic_load(&s->ok) && clock_mono_ms() - s->probed_ms >= PROBE_S * 1000ULL)
            probe(s); /* reads that come all the time keep it from waiting */
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

static void submit(struct store *s, struct store_request *all) {
    pthread_mutex_lock(&s->lock);
    DL_CONCAT(s->queue, all);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

static void submit_joined(struct store *s, struct store_request *all) {
    struct store_request *each;
    DL_FOREACH(all, each) {
        each->joined = each != all;
    }
    submit(s, all);
}

/* What is late, what is held, and r if there is one, as one transaction. */
static void submit_with_held(struct store *s, struct store_request *r) {
    struct store_request *all = s->late;
    DL_CONCAT(all, s->held);
    s->late = s->held = NULL;
    uv_prepare_stop(&s->flush);
    if (r)
        DL_APPEND(all, r);
    submit_joined(s, all);
}

static void on_flush(uv_prepare_t *flush) {
    submit_with_held(flush->data, NULL);
}

static void submit_late(struct store *s) {
    struct store_request *all = s->late;
    s->late = NULL;
    if (all)
        submit_joined(s, all);
}

static void on_late(uv_timer_t *timer) {
    submit_late(timer->data);
}

int store_submit(struct store *s, struct store_request *r) {
    if (!r->reads) {
        submit_with_held(s, r);
        return 0;
    }
    submit_late(s); /* it is to see what was written before */
    struct store_request *one = NULL;
    DL_APPEND(one, r);
    submit(s, one);
    return 0;
}

int store_submit_late(struct store *s, struct store_request *r) {
    DL_APPEND(s->held, r);
    DL_CONCAT(s->late, s->held);
    s->held = NULL;
    uv_prepare_stop(&s->flush);
    if (!uv_is_active((uv_handle_t *)&s->late_timer))
        uv_timer_start(&s->late_timer, on_late, STORE_LATE_MS, 0);
    return 0;
}

int store_hold(struct store *s, struct store_request *r) {
    DL_APPEND(s->held, r);
    uv_prepare_start(&s->flush, on_flush);
    return 0;
}

/* Life */

static void load_one(enum store_statement statement, const struct store_value *v, const struct store_load_ops *ops,
                     void *arg) {
    if (statement == STORE_DEVICES_ALL) {
        struct device d = store_row_device(v);
        ops->device(&d, arg);
    } else if (statement == STORE_CALLS_LIVE) {
        struct call_row row = store_row_call(v);
        ops->call(&row, arg);
    } else if (statement == STORE_PUSHES_OPEN) {
        struct push_row row = store_row_push(v);
        ops->push(&row, arg);
    } else if (statement == STORE_SEALED_ALL) {
        struct sealed_row row = {v[0].text, v[1].text, (uint64_t)v[2].i};
        ops->sealed(&row, arg);
    } else if (statement == STORE_KEPT_ALL) {
        struct kept_row row = {v[0].text, v[1].text, v[2].text};
        ops->kept(&row, arg);
    } else {
        struct idempotency_row row = {v[0].text, v[1].text, v[2].text, v[3].text, v[4].text, (uint64_t)v[5].i};
        ops->idempotency(&row, arg);
    }
}

int store_load(struct store *s, const struct store_load_ops *ops, void *arg, struct err_text *et) {
    static const enum store_statement statements[] = {STORE_SEALED_ALL, STORE_KEPT_ALL,    STORE_DEVICES_ALL,
                                                      STORE_CALLS_LIVE, STORE_PUSHES_OPEN, STORE_IDEMPOTENCY_ALL};
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

int store_read_now(struct store *s, enum store_statement statement, struct store_rows *rows) {
    return store_db_run(s->db, &(struct store_op){.statement = statement}, rows);
}

int store_open(struct store **sp, uv_loop_t *loop, const char *url, struct err_text *et) {
    const char *path = store_url_path(url);
    if (!path)
        return err_say(et, E_INVAL, "store.url: \"%s\" is not of the form sqlite:PATH", url);
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_say(et, E_NOMEM, "out of memory");
    int err = store_db_open(&s->db, path, et);
    if (err != 0) {
        free(s);
        return err;
    }
    atomic_store(&s->ok, true);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->idle, NULL);
    uv_async_init(loop, &s->wake, on_wake);
    uv_prepare_init(loop, &s->flush);
    uv_timer_init(loop, &s->late_timer);
    s->wake.data = s->flush.data = s->late_timer.data = s;
    s->handles = 3;
    if (pthread_create(&s->thread, NULL, store_main, s) != 0)
        abort(); /* no memory for a thread's stack at start */
    *sp = s;
    return 0;
}

static void on_closed(uv_handle_t *h) {
    struct store *s = h->data;
    if (--s->handles > 0)
        return;
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
    s->ending = true;
    while (more) {
        submit_with_held(s, NULL);
        pthread_mutex_lock(&s->lock);
        while (s->queue || s->busy)
            pthread_cond_wait(&s->idle, &s->lock);
        more = s->answered != NULL;
        pthread_mutex_unlock(&s->lock);
        deliver_answers(s);
    }
    s->ending = false;
}

void store_close(struct store *s, void (*done)(void *arg), void *arg) {
    s->ending = true;
    submit_with_held(s, NULL);
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
    uv_close((uv_handle_t *)&s->flush, on_closed);
    uv_close((uv_handle_t *)&s->late_timer, on_closed);
}

bool store_is_ending(const struct store *s) {
    return s->ending;
}

bool store_ok(const struct store *s) {
    return atomic_load(&s->ok);
}
