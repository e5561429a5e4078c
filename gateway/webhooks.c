/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/webhooks_priv.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define CONCURRENT_MAX 4      /* attempts of one webhook at a time */
#define WINDOW         32     /* of its deliveries in memory */
#define PENDING_MAX    100000 /* of its deliveries in the store; what is more is dropped */
#define TICK_MS        500    /* how late an attempt may be */
#define LOOK_TICKS     60     /* after so many it looks into the store, whatever it believes to be there */
#define DROP_LOG_MS    60000

enum { STATUS_GONE = 410 };

/* A request to the store; the webhook may be gone when the answer comes. */
struct asking {
    struct webhooks *owner;
    char name[];
};

struct hook *webhooks_find(const struct webhooks *w, const char *name) {
    struct hook *k;
    DL_FOREACH(w->hooks, k) {
        if (strcmp(k->name, name) == 0)
            return k;
    }
    return NULL;
}

static void add_pending(struct hook *k, int by) {
    k->pending = by < 0 && k->pending == 0 ? 0 : k->pending + (uint64_t)by;
    metric_set(k->m_pending, (int64_t)k->pending);
}

static struct asking *asking_new(const struct hook *k) {
    size_t len = strlen(k->name) + 1;
    struct asking *a = malloc(sizeof *a + len);
    if (a) {
        a->owner = k->owner;
        memcpy(a->name, k->name, len);
    }
    return a;
}

/* Results */

static void refill(struct hook *k);
static void start_waiting(struct hook *k);

void webhook_flight_free(struct flight *f) {
    struct hook *k = f->hook;
    DL_DELETE(k->flights, f);
    k->count--;
    if (f->post) {
        webhook_post_cancel(f->post);
        k->active--;
    }
    free(f->body);
    free(f);
}

/* The store knows. If it refused, the delivery is due again: better twice than never. */
struct settling {
    struct asking *hook;
    uint64_t id;
    int pending; /* what becomes of the number of those that are */
};

static void on_settled(int err, void *arg) {
    struct settling *s = arg;
    struct hook *k = s->hook->owner->closing ? NULL : webhooks_find(s->hook->owner, s->hook->name);
    struct flight *f, *next;
    if (k && err == 0)
        add_pending(k, s->pending);
    DL_FOREACH_SAFE(k ? k->flights : NULL, f, next) {
        if (f->id == s->id && f->over)
            webhook_flight_free(f);
    }
    if (k && k->count < WINDOW / 2)
        refill(k);
    free(s->hook);
    free(s);
}

static void settle(struct flight *f, const struct delivery_row *failed, bool dead, uint64_t next_ms) {
    struct hook *k = f->hook;
    struct store *store = k->owner->d.store;
    struct settling *s = calloc(1, sizeof *s);
    f->over = true;
    if (s)
        *s = (struct settling){asking_new(k), f->id, failed && !dead ? 0 : -1};
    int err = !s || !s->hook ? E_NOMEM
              : failed       ? store_delivery_failed(store, failed, dead, next_ms, on_settled, s)
                             : store_delivery_done(store, f->id, on_settled, s);
    if (err == 0)
        return;
    if (s)
        free(s->hook);
    free(s);
    webhook_flight_free(f);
}

static void gone(struct hook *k) {
    struct flight *f, *next;
    k->disabled = true;
    log_warn("webhook disabled", log_s("webhook", k->name), log_i("status", STATUS_GONE),
             log_s("detail", "it wants no more events; it is tried again after a restart or a reload"));
    DL_FOREACH_SAFE(k->flights, f, next) {
        if (!f->over)
            webhook_flight_free(f);
    }
}

