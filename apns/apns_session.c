/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_session.h"

#include "apns/apns_mem.h"

#include <jansson.h>
#include <nghttp2/nghttp2.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define HEADERS_MAX         12
#define STREAMS_SPARE_MAX   1024 /* kept for the next requests: no allocation for each */
#define RETRY_AFTER_MAX_S   86400
#define UNIQUE_ID_MAX_BYTES 64

struct stream {
    struct stream *prev, *next;
    int32_t id;
    void *tag; /* NULL: given up */
    const char *payload;
    size_t payload_len, payload_at;
    int status;
    bool answered, refused;
    char apns_id[UUID_BYTES], unique_id[UNIQUE_ID_MAX_BYTES];
    uint32_t retry_after_s;
    size_t body_len;
    char body[APNS_RESPONSE_MAX_BYTES]; /* last: it is not cleared */
};

struct apns_session {
    nghttp2_session *h2;
    struct apns_mem memory; /* of h2 */
    struct apns_session_ops ops;
    void *arg;
    bool settings_seen, proven, going_away;
    bool inside; /* of nghttp2: a callback runs */
    struct stream *streams, *spare;
    unsigned spare_count;
    unsigned open_streams;
    size_t unsent_bytes; /* of payloads submitted */
    uint64_t requests;
};

static struct stream *stream_of(nghttp2_session *h2, int32_t id) {
    return nghttp2_session_get_stream_user_data(h2, id);
}

/* Retry-After in its first form (RFC 9110 10.2.3); a date counts as nothing. */
static uint32_t seconds(const char *text) {
    unsigned long n = strspn(text, "0123456789") == strlen(text) ? strtoul(text, NULL, 10) : 0;
    return n < RETRY_AFTER_MAX_S ? (uint32_t)n : RETRY_AFTER_MAX_S;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
    struct stream *st = stream_of(h2, frame->hd.stream_id);
    char text[UNIQUE_ID_MAX_BYTES];
    (void)flags;
    (void)arg;
    if (!st || value_len >= sizeof text)
        return 0;
    memcpy(text, value, value_len);
    text[value_len] = 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0)
        st->status = atoi(text);
    else if (name_len == 7 && memcmp(name, "apns-id", 7) == 0 && value_len < sizeof st->apns_id)
        memcpy(st->apns_id, text, value_len + 1);
    else if (name_len == 14 && memcmp(name, "apns-unique-id", 14) == 0)
        memcpy(st->unique_id, text, value_len + 1);
    else if (name_len == 11 && memcmp(name, "retry-after", 11) == 0)
        st->retry_after_s = seconds(text);
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t len, void *arg) {
    struct stream *st = stream_of(h2, id);
    (void)flags;
    (void)arg;
    if (st && len <= sizeof st->body - st->body_len) {
        memcpy(st->body + st->body_len, p, len);
        st->body_len += len;
    }
    return 0;
}

/* {"reason": "...", "timestamp": ...}; anything else counts as no reason. */
static json_t *parse_body(const char *p, size_t len, const char **reason, uint64_t *timestamp_ms) {
    json_t *o = len ? json_loadb(p, len, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(o, "reason"));
    json_t *timestamp = json_object_get(o, "timestamp");
    *reason = text ? text : "";
    *timestamp_ms =
        json_is_integer(timestamp) && json_integer_value(timestamp) > 0 ? (uint64_t)json_integer_value(timestamp) : 0;
    return o;
}

static void answer(struct apns_session *s, struct stream *st) {
    struct apns_answer a = {
        .status = st->status, .apns_id = st->apns_id, .unique_id = st->unique_id, .retry_after_s = st->retry_after_s};
    json_t *body = parse_body(st->body, st->body_len, &a.reason, &a.timestamp_ms);
    /* Any answer but one about the provider token proves the token good; a server in trouble proves nothing. */
    if (st->status < 500 && st->status != 403 &&
        !(st->status == 429 && strcmp(a.reason, "TooManyProviderTokenUpdates") == 0))
        s->proven = true;
    s->ops.answered(st->tag, &a, s->arg);
    json_decref(body);
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    struct apns_session *s = arg;
    struct stream *st = stream_of(h2, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        s->settings_seen = true;
    } else if (frame->hd.type == NGHTTP2_RST_STREAM && st) {
        st->refused = frame->rst_stream.error_code == NGHTTP2_REFUSED_STREAM;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        char text[256] = "";
        const char *reason;
        uint64_t timestamp_ms;
        size_t n = frame->goaway.opaque_data_len < sizeof text ? frame->goaway.opaque_data_len : sizeof text - 1;
        if (n)
            memcpy(text, frame->goaway.opaque_data, n);
        json_t *o = parse_body(text, n, &reason, &timestamp_ms);
        s->going_away = true;
        s->ops.goaway(*reason ? reason : text, s->arg);
        json_decref(o);
    } else if (st && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
               (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)) {
        st->answered = true;
    }
    return 0;
}

