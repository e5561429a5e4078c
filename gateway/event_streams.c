/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/event_streams.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define PAGE_ROWS   128
#define CHUNK_BYTES 16384
#define TICK_MS     2000

/* An event as its listeners get it. */
struct kept {
    unsigned type; /* bit */
    char tenant[DEVICE_TENANT_BYTES];
    char *frame;
    size_t len;
};

struct listener {
    http_id id;
    char tenant[DEVICE_TENANT_BYTES], token_hash[SECRET_HASH_BYTES];
    char *principal;
    unsigned types;
    bool live, asked, ping, cut;
    uint64_t after;  /* until it is live: the last event that it has */
    uint64_t place;  /* then: the next of what is published */
    struct buf page; /* of the store, sent up to page_at */
    size_t page_at;
    uint64_t wrote_ms;
    UT_hash_handle hh;
};

struct event_streams {
    struct http *http;
    struct store *store;
    struct listener *listeners;
    struct kept kept[EVENT_STREAMS_KEPT]; /* the event with place p is at p % EVENT_STREAMS_KEPT */
    uint64_t end;                         /* the place that the next one gets */
    uv_timer_t timer;
    bool closing;
    struct metric *m_listeners, *m_slow;
};

/* A request to the store; the listener may be gone when the answer comes. */
struct asking {
    struct event_streams *streams;
    http_id id;
};

static struct listener *find(const struct event_streams *s, http_id id) {
    struct listener *l;
    HASH_FIND(hh, s->listeners, &id, sizeof id, l);
    return l;
}

static void cut(struct event_streams *s, struct listener *l) {
    l->cut = true;
    http_stream_cut(s->http, l->id);
}

static bool wants(const struct listener *l, const char *tenant, unsigned type) {
    return (l->types & type) && strcmp(l->tenant, tenant) == 0;
}

static void write_frame(struct buf *out, const struct event_row *row) {
    buf_addf(out, "id: %" PRIu64 "\nevent: %s\ndata: ", row->id, row->type);
    event_write(out, row);
    buf_adds(out, "\n\n");
}

/* From the store */

static void ask(struct event_streams *s, struct listener *l, bool first);

static struct listener *answered(struct asking *k, int err) {
    struct event_streams *s = k->streams;
    struct listener *l = find(s, k->id);
    free(k);
    if (!l || l->cut || s->closing)
        return NULL;
    l->asked = false;
    if (err == 0)
        return l;
    cut(s, l); /* it comes again, with what it has got */
    return NULL;
}

/* All answers of the store come in the order of the requests: what a page does not have is published after it. */
static void on_page(int err, const struct event_row *rows, size_t count, void *arg) {
    struct event_streams *s = ((struct asking *)arg)->streams;
    struct listener *l = answered(arg, err);
    if (!l)
        return;
    buf_reset(&l->page);
    l->page_at = 0;
    for (size_t i = 0; i < count; i++) {
        enum event_type type = event_type_by_name(rows[i].type);
        if (type < EVENT_TYPES && wants(l, rows[i].tenant, 1U << type))
            write_frame(&l->page, &rows[i]);
    }
    if (count > 0)
        l->after = rows[count - 1].id;
    if (count < PAGE_ROWS) {
        l->live = true;
        l->place = s->end;
        buf_adds(&l->page, ": live\n\n");
    }
    if (l->page.oom)
        cut(s, l);
    else
        http_stream_wake(s->http, l->id);
}

/* Events that the listener has not had may have been pruned: it is told. */
static void on_first(int err, const struct event_row *rows, size_t count, void *arg) {
    struct event_streams *s = ((struct asking *)arg)->streams;
    struct listener *l = answered(arg, err);
    if (!l)
        return;
    if (count > 0 && l->after + 1 < rows[0].id)
        buf_addf(&l->page, "event: events.pruned\ndata: {\"after\":%" PRIu64 ",\"first\":%" PRIu64 "}\n\n", l->after,
                 rows[0].id);
    http_stream_wake(s->http, l->id);
}