static void failed(struct flight *f, const struct webhook_result *r) {
    struct hook *k = f->hook;
    uint32_t jitter;
    uint64_t now_ms = clock_wall_ms();
    random_bytes(&jitter, sizeof jitter);
    f->attempts++;
    bool dead = f->attempts > k->retry_count;
    uint64_t wait_ms = dead ? 0 : webhook_delay_ms(k->retry_s, f->attempts, r->retry_after_s, jitter);
    log_warn(dead ? "webhook gave up" : "webhook failed", log_s("webhook", k->name), log_s("message", f->message_id),
             log_i("attempt", f->attempts), log_s("detail", r->detail), log_i("again_in_s", (int64_t)(wait_ms / 1000)));
    metric_add(dead ? k->m_dead : k->m_failed, 1);
    struct delivery_row row = {
        .id = f->id, .attempts = f->attempts, .tried_ms = now_ms, .status = r->status, .detail = r->detail};
    settle(f, &row, dead, now_ms + wait_ms);
}

static void on_result(const struct webhook_result *r, void *arg) {
    struct flight *f = arg;
    struct hook *k = f->hook;
    f->post = NULL;
    k->active--;
    metric_observe_us(k->owner->m_seconds, clock_mono_us() - f->started_us);
    if (r->status == STATUS_GONE) {
        gone(k);
        return;
    }
    if (r->status / 100 == 2) {
        metric_add(k->m_delivered, 1);
        settle(f, NULL, false, 0);
    } else {
        failed(f, r);
    }
    start_waiting(k);
}

/* Attempts */

static void start(struct flight *f) {
    struct hook *k = f->hook;
    char signature[WEBHOOK_SIGNATURE_BYTES];
    struct webhook_message m = {.url = k->url,
                                .ca_file = k->ca_file,
                                .allow_private = k->allow_private,
                                .id = f->message_id,
                                .body = f->body,
                                .timestamp_s = clock_wall_ms() / 1000};
    m.signature = webhook_sign(signature, &k->secret, f->message_id, m.timestamp_s, f->body);
    f->started_us = clock_mono_us();
    f->post = webhook_post(k->owner->client, &m, on_result, f);
    k->active += f->post != NULL; /* else the tick tries again */
}

static void start_waiting(struct hook *k) {
    struct flight *f;
    DL_FOREACH(k->flights, f) {
        if (k->active >= CONCURRENT_MAX || k->disabled)
            return;
        if (!f->post && !f->over)
            start(f);
    }
}

static bool in_flight(const struct hook *k, uint64_t id) {
    const struct flight *f;
    DL_FOREACH(k->flights, f) {
        if (f->id == id)
            return true;
    }
    return false;
}

static void add_flight(struct hook *k, const struct delivery_row *row) {
    struct flight *f = calloc(1, sizeof *f);
    struct buf body = {0};
    event_write(&body, &row->event);
    char *text = buf_take(&body);
    if (!f || !text) {
        free(f);
        free(text);
        return;
    }
    *f = (struct flight){.hook = k, .id = row->id, .attempts = row->attempts, .body = text};
    snprintf(f->message_id, sizeof f->message_id, "evt_%s_%" PRIu64, k->owner->d.source, row->event.id);
    DL_APPEND(k->flights, f);
    k->count++;
}

static void on_due(int err, const struct delivery_row *rows, size_t count, void *arg) {
    struct asking *a = arg;
    struct hook *k = a->owner->closing ? NULL : webhooks_find(a->owner, a->name);
    free(a);
    if (!k)
        return;
    k->asked = false;
    if (err != 0 || k->disabled)
        return;
    for (size_t i = 0; i < count && k->count < WINDOW; i++)
        if (!in_flight(k, rows[i].id))
            add_flight(k, &rows[i]);
    start_waiting(k);
    if (k->more)
        refill(k);
}

static void refill(struct hook *k) {
    struct webhooks *w = k->owner;
    k->more = k->asked;
    if (w->closing || k->disabled || k->asked || k->count >= WINDOW || !store_ok(w->d.store))
        return;
    struct asking *a = asking_new(k);
    k->asked = a && store_delivery_due(w->d.store, k->name, clock_wall_ms(), WINDOW + k->count, on_due, a) == 0;
    if (!k->asked)
        free(a);
}