/* A body has room for what a strange server might say, so streams are large and kept for the next request. */
static struct stream *stream_get(struct apns_session *s) {
    struct stream *st = s->spare;
    if (st) {
        LL_DELETE(s->spare, st);
        s->spare_count--;
    } else {
        st = malloc(sizeof *st);
    }
    if (st)
        memset(st, 0, offsetof(struct stream, body));
    return st;
}

static void stream_put(struct apns_session *s, struct stream *st) {
    if (s->spare_count < STREAMS_SPARE_MAX) {
        LL_PREPEND(s->spare, st);
        s->spare_count++;
    } else {
        free(st);
    }
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg) {
    struct apns_session *s = arg;
    struct stream *st = stream_of(h2, id);
    if (!st)
        return 0;
    s->open_streams--;
    s->unsent_bytes -= st->payload_len - st->payload_at;
    DL_DELETE(s->streams, st);
    if (!st->tag)
        ;
    else if (st->answered && st->status)
        answer(s, st);
    else
        s->ops.lost(st->tag, st->refused || code == NGHTTP2_REFUSED_STREAM, s->arg);
    stream_put(s, st);
    return 0;
}

static ssize_t read_payload(nghttp2_session *h2, int32_t id, uint8_t *out, size_t cap, uint32_t *flags,
                            nghttp2_data_source *source, void *arg) {
    struct stream *st = source->ptr;
    struct apns_session *s = arg;
    (void)h2;
    (void)id;
    size_t n = st->payload_len - st->payload_at < cap ? st->payload_len - st->payload_at : cap;
    memcpy(out, st->payload + st->payload_at, n);
    st->payload_at += n;
    s->unsent_bytes -= n;
    if (st->payload_at == st->payload_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void *mem_get(size_t size, void *m) {
    return apns_mem_get(m, size);
}

static void mem_put(void *p, void *m) {
    apns_mem_put(m, p);
}

static void *mem_zeroed(size_t count, size_t size, void *m) {
    return apns_mem_zeroed(m, count, size);
}

static void *mem_resize(void *p, size_t size, void *m) {
    return apns_mem_resize(m, p, size);
}

int apns_session_new(struct apns_session **sp, const struct apns_session_ops *ops, void *arg) {
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_session_callbacks *cbs = NULL;
    nghttp2_option *option = NULL;
    struct apns_session *s = calloc(1, sizeof *s);
    int err = E_NOMEM;
    if (!s || nghttp2_session_callbacks_new(&cbs) != 0 || nghttp2_option_new(&option) != 0)
        goto out;
    s->ops = *ops;
    s->arg = arg;
    nghttp2_mem memory = {&s->memory, mem_get, mem_put, mem_zeroed, mem_resize}; /* copied */
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
    /* nghttp2's own default lets 100 streams out before the SETTINGS are here; APNs starts at one. */
    nghttp2_option_set_peer_max_concurrent_streams(option, 1);
    if (nghttp2_session_client_new3(&s->h2, cbs, s, option, &memory) == 0 &&
        nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, settings, 1) == 0)
        err = 0;
out:
    nghttp2_session_callbacks_del(cbs);
    nghttp2_option_del(option);
    if (err != 0)
        s = apns_session_free(s);
    *sp = s;
    return err;
}

struct apns_session *apns_session_free(struct apns_session *s) {
    if (!s)
        return NULL;
    struct stream *st, *next;
    nghttp2_session_del(s->h2); /* closes no streams: their state is freed here */
    DL_FOREACH_SAFE(s->streams, st, next) {
        free(st);
    }
    LL_FOREACH_SAFE(s->spare, st, next) {
        free(st);
    }
    apns_mem_free(&s->memory);
    free(s);
    return NULL;
}

bool apns_session_ready(const struct apns_session *s) {
    return s->settings_seen && !s->going_away;
}

void apns_session_trust(struct apns_session *s) {
    s->proven = true;
}

uint32_t apns_session_limit(const struct apns_session *s) {
    return s->proven ? nghttp2_session_get_remote_settings(s->h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) : 1;
}

uint32_t apns_session_open(const struct apns_session *s) {
    return s->open_streams;
}

int32_t apns_session_window(const struct apns_session *s) {
    return nghttp2_session_get_remote_window_size(s->h2);
}

void apns_session_ping(struct apns_session *s) {
    nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, NULL);
}

