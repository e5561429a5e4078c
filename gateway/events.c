/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/events.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "gateway/event_streams.h"
#include "gateway/webhooks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define AGAIN_MAX 20000 /* events that wait for a store that takes writes again, some 400 bytes each */
#define AGAIN_MS  200

static const struct {
    const char *name;
    unsigned scope;
    /* It has happened, whatever becomes of the store's row; else a write that fails undoes it. */
    bool stands;
} types[EVENT_TYPES] = {
    [EVENT_CALL_RINGING] = {"call.ringing", CONFIG_SCOPE_CALLS, false},
    [EVENT_CALL_ANSWERED] = {"call.answered", CONFIG_SCOPE_CALLS, true},
    [EVENT_CALL_ACTIVE] = {"call.active", CONFIG_SCOPE_CALLS, true},
    [EVENT_CALL_ENDED] = {"call.ended", CONFIG_SCOPE_CALLS, true},
    [EVENT_PUSH_ACCEPTED] = {"push.accepted", CONFIG_SCOPE_CALLS, true},
    [EVENT_PUSH_REJECTED] = {"push.rejected", CONFIG_SCOPE_CALLS, true},
    [EVENT_PUSH_OUTCOME] = {"push.outcome", CONFIG_SCOPE_CALLS, true},
    [EVENT_PUSH_UNHEARD] = {"push.unheard", CONFIG_SCOPE_CALLS, true},
    [EVENT_RECEIPT] = {"receipt", CONFIG_SCOPE_CALLS, true},
    [EVENT_DEVICE_REGISTERED] = {"device.registered", CONFIG_SCOPE_DEVICES, false},
    [EVENT_DEVICE_UPDATED] = {"device.updated", CONFIG_SCOPE_DEVICES, false},
    [EVENT_DEVICE_HEALTH] = {"device.health", CONFIG_SCOPE_DEVICES, false},
    [EVENT_DEVICE_DELETED] = {"device.deleted", CONFIG_SCOPE_DEVICES, false},
};

/* Between events_add and its commit. */
struct event {
    struct events *owner;
    enum event_type type;
    uint64_t id, at_ms;
    char tenant[DEVICE_TENANT_BYTES];
    char *data;
    struct event *prev, *next; /* in again */
};

struct events {
    struct store *store;
    struct event_streams *streams;
    struct webhooks *webhooks;
    struct store_event_state state;
    struct event *again; /* those that the store refused and that stand */
    size_t again_count;
    uv_timer_t timer; /* runs while there are such */
    bool closing;
    struct metric *m_types[EVENT_TYPES], *m_lost;
};

const char *event_type_name(enum event_type t) {
    return types[t].name;
}

enum event_type event_type_by_name(const char *name) {
    int t = 0;
    while (t < EVENT_TYPES && strcmp(types[t].name, name) != 0)
        t++;
    return (enum event_type)t;
}

unsigned event_types_matching(const char *pattern) {
    unsigned bits = 0;
    for (int t = 0; t < EVENT_TYPES; t++)
        bits |= glob_match(pattern, types[t].name) ? 1U << t : 0;
    return bits;
}

unsigned event_types_of_scopes(unsigned scopes) {
    unsigned bits = 0;
    for (int t = 0; t < EVENT_TYPES; t++)
        bits |= types[t].scope & scopes ? 1U << t : 0;
    return bits;
}

void event_write(struct buf *out, const struct event_row *row) {
    char at[CLOCK_RFC3339_BYTES];
    buf_addf(out, "{\"id\":%" PRIu64 ",\"type\":\"%s\",\"timestamp\":\"%s\",\"data\":", row->id, row->type,
             clock_rfc3339(at, row->at_ms));
    buf_adds(out, row->data);
    buf_adds(out, "}");
}

/* Writing */

static void event_free(struct event *ev) {
    free(ev->data);
    free(ev);
}

static void lose(struct events *e, struct event *ev) {
    metric_add(e->m_lost, 1);
    event_free(ev);
}

static struct event_row row_of(const struct event *ev) {
    return (struct event_row){ev->id, ev->tenant, types[ev->type].name, ev->at_ms, ev->data};
}

static void on_again(uv_timer_t *t);