static void ask(struct event_streams *s, struct listener *l, bool first) {
    struct asking *k = calloc(1, sizeof *k);
    if (k)
        *k = (struct asking){s, l->id};
    l->asked = true;
    if (!k || (first ? store_event_first(s->store, on_first, k)
                     : store_event_list(s->store, l->tenant, l->after, PAGE_ROWS, on_page, k)) != 0) {
        free(k);
        cut(s, l);
    }
}

/* To the listener */

static void add_page(struct listener *l, struct buf *out) {
    size_t left = l->page.len - l->page_at, n = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    buf_add(out, l->page.p + l->page_at, n);
    l->page_at += n;
    if (l->page_at == l->page.len) {
        buf_free(&l->page);
        l->page_at = 0;
    }
}

static void add_kept(const struct event_streams *s, struct listener *l, struct buf *out, size_t limit) {
    while (l->place < s->end && out->len < limit) {
        const struct kept *k = &s->kept[l->place++ % EVENT_STREAMS_KEPT];
        if (wants(l, k->tenant, k->type))
            buf_add(out, k->frame, k->len);
    }
}

static void on_writable(http_id id, struct buf *out, void *arg) {
    struct event_streams *s = arg;
    struct listener *l = find(s, id);
    size_t before = out->len;
    if (!l || l->cut)
        return;
    if (l->page_at < l->page.len)
        add_page(l, out);
    if (l->live && l->page_at == l->page.len)
        add_kept(s, l, out, before + CHUNK_BYTES);
    else if (!l->live && !l->asked && l->page.len == 0)
        ask(s, l, false);
    if (out->len == before && l->ping)
        buf_adds(out, ": keep-alive\n\n");
    if (out->len > before)
        l->wrote_ms = clock_mono_ms();
    l->ping = false;
}

static void drop_kept(struct event_streams *s) {
    for (size_t i = 0; i < EVENT_STREAMS_KEPT; i++) {
        free(s->kept[i].frame);
        s->kept[i].frame = NULL;
    }
}

static void on_closed(http_id id, void *arg) {
    struct event_streams *s = arg;
    struct listener *l = find(s, id);
    if (!l)
        return;
    HASH_DEL(s->listeners, l);
    metric_set(s->m_listeners, (int64_t)HASH_COUNT(s->listeners));
    log_info("event listener left", log_s("token", l->principal));
    buf_free(&l->page);
    free(l->principal);
    free(l);
    if (s->listeners)
        return;
    drop_kept(s);
    if (!s->closing)
        uv_timer_stop(&s->timer);
}

static const struct httpd_stream_ops ops = {on_writable, on_closed};

static void on_tick(uv_timer_t *t) {
    struct event_streams *s = t->data;
    struct listener *l, *next;
    uint64_t now_ms = clock_mono_ms();
    HASH_ITER(hh, s->listeners, l, next) {
        http_stream_check(s->http, l->id);
        if (now_ms - l->wrote_ms < EVENT_STREAMS_KEEPALIVE_S * 1000ULL)
            continue;
        l->ping = true;
        http_stream_wake(s->http, l->id);
    }
}

static size_t count_of_token(const struct event_streams *s, const char *token_hash) {
    size_t n = 0;
    for (const struct listener *l = s->listeners; l; l = l->hh.next)
        n += strcmp(l->token_hash, token_hash) == 0;
    return n;
}

static struct listener *listener_new(const struct event_streams *s, http_id id, const struct event_listener *with) {
    struct listener *l = calloc(1, sizeof *l);
    if (!l || !(l->principal = strdup(with->principal))) {
        free(l);
        return NULL;
    }
    l->id = id;
    l->types = with->types;
    l->live = !with->resumes;
    l->after = with->after;
    l->place = s->end;
    l->wrote_ms = clock_mono_ms();
    snprintf(l->tenant, sizeof l->tenant, "%s", with->tenant);
    snprintf(l->token_hash, sizeof l->token_hash, "%s", with->token_hash);
    buf_adds(&l->page, with->resumes ? "retry: 2000\n\n" : "retry: 2000\n\n: live\n\n");
    return l;
}

