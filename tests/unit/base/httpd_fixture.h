/* SPDX-License-Identifier: Apache-2.0 */
/* The server on a loop of this file, and a client that is a plain socket on the loopback. */
#ifndef TESTS_UNIT_BASE_HTTPD_FIXTURE_H
#define TESTS_UNIT_BASE_HTTPD_FIXTURE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/httpd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS        3000
#define BODY_MAX       64
#define MESSAGE_MAX    100
#define QUEUE_MAX      256
#define QUEUE_MESSAGES 8
#define ANSWER_MS      300
#define SUBPROTOCOL    "wakegate.v1"
#define GET_WS(path)                                                                                                   \
    "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                                \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

struct world {
    uv_loop_t loop;
    struct httpd *httpd;
    int fd;
    struct buf in; /* what the client received */
    bool eof, done, keep;
    bool deaf;      /* the client does not read */
    bool delivered; /* as the server said when the WebSocket was closed */
    /* The last request, and the last WebSocket: */
    unsigned requests, refusals, opened, closed, texts, binaries;
    int refused_status;
    http_id id;
    ws_id ws;
    char method[16], path[128], body[BODY_MAX + 1], authorization[64], arg[32], text[MESSAGE_MAX + 1];
    bool has_arg;
    /* The stream that a request gets: */
    bool streams;
    size_t to_write; /* pieces */
    size_t written;  /* bytes */
    unsigned stream_closed;
};

static inline void on_writable(http_id id, struct buf *out, void *arg) {
    static const char piece[1024] = "piece";
    struct world *w = arg;
    assert_true(id == w->id);
    for (size_t n = 0; n < 16 && w->to_write > 0; n++, w->to_write--) {
        buf_add(out, piece, sizeof piece);
        w->written += sizeof piece;
    }
}

static inline void on_stream_closed(http_id id, void *arg) {
    struct world *w = arg;
    assert_true(id == w->id);
    w->stream_closed++;
}

static const struct httpd_stream_ops stream_ops = {on_writable, on_stream_closed};

static inline void copy(char *out, size_t cap, const char *s) {
    snprintf(out, cap, "%s", s);
}

static inline void on_request(const struct httpd_request *r, void *arg) {
    static const struct http_header extra[] = {{"etag", "\"7\""}};
    struct world *w = arg;
    w->requests++;
    w->id = r->id;
    copy(w->method, sizeof w->method, r->method);
    copy(w->path, sizeof w->path, r->path);
    copy(w->body, sizeof w->body, r->body);
    copy(w->authorization, sizeof w->authorization, r->authorization);
    w->has_arg = httpd_arg(r, "limit", w->arg, sizeof w->arg);
    assert_int_equal(r->body[r->body_len], 0);
    if (w->streams)
        assert_int_equal(httpd_stream(w->httpd, r->id, "text/event-stream", extra, 1, &stream_ops, w), 0);
    else if (!w->keep)
        httpd_reply(w->httpd, r->id, 200, "text/plain", "hello", 5, extra, 1);
}

static inline void on_refused(http_id id, int status, const char *detail, void *arg) {
    struct world *w = arg;
    w->refusals++;
    w->refused_status = status;
    httpd_reply(w->httpd, id, status, "text/plain", detail, strlen(detail), NULL, 0);
}

static inline void on_open(ws_id id, const struct addr *peer, void *arg) {
    struct world *w = arg;
    assert_true(addr_is_loopback(peer));
    w->opened++;
    w->ws = id;
}

static inline void on_text(ws_id id, const char *p, size_t len, void *arg) {
    struct world *w = arg;
    assert_true(id == w->ws);
    assert_int_equal(p[len], 0);
    w->texts++;
    copy(w->text, sizeof w->text, p);
}

static inline void on_binary(ws_id id, const uint8_t *p, size_t len, void *arg) {
    struct world *w = arg;
    (void)p;
    assert_true(id == w->ws);
    assert_int_equal(len, 3);
    w->binaries++;
}

static inline void on_closed(ws_id id, void *arg) {
    struct world *w = arg;
    assert_true(id == w->ws);
    w->closed++;
    w->delivered = httpd_ws_delivered(w->httpd, id);
}

static inline void on_done(void *arg) {
    ((struct world *)arg)->done = true;
}

static inline void pump(struct world *w) {
    char chunk[4096];
    uv_run(&w->loop, UV_RUN_NOWAIT);
    ssize_t n = w->fd < 0 || w->deaf ? -1 : recv(w->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0)
        buf_add(&w->in, chunk, (size_t)n);
    else if (n == 0 || (w->fd >= 0 && !w->deaf && errno != EAGAIN && errno != EINTR))
        w->eof = true;
    else
        usleep(200);
}

#define wait_for(w, condition)                                                                                         \
    do {                                                                                                               \
        uint64_t until = clock_mono_ms() + WAIT_MS;                                                                    \
        while (!(condition) && clock_mono_ms() < until)                                                                \
            pump(w);                                                                                                   \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void settle(struct world *w, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until)
        pump(w);
}

static inline bool has(const struct world *w, const char *text) {
    return w->in.p && memmem(w->in.p, w->in.len, text, strlen(text));
}

static inline void say(struct world *w, const void *p, size_t len) {
    assert_int_equal(send(w->fd, p, len, MSG_NOSIGNAL), len);
}

static inline void say_text(struct world *w, const char *text) {
    say(w, text, strlen(text));
}

static inline void dial(struct world *w) {
    const struct addr *a = httpd_address(w->httpd);
    if (w->fd >= 0)
        close(w->fd);
    buf_reset(&w->in);
    w->eof = false;
    w->fd = socket(a->u.sa.sa_family, SOCK_STREAM, 0);
    assert_true(w->fd >= 0);
    assert_int_equal(connect(w->fd, &a->u.sa, addr_len(a)), 0);
}

static inline struct world *world_with_pings(unsigned ping_ms) {
    struct world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    assert_non_null(w);
    w->fd = -1;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    struct httpd_config cfg = {.loop = &w->loop,
                               .listen = "127.0.0.1:0",
                               .body_max_bytes = BODY_MAX,
                               .message_max_bytes = MESSAGE_MAX,
                               .queue_max_bytes = QUEUE_MAX,
                               .queue_max_messages = QUEUE_MESSAGES,
                               .answer_max_ms = ANSWER_MS,
                               .ping_ms = ping_ms,
                               .request = on_request,
                               .refused = on_refused,
                               .ws_path = "/v1/attach",
                               .ws_protocol = SUBPROTOCOL,
                               .ws = {on_open, on_text, on_binary, on_closed},
                               .arg = w};
    if (httpd_start(&w->httpd, &cfg, &et) != 0)
        fail_msg("%s", et.s);
    dial(w);
    return w;
}

static inline struct world *world_new(void) {
    return world_with_pings(0);
}

static inline void world_free(struct world *w) {
    httpd_close(w->httpd, on_done, w);
    wait_for(w, w->done);
    if (w->fd >= 0)
        close(w->fd);
    while (uv_run(&w->loop, UV_RUN_NOWAIT) != 0)
        ;
    assert_int_equal(uv_loop_close(&w->loop), 0);
    buf_free(&w->in);
    free(w);
}

#endif