static void wait_for_store(struct events *e, struct event *ev) {
    if (e->again_count == AGAIN_MAX) {
        lose(e, ev);
        return;
    }
    DL_APPEND(e->again, ev);
    e->again_count++;
    if (!e->closing && !uv_is_active((uv_handle_t *)&e->timer))
        uv_timer_start(&e->timer, on_again, AGAIN_MS, AGAIN_MS);
}

static void on_stored(int err, void *arg) {
    struct event *ev = arg;
    struct events *e = ev->owner;
    if (err != 0 && types[ev->type].stands) {
        wait_for_store(e, ev);
        return;
    }
    if (err == 0) {
        struct event_row row = row_of(ev);
        metric_add(e->m_types[ev->type], 1);
        event_streams_publish(e->streams, &row, ev->type);
    }
    event_free(ev);
}

/* Ids are given here and not before: they have the order of the commits. */
static void submit(struct events *e, struct event *ev) {
    ev->id = ++e->state.last;
    struct event_row row = row_of(ev);
    if (store_event_put(e->store, &row, on_stored, ev) != 0)
        lose(e, ev);
    else if (e->webhooks)
        webhooks_record(e->webhooks, &row, ev->type);
}

static void on_again(uv_timer_t *t) {
    struct events *e = t->data;
    struct event *all = e->again, *ev, *next;
    if (!store_ok(e->store))
        return;
    uv_timer_stop(t);
    e->again = NULL;
    e->again_count = 0;
    DL_FOREACH_SAFE(all, ev, next) {
        submit(e, ev);
    }
}

void events_add(struct events *e, enum event_type type, const char *tenant, json_t *data) {
    struct event *ev = e ? calloc(1, sizeof *ev) : NULL;
    char *text = ev && data ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    if (!text) {
        free(ev);
        if (e)
            metric_add(e->m_lost, 1);
        return;
    }
    *ev = (struct event){.owner = e, .type = type, .at_ms = clock_wall_ms(), .data = text};
    snprintf(ev->tenant, sizeof ev->tenant, "%s", tenant);
    if (e->again && types[type].stands) /* not before those that came first */
        wait_for_store(e, ev);
    else
        submit(e, ev);
}

/* Life */

static void make_metrics(struct events *e, struct metrics *m) {
    char label[48];
    for (int t = 0; t < EVENT_TYPES; t++) {
        snprintf(label, sizeof label, "type=\"%s\"", types[t].name);
        e->m_types[t] = metrics_counter(m, "wakegate_events_total", "Events that are in the store.", label);
    }
    e->m_lost =
        metrics_counter(m, "wakegate_events_lost_total", "Events for which there was no memory or no store.", "");
}

int events_new(struct events **ep, uv_loop_t *loop, struct store *store, struct metrics *m, struct err_text *et) {
    struct events *e = calloc(1, sizeof *e);
    if (!e || event_streams_new(&e->streams, loop, store, m) != 0) {
        free(e);
        return err_say(et, E_NOMEM, "out of memory");
    }
    e->store = store;
    make_metrics(e, m);
    uv_timer_init(loop, &e->timer);
    e->timer.data = e;
    *ep = e; /* the handles belong to the loop: events_close and events_free end it, whatever follows */
    return store_event_state(store, &e->state, et);
}

void events_attach_http(struct events *e, struct http *http) {
    event_streams_attach(e->streams, http);
}

void events_attach_webhooks(struct events *e, struct webhooks *w) {
    e->webhooks = w;
}

void events_close(struct events *e) {
    if (e->closing)
        return;
    e->closing = true;
    if (e->again)
        on_again(&e->timer);
    uv_close((uv_handle_t *)&e->timer, NULL);
    event_streams_close(e->streams);
}

struct events *events_free(struct events *e) {
    struct event *ev, *next;
    if (!e)
        return NULL;
    if (e->again_count)
        log_error("events lost", log_i("count", (int64_t)e->again_count),
                  log_s("detail", "the database took no writes until the end"));
    DL_FOREACH_SAFE(e->again, ev, next) {
        event_free(ev);
    }
    e->streams = event_streams_free(e->streams);
    free(e);
    return NULL;
}

uint64_t events_last_id(const struct events *e) {
    return e->state.last;
}

const char *events_source(const struct events *e) {
    return e->state.source;
}

struct event_streams *events_streams(const struct events *e) {
    return e->streams;
}