int event_streams_open(struct event_streams *s, http_id id, const struct event_listener *with) {
    if (s->closing)
        return E_CLOSED;
    if (count_of_token(s, with->token_hash) >= EVENT_STREAMS_TOKEN_MAX)
        return E_FULL;
    struct listener *l = listener_new(s, id, with);
    int err = l ? http_stream(s->http, id, "text/event-stream", &ops, s) : E_NOMEM;
    if (err != 0) {
        if (l) {
            buf_free(&l->page);
            free(l->principal);
        }
        free(l);
        return err;
    }
    if (!s->listeners)
        uv_timer_start(&s->timer, on_tick, TICK_MS, TICK_MS);
    HASH_ADD(hh, s->listeners, id, sizeof l->id, l); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    metric_set(s->m_listeners, (int64_t)HASH_COUNT(s->listeners));
    log_info("event listener", log_s("token", l->principal), log_s("tenant", l->tenant),
             log_b("resumes", with->resumes), log_i("after", (int64_t)with->after));
    if (with->resumes)
        ask(s, l, true);
    return 0;
}

static void too_slow(struct event_streams *s, struct listener *l) {
    log_warn("event listener cut off", log_s("token", l->principal), log_i("behind", (int64_t)(s->end - l->place)),
             log_s("detail", "it reads too slowly; it may resume with Last-Event-ID"));
    metric_add(s->m_slow, 1);
    cut(s, l);
}

void event_streams_publish(struct event_streams *s, const struct event_row *row, enum event_type type) {
    struct listener *l, *next;
    struct buf frame = {0};
    if (!s->listeners)
        return;
    struct kept *k = &s->kept[s->end++ % EVENT_STREAMS_KEPT];
    write_frame(&frame, row);
    free(k->frame);
    k->len = frame.len;
    k->frame = buf_take(&frame);
    k->type = 1U << type;
    snprintf(k->tenant, sizeof k->tenant, "%s", row->tenant);
    HASH_ITER(hh, s->listeners, l, next) {
        bool wanted = wants(l, row->tenant, k->type);
        if (!l->live || l->cut)
            continue;
        if (!wanted && l->place == s->end - 1)
            l->place = s->end;
        else if (wanted && !k->frame)
            cut(s, l);
        else if (s->end - l->place > EVENT_STREAMS_KEPT)
            too_slow(s, l);
        else if (wanted)
            http_stream_wake(s->http, l->id);
    }
}

size_t event_streams_revoke(struct event_streams *s, const char *token_hash) {
    struct listener *l, *next;
    size_t n = 0;
    HASH_ITER(hh, s->listeners, l, next) {
        if (l->cut || strcmp(l->token_hash, token_hash) != 0)
            continue;
        log_info("event listener cut off", log_s("token", l->principal), log_s("detail", "its token was revoked"));
        cut(s, l);
        n++;
    }
    return n;
}

/* Life */

int event_streams_new(struct event_streams **sp, uv_loop_t *loop, struct store *store, struct metrics *m) {
    struct event_streams *s = calloc(1, sizeof *s);
    if (!s)
        return E_NOMEM;
    s->store = store;
    s->m_listeners = metrics_gauge(m, "wakegate_events_listeners", "Open streams of GET /v1/events.", "");
    s->m_slow = metrics_counter(m, "wakegate_events_slow_listeners_total",
                                "Streams that were cut off because their reader was too slow.", "");
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    *sp = s;
    return 0;
}

void event_streams_attach(struct event_streams *s, struct http *http) {
    s->http = http;
}

void event_streams_close(struct event_streams *s) {
    struct listener *l, *next;
    s->closing = true;
    uv_close((uv_handle_t *)&s->timer, NULL);
    HASH_ITER(hh, s->listeners, l, next) {
        http_stream_end(s->http, l->id);
    }
}

struct event_streams *event_streams_free(struct event_streams *s) {
    struct listener *l, *next;
    HASH_ITER(hh, s->listeners, l, next) {
        on_closed(l->id, s);
    }
    drop_kept(s);
    free(s);
    return NULL;
}
