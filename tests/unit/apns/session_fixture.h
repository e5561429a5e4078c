/* SPDX-License-Identifier: Apache-2.0 */
/* The session against nghttp2 as a server; the bytes are carried by hand. */
#ifndef TESTS_UNIT_APNS_SESSION_FIXTURE_H
#define TESTS_UNIT_APNS_SESSION_FIXTURE_H

#include "apns/apns_session.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUESTS_MAX 64
#define HEADERS_MAX  16

struct header {
    char name[32], value[256];
    bool never_indexed;
};

/* One request as the server sees it. */
struct seen {
    int32_t id;
    struct header headers[HEADERS_MAX];
    size_t header_count, body_len;
    bool ended;
    uint32_t reset_code;
};

struct reply {
    char body[8192];
    size_t len, at;
};

struct world {
    struct apns_session *client;
    nghttp2_session *server;
    struct seen seen[REQUESTS_MAX];
    size_t seen_count;
    struct reply reply;
    unsigned answered, lost, refused, goaways;
    int status;
    char reason[128], apns_id[64], goaway[256];
    uint64_t timestamp_ms;
    const void *last_tag;
    bool room_inside;
};

/* The server */

static inline struct seen *seen_of(struct world *w, int32_t id) {
    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i].id == id)
            return &w->seen[i];
    assert_true(w->seen_count < REQUESTS_MAX);
    w->seen[w->seen_count].id = id;
    return &w->seen[w->seen_count++];
}

static inline int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                            const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
    struct seen *s = seen_of(arg, frame->hd.stream_id);
    (void)h2;
    assert_true(s->header_count < HEADERS_MAX);
    struct header *h = &s->headers[s->header_count++];
    snprintf(h->name, sizeof h->name, "%.*s", (int)name_len, (const char *)name);
    snprintf(h->value, sizeof h->value, "%.*s", (int)value_len, (const char *)value);
    h->never_indexed = flags & NGHTTP2_NV_FLAG_NO_INDEX;
    return 0;
}

static inline int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t len, void *arg) {
    (void)h2;
    (void)flags;
    (void)p;
    seen_of(arg, id)->body_len += len;
    return 0;
}

static inline int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    struct world *w = arg;
    (void)h2;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        seen_of(w, frame->hd.stream_id)->reset_code = frame->rst_stream.error_code;
    else if (frame->hd.stream_id && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        seen_of(w, frame->hd.stream_id)->ended = true;
    return 0;
}

static inline void start_server(struct world *w) {
    nghttp2_session_callbacks *cbs;
    nghttp2_option *option;
    nghttp2_session_callbacks_new(&cbs);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    assert_int_equal(nghttp2_session_server_new2(&w->server, cbs, w, option), 0);
    nghttp2_session_callbacks_del(cbs);
    nghttp2_option_del(option);
}

static inline void say_settings(struct world *w, uint32_t streams) {
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams};
    assert_int_equal(nghttp2_submit_settings(w->server, NGHTTP2_FLAG_NONE, &entry, 1), 0);
}

static inline ssize_t read_reply(nghttp2_session *h2, int32_t id, uint8_t *out, size_t cap, uint32_t *flags,
                                 nghttp2_data_source *source, void *arg) {
    struct reply *r = source->ptr;
    (void)h2;
    (void)id;
    (void)arg;
    size_t n = r->len - r->at < cap ? r->len - r->at : cap;
    memcpy(out, r->body + r->at, n);
    r->at += n;
    if (r->at == r->len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static inline nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

/* Bytes */

static inline bool to_server(struct world *w) {
    const uint8_t *p;
    ssize_t n;
    bool any = false;
    while ((n = apns_session_output(w->client, &p)) > 0) {
        assert_int_equal(nghttp2_session_mem_recv(w->server, p, (size_t)n), n);
        any = true;
    }
    return any;
}

static inline bool to_client(struct world *w) {
    const uint8_t *p;
    ssize_t n;
    bool any = false;
    while ((n = nghttp2_session_mem_send(w->server, &p)) > 0) {
        assert_int_equal(apns_session_input(w->client, p, (size_t)n), 0);
        any = true;
    }
    return any;
}

static inline void pump(struct world *w) {
    bool any = true;
    while (any) {
        any = to_server(w);
        any = to_client(w) || any;
    }
}

static inline void respond(struct world *w, int32_t id, const char *status, const char *body) {
    nghttp2_nv nv[] = {field(":status", status), field("apns-id", "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11")};
    nghttp2_data_provider data = {.source.ptr = &w->reply, .read_callback = read_reply};
    w->reply.at = 0;
    w->reply.len = strlen(body);
    memcpy(w->reply.body, body, w->reply.len);
    assert_int_equal(nghttp2_submit_response(w->server, id, nv, 2, *body ? &data : NULL), 0);
    pump(w);
}

/* The client */

static inline void on_answered(void *tag, const struct apns_answer *a, void *arg) {
    struct world *w = arg;
    w->answered++;
    w->last_tag = tag;
    w->status = a->status;
    w->timestamp_ms = a->timestamp_ms;
    w->room_inside = w->room_inside || apns_session_has_room(w->client, 1);
    snprintf(w->reason, sizeof w->reason, "%s", a->reason);
    snprintf(w->apns_id, sizeof w->apns_id, "%s", a->apns_id);
}

static inline void on_lost(void *tag, bool refused, void *arg) {
    struct world *w = arg;
    w->lost++;
    w->refused += refused;
    w->last_tag = tag;
}

static inline void on_goaway(const char *reason, void *arg) {
    struct world *w = arg;
    w->goaways++;
    snprintf(w->goaway, sizeof w->goaway, "%s", reason);
}

static const struct apns_session_ops ops = {on_answered, on_lost, on_goaway};

static const char payload[5001] = "{}";

static inline struct apns_request request(size_t payload_len) {
    return (struct apns_request){.authority = "api.push.apple.com",
                                 .token = "00ff",
                                 .authorization = "bearer a.b.c",
                                 .topic = "com.example.app.voip",
                                 .push_type = "voip",
                                 .priority = "10",
                                 .expiration = "0",
                                 .apns_id = "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11",
                                 .payload = payload,
                                 .payload_len = payload_len};
}

static inline int submit(struct world *w, size_t payload_len) {
    struct apns_request r = request(payload_len);
    return apns_session_submit(w->client, &r, w);
}

static inline int setup(void **state) {
    struct world *w = *state = calloc(1, sizeof *w);
    start_server(w);
    return apns_session_new(&w->client, &ops, w);
}

static inline int teardown(void **state) {
    struct world *w = *state;
    w->client = apns_session_free(w->client);
    nghttp2_session_del(w->server);
    free(w);
    return 0;
}

/* Up, and the provider token accepted: one request was answered. */
static inline void prove(struct world *w, uint32_t streams) {
    say_settings(w, streams);
    pump(w);
    assert_int_equal(submit(w, 2), 0);
    pump(w);
    respond(w, w->seen[0].id, "200", "");
    assert_int_equal(w->answered, 1);
    w->answered = 0;
}

static inline unsigned fill(struct world *w, size_t payload_len) {
    unsigned n = 0;
    while (n < REQUESTS_MAX && submit(w, payload_len) == 0)
        n++;
    return n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