static void on_tick(uv_timer_t *t) {
    struct webhooks *w = t->data;
    struct hook *k;
    bool all = w->ticks++ % LOOK_TICKS == 0;
    DL_FOREACH(w->hooks, k) {
        start_waiting(k);
        if (k->pending > 0 || all)
            refill(k);
    }
}

void webhooks_run(struct webhooks *w) {
    w->ticks = 0;
    if (w->hooks)
        uv_timer_start(&w->timer, on_tick, 0, TICK_MS);
    else
        uv_timer_stop(&w->timer);
}

/* Events */

static void on_recorded(int err, void *arg) {
    struct asking *a = arg;
    struct hook *k = a->owner->closing ? NULL : webhooks_find(a->owner, a->name);
    free(a);
    if (!k || err != 0)
        return;
    add_pending(k, 1);
    refill(k);
}

static void drop(struct hook *k) {
    uint64_t now_ms = clock_mono_ms();
    metric_add(k->m_dropped, 1);
    if (k->drop_logged_ms && now_ms - k->drop_logged_ms < DROP_LOG_MS)
        return;
    k->drop_logged_ms = now_ms;
    log_error("webhook events dropped", log_s("webhook", k->name), log_i("waiting", (int64_t)k->pending),
              log_s("detail", "it has not taken what waits for it; GET /v1/events has all events"));
}

void webhooks_record(struct webhooks *w, const struct event_row *row, enum event_type type) {
    struct hook *k;
    DL_FOREACH(w->hooks, k) {
        if (!(k->types & 1U << type) || strcmp(k->tenant, row->tenant) != 0)
            continue;
        struct asking *a = k->pending < PENDING_MAX ? asking_new(k) : NULL;
        if (!a || store_delivery_put(w->d.store, k->name, row->id, row->at_ms, on_recorded, a) != 0) {
            free(a);
            drop(k);
        }
    }
}

bool webhooks_has(const struct webhooks *w, const char *name) {
    return webhooks_find(w, name) != NULL;
}

void webhooks_revived(struct webhooks *w, const char *name) {
    struct hook *k = webhooks_find(w, name);
    if (!k)
        return;
    add_pending(k, 1);
    refill(k);
}

/* Life */

void webhooks_note_pending(const char *webhook, uint64_t count, void *arg) {
    struct webhooks *w = arg;
    struct pending *p = w->pending;
    while (p && strcmp(p->name, webhook) != 0)
        p = p->next;
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p || !(p->name = strdup(webhook))) {
            free(p);
            return;
        }
        LL_PREPEND(w->pending, p);
    }
    p->count = count;
}

int webhooks_new(struct webhooks **wp, const struct webhooks_deps *deps) {
    struct webhooks *w = calloc(1, sizeof *w);
    if (!w || webhook_client_new(&w->client, deps->loop) != 0) {
        free(w);
        return E_NOMEM;
    }
    w->d = *deps;
    w->m_seconds = metrics_histogram(deps->metrics, "wakegate_webhook_attempt_seconds",
                                     "From an attempt's start to its answer.", "");
    uv_timer_init(deps->loop, &w->timer);
    w->timer.data = w;
    *wp = w; /* its handles belong to the loop now, whatever follows */
    return store_delivery_counts(deps->store, webhooks_note_pending, w);
}

void webhooks_close(struct webhooks *w) {
    if (w->closing)
        return;
    w->closing = true;
    webhook_hooks_free(&w->hooks);
    webhook_client_close(w->client);
    uv_close((uv_handle_t *)&w->timer, NULL);
}

struct webhooks *webhooks_free(struct webhooks *w) {
    struct pending *p, *next;
    if (!w)
        return NULL;
    LL_FOREACH_SAFE(w->pending, p, next) {
        free(p->name);
        free(p);
    }
    free(w);
    return NULL;
}