bool apns_session_has_room(const struct apns_session *s, size_t payload_len) {
    return apns_session_ready(s) && !s->inside && s->open_streams < apns_session_limit(s) &&
           apns_session_window(s) >= (int64_t)(s->unsent_bytes + payload_len) &&
           nghttp2_session_check_request_allowed(s->h2);
}

static nghttp2_nv field(const char *name, const char *value, bool index) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = index ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX};
}

int apns_session_submit(struct apns_session *s, const struct apns_request *r, void *tag) {
    char path[APNS_TOKEN_MAX_CHARS + 16];
    nghttp2_nv nv[HEADERS_MAX];
    size_t n = 0;
    if (!apns_session_has_room(s, r->payload_len))
        return s->going_away ? E_CLOSED : E_FULL;
    struct stream *st = stream_get(s);
    if (!st)
        return E_NOMEM;
    st->tag = tag;
    st->payload = r->payload;
    st->payload_len = r->payload_len;
    /* What differs in every push stays out of the peer's small HPACK table; the ids go in once, with the first request.
     */
    bool first = s->requests++ == 0;
    snprintf(path, sizeof path, "/3/device/%s", r->token);
    nv[n++] = field(":method", "POST", true);
    nv[n++] = field(":scheme", "https", true);
    nv[n++] = field(":path", path, false);
    nv[n++] = field(":authority", r->authority, true);
    if (r->authorization)
        nv[n++] = field("authorization", r->authorization, true);
    nv[n++] = field("apns-push-type", r->push_type, true);
    nv[n++] = field("apns-topic", r->topic, true);
    nv[n++] = field("apns-priority", r->priority, true);
    nv[n++] = field("apns-expiration", r->expiration, first);
    nv[n++] = field("apns-id", r->apns_id, first);
    if (r->collapse_id)
        nv[n++] = field("apns-collapse-id", r->collapse_id, first);
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_payload};
    int32_t id = nghttp2_submit_request(s->h2, NULL, nv, n, &body, st);
    if (id < 0) {
        stream_put(s, st);
        return id == NGHTTP2_ERR_NOMEM ? E_NOMEM : E_CLOSED;
    }
    st->id = id;
    s->open_streams++;
    s->unsent_bytes += r->payload_len;
    DL_APPEND(s->streams, st);
    return 0;
}

void apns_session_drain(struct apns_session *s) {
    s->going_away = true;
}

bool apns_session_idle(const struct apns_session *s) {
    return s->open_streams == 0;
}

void apns_session_forget(struct apns_session *s, const void *tag) {
    struct stream *st;
    DL_FOREACH(s->streams, st) {
        if (st->tag != tag)
            continue;
        st->tag = NULL;
        s->unsent_bytes -= st->payload_len - st->payload_at;
        st->payload_len = st->payload_at;
        nghttp2_submit_rst_stream(s->h2, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
        return;
    }
}

int apns_session_input(struct apns_session *s, const uint8_t *p, size_t len) {
    s->inside = true;
    ssize_t n = nghttp2_session_mem_recv(s->h2, p, len);
    s->inside = false;
    return n == (ssize_t)len ? 0 : E_CLOSED;
}

ssize_t apns_session_output(struct apns_session *s, const uint8_t **p) {
    s->inside = true;
    ssize_t n = nghttp2_session_mem_send(s->h2, p);
    s->inside = false;
    /* nghttp2 reports a peer that broke the protocol only so: its GOAWAY is out, and it reads no more. */
    bool over = n == 0 && !nghttp2_session_want_read(s->h2) && !nghttp2_session_want_write(s->h2);
    return n < 0 || over ? E_CLOSED : n;
}
