/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/webhooks.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "gateway/webhook_client.h"
#include "gateway/webhook_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define CONCURRENT_MAX 4      /* attempts of one webhook at a time */
#define WINDOW         32     /* of its deliveries in memory */
#define PENDING_MAX    100000 /* of its deliveries in the store; what is more is dropped */
#define TICK_MS        500    /* how late an attempt may be */
#define DROP_LOG_MS    60000
#define ID_BYTES       64

enum { STATUS_GONE = 410 };

/* A delivery that was read from the store, until the store knows how it went. */
struct flight {
    struct hook *hook;
    uint64_t id, started_us;
    unsigned attempts;
    char message_id[ID_BYTES];
    char *body;
    struct webhook_post *post; /* NULL: it waits, or its result is on its way to the store */
    bool over;
    struct flight *prev, *next;
};

struct hook {
    struct webhooks *owner;
    char *name, *url, *ca_file, *tenant; /* ca_file: NULL, the system's */
    bool allow_private, disabled;
    unsigned types, *retry_s, retry_count;
    struct webhook_secret secret;
    struct flight *flights;
    unsigned count, active;
    bool asked, more; /* more: the store may have some that are due */
    uint64_t pending, drop_logged_ms;
    struct metric *m_delivered, *m_failed, *m_dead, *m_dropped, *m_pending;
    struct hook *prev, *next;
};

struct webhooks {
    struct webhooks_deps d;
    struct webhook_client *client;
    struct hook *hooks;
    uv_timer_t timer;
    bool closing;
    struct metric *m_seconds;
    struct pending {
        char *name;
        uint64_t count;
        struct pending *next;
    } * pending; /* what the store has, by webhook */
};

/* A request to the store; the webhook may be gone when the answer comes. */
struct asking {
    struct webhooks *owner;
    char name[];
};

static struct hook *find(const struct webhooks *w, const char *name) {
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

static void flight_free(struct flight *f) {
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
    struct hook *k = s->hook->owner->closing ? NULL : find(s->hook->owner, s->hook->name);
    struct flight *f, *next;
    if (k && err == 0)
        add_pending(k, s->pending);
    DL_FOREACH_SAFE(k ? k->flights : NULL, f, next) {
        if (f->id == s->id && f->over)
            flight_free(f);
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
    flight_free(f);
}

static void gone(struct hook *k) {
    struct flight *f, *next;
    k->disabled = true;
    log_warn("webhook disabled", log_s("webhook", k->name), log_i("status", STATUS_GONE),
             log_s("detail", "it wants no more events; it is tried again after a restart or a reload"));
    DL_FOREACH_SAFE(k->flights, f, next) {
        if (!f->over)
            flight_free(f);
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
    struct hook *k = a->owner->closing ? NULL : find(a->owner, a->name);
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
    DL_FOREACH(w->hooks, k) {
        start_waiting(k);
        if (k->pending > 0)
            refill(k);
    }
}

/* Events */

static void on_recorded(int err, void *arg) {
    struct asking *a = arg;
    struct hook *k = a->owner->closing ? NULL : find(a->owner, a->name);
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
    return find(w, name) != NULL;
}

void webhooks_revived(struct webhooks *w, const char *name) {
    struct hook *k = find(w, name);
    if (!k)
        return;
    add_pending(k, 1);
    refill(k);
}

/* The configuration's webhooks */

static struct hook *hook_free(struct hook *k) {
    struct flight *f, *next;
    if (!k)
        return NULL;
    DL_FOREACH_SAFE(k->flights, f, next) {
        flight_free(f);
    }
    secret_wipe(&k->secret, sizeof k->secret);
    free(k->name);
    free(k->url);
    free(k->ca_file);
    free(k->tenant);
    free(k->retry_s);
    free(k);
    return NULL;
}

static int read_types(struct hook *k, const struct config_webhook *c, struct err_text *et) {
    k->types = c->events_count ? 0 : (1U << EVENT_TYPES) - 1;
    for (unsigned i = 0; i < c->events_count; i++) {
        unsigned matched = event_types_matching(c->events[i]);
        if (!matched)
            return err_say(et, E_INVAL, "events: \"%s\" matches no event type; e.g. call.*, push.*, receipt, device.*",
                           c->events[i]);
        k->types |= matched;
    }
    return 0;
}

static int hook_new(struct hook **kp, const struct config_webhook *c, struct err_text *et) {
    struct hook *k = calloc(1, sizeof *k);
    struct err_text why = {""};
    *kp = k;
    if (!k)
        return err_say(et, E_NOMEM, "out of memory");
    k->name = strdup(c->name);
    k->url = strdup(c->url);
    k->tenant = strdup(c->tenant);
    k->ca_file = c->ca_file[0] ? strdup(c->ca_file) : NULL;
    k->allow_private = c->allow_private;
    k->retry_count = c->retry_s_count;
    k->retry_s = calloc(c->retry_s_count + 1, sizeof *k->retry_s);
    if (!k->name || !k->url || !k->tenant || (c->ca_file[0] && !k->ca_file) || !k->retry_s)
        return err_say(et, E_NOMEM, "out of memory");
    for (unsigned i = 0; i < c->retry_s_count; i++)
        k->retry_s[i] = c->retry_s[i];
    int err = read_types(k, c, &why);
    if (err == 0)
        err = webhook_secret_read(&k->secret, c->secret_file, &why);
    return err == 0 ? 0 : err_say(et, err, "webhooks: %s: %s", c->name, why.s);
}

static int make_hooks(struct hook **list, const struct config *cfg, struct err_text *et) {
    int err = 0;
    for (unsigned i = 0; i < cfg->webhooks_count && err == 0; i++) {
        struct hook *k;
        err = hook_new(&k, &cfg->webhooks[i], et);
        if (k)
            DL_APPEND(*list, k);
    }
    return err;
}

static void free_hooks(struct hook **list) {
    struct hook *k, *next;
    DL_FOREACH_SAFE(*list, k, next) {
        DL_DELETE(*list, k);
        hook_free(k);
    }
}

int webhooks_check(const struct config *cfg, struct err_text *et) {
    struct hook *list = NULL;
    int err = make_hooks(&list, cfg, et);
    free_hooks(&list);
    return err;
}

static struct metric *counter(struct webhooks *w, const char *webhook, const char *result) {
    char labels[320];
    snprintf(labels, sizeof labels, "webhook=\"%s\",result=\"%s\"", webhook, result);
    return metrics_counter(w->d.metrics, "wakegate_webhook_deliveries_total",
                           "Attempts to deliver an event, and events that were dropped, by result.", labels);
}

static void adopt(struct webhooks *w, struct hook *k) {
    const struct hook *before = find(w, k->name);
    const struct pending *p = w->pending;
    char name[256], labels[300];
    k->owner = w;
    metrics_escape(name, sizeof name, k->name);
    snprintf(labels, sizeof labels, "webhook=\"%s\"", name);
    k->m_delivered = counter(w, name, "delivered");
    k->m_failed = counter(w, name, "failed");
    k->m_dead = counter(w, name, "dead");
    k->m_dropped = counter(w, name, "dropped");
    k->m_pending = metrics_gauge(w->d.metrics, "wakegate_webhook_pending",
                                 "Events that a webhook has not got yet, dead letters aside.", labels);
    while (p && strcmp(p->name, k->name) != 0)
        p = p->next;
    k->pending = before ? before->pending : p ? p->count : 0;
    metric_set(k->m_pending, (int64_t)k->pending);
}

int webhooks_load(struct webhooks *w, const struct config *cfg, struct err_text *et) {
    struct hook *list = NULL, *k;
    int err = make_hooks(&list, cfg, et);
    if (err != 0) {
        free_hooks(&list);
        return err;
    }
    DL_FOREACH(list, k) {
        adopt(w, k);
    }
    free_hooks(&w->hooks);
    w->hooks = list;
    if (list)
        uv_timer_start(&w->timer, on_tick, 0, TICK_MS);
    else
        uv_timer_stop(&w->timer);
    return 0;
}

/* Life */

static void note_pending(const char *webhook, uint64_t count, void *arg) {
    struct webhooks *w = arg;
    struct pending *p = calloc(1, sizeof *p);
    if (!p || !(p->name = strdup(webhook))) {
        free(p);
        return;
    }
    p->count = count;
    LL_PREPEND(w->pending, p);
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
    return store_delivery_counts(deps->store, note_pending, w);
}

void webhooks_close(struct webhooks *w) {
    if (w->closing)
        return;
    w->closing = true;
    free_hooks(&w->hooks);
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
