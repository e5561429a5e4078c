/* SPDX-License-Identifier: Apache-2.0 */
/* The server on a loop of this file, and a client that is a plain socket on the loopback. */
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

#define WAIT_MS     3000
#define BODY_MAX    64
#define MESSAGE_MAX 100
#define QUEUE_MAX   256
#define SUBPROTOCOL "wakegate.v1"
#define GET_WS(path)                                                                                                   \
    "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                                \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

struct world {
    uv_loop_t loop;
    struct httpd *httpd;
    int fd;
    struct buf in; /* what the client received */
    bool eof, done, keep;
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

static void on_writable(http_id id, struct buf *out, void *arg) {
    static const char piece[1024] = "piece";
    struct world *w = arg;
    assert_true(id == w->id);
    for (size_t n = 0; n < 16 && w->to_write > 0; n++, w->to_write--) {
        buf_add(out, piece, sizeof piece);
        w->written += sizeof piece;
    }
}

static void on_stream_closed(http_id id, void *arg) {
    struct world *w = arg;
    assert_true(id == w->id);
    w->stream_closed++;
}

static const struct httpd_stream_ops stream_ops = {on_writable, on_stream_closed};

static void copy(char *out, size_t cap, const char *s) {
    snprintf(out, cap, "%s", s);
}

static void on_request(const struct httpd_request *r, void *arg) {
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

static void on_refused(http_id id, int status, const char *detail, void *arg) {
    struct world *w = arg;
    w->refusals++;
    w->refused_status = status;
    httpd_reply(w->httpd, id, status, "text/plain", detail, strlen(detail), NULL, 0);
}

static void on_open(ws_id id, const struct addr *peer, void *arg) {
    struct world *w = arg;
    assert_true(addr_is_loopback(peer));
    w->opened++;
    w->ws = id;
}

static void on_text(ws_id id, const char *p, size_t len, void *arg) {
    struct world *w = arg;
    assert_true(id == w->ws);
    assert_int_equal(p[len], 0);
    w->texts++;
    copy(w->text, sizeof w->text, p);
}

static void on_binary(ws_id id, const uint8_t *p, size_t len, void *arg) {
    struct world *w = arg;
    (void)p;
    assert_true(id == w->ws);
    assert_int_equal(len, 3);
    w->binaries++;
}

static void on_closed(ws_id id, void *arg) {
    struct world *w = arg;
    assert_true(id == w->ws);
    w->closed++;
}

static void on_done(void *arg) {
    ((struct world *)arg)->done = true;
}

static void pump(struct world *w) {
    char chunk[4096];
    uv_run(&w->loop, UV_RUN_NOWAIT);
    ssize_t n = w->fd < 0 ? -1 : recv(w->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0)
        buf_add(&w->in, chunk, (size_t)n);
    else if (n == 0 || (w->fd >= 0 && errno != EAGAIN && errno != EINTR))
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

static void settle(struct world *w, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until)
        pump(w);
}

static bool has(const struct world *w, const char *text) {
    return w->in.p && memmem(w->in.p, w->in.len, text, strlen(text));
}

static void say(struct world *w, const void *p, size_t len) {
    assert_int_equal(send(w->fd, p, len, MSG_NOSIGNAL), len);
}

static void say_text(struct world *w, const char *text) {
    say(w, text, strlen(text));
}

static void dial(struct world *w) {
    const struct addr *a = httpd_address(w->httpd);
    if (w->fd >= 0)
        close(w->fd);
    buf_reset(&w->in);
    w->eof = false;
    w->fd = socket(a->u.sa.sa_family, SOCK_STREAM, 0);
    assert_true(w->fd >= 0);
    assert_int_equal(connect(w->fd, &a->u.sa, addr_len(a)), 0);
}

static struct world *world_new(void) {
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

static void world_free(struct world *w) {
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

static void a_free_port_is_taken_and_told(void **state) {
    struct world *w = world_new();
    (void)state;
    assert_int_not_equal(addr_port(httpd_address(w->httpd)), 0);
    world_free(w);
}

static void a_get_comes_whole_and_its_reply_goes_back(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "GET /v1/calls/a%20b?x=1&limit=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n");
    wait_for(w, has(w, "hello"));
    assert_int_equal(w->requests, 1);
    assert_string_equal(w->method, "GET");
    assert_string_equal(w->path, "/v1/calls/a b");
    assert_string_equal(w->authorization, "Bearer t");
    assert_true(w->has_arg);
    assert_string_equal(w->arg, "5");
    assert_string_equal(w->body, "");
    assert_memory_equal(w->in.p, "HTTP/1.1 200", 12);
    assert_true(has(w, "content-length: 5\r\n"));
    assert_true(has(w, "content-type: text/plain\r\n"));
    assert_true(has(w, "etag: \"7\"\r\n"));
    world_free(w);
}

static void a_parameter_that_does_not_fit_is_cut(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "GET /?limit=12345678901234567890123456789012 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, has(w, "hello"));
    assert_true(w->has_arg);
    assert_string_equal(w->arg, "1234567890123456789012345678901");
    world_free(w);
}

static void an_absent_parameter_is_told_from_one_with_a_longer_name(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "GET /?limits=5&xlimit=6 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, has(w, "hello"));
    assert_false(w->has_arg);
    assert_string_equal(w->arg, "");
    world_free(w);
}

static void a_body_comes_whole_though_it_was_sent_in_parts(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    settle(w, 20);
    assert_int_equal(w->requests, 0);
    say_text(w, "def");
    settle(w, 20);
    say_text(w, "ghi");
    wait_for(w, has(w, "hello"));
    assert_int_equal(w->requests, 1);
    assert_string_equal(w->method, "POST");
    assert_string_equal(w->body, "abcdefghi");
    world_free(w);
}

static void a_connection_serves_one_request_after_the_other(void **state) {
    struct world *w = world_new();
    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        say_text(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_for(w, w->requests == i && has(w, "hello"));
        buf_reset(&w->in);
    }
    assert_false(w->eof);
    world_free(w);
}

static void a_reply_may_come_later(void **state) {
    struct world *w = world_new();
    (void)state;
    w->keep = true;
    say_text(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, w->requests == 1);
    settle(w, 20);
    assert_int_equal(w->in.len, 0);
    httpd_reply(w->httpd, w->id, 204, NULL, NULL, 0, NULL, 0);
    httpd_reply(w->httpd, w->id, 500, NULL, NULL, 0, NULL, 0); /* a second one is none */
    wait_for(w, has(w, "\r\n\r\n"));
    assert_memory_equal(w->in.p, "HTTP/1.1 204", 12);
    assert_false(has(w, "500"));
    world_free(w);
}

static void a_reply_to_a_client_that_went_away_is_harmless(void **state) {
    struct world *w = world_new();
    (void)state;
    w->keep = true;
    say_text(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(w, w->requests == 1);
    close(w->fd);
    w->fd = -1;
    settle(w, 50);
    httpd_reply(w->httpd, w->id, 200, "text/plain", "x", 1, NULL, 0);
    settle(w, 20);
    world_free(w);
}

static struct world *streaming(const char *method) {
    struct world *w = world_new();
    char request[64];
    w->streams = true;
    snprintf(request, sizeof request, "%s / HTTP/1.1\r\nHost: x\r\n\r\n", method);
    say_text(w, request);
    wait_for(w, has(w, "\r\n\r\n"));
    return w;
}

static void a_stream_goes_out_as_it_comes_and_ends_with_the_connection(void **state) {
    struct world *w = streaming("GET");
    (void)state;
    assert_true(has(w, "content-type: text/event-stream\r\n") && has(w, "etag: \"7\"\r\n"));
    assert_false(has(w, "content-length"));
    settle(w, 20);
    buf_reset(&w->in);
    for (size_t n = 1; n <= 3; n++) {
        w->to_write = 100;
        httpd_stream_wake(w->httpd, w->id);
        wait_for(w, w->in.len == n * 102400);
        settle(w, 10);
    }
    assert_false(w->eof);
    w->to_write = 100;
    httpd_stream_end(w->httpd, w->id);
    wait_for(w, w->eof);
    assert_int_equal(w->in.len, 409600);
    assert_int_equal(w->stream_closed, 1);
    httpd_stream_wake(w->httpd, w->id); /* a stale id is harmless */
    httpd_stream_end(w->httpd, w->id);
    httpd_stream_cut(w->httpd, w->id);
    world_free(w);
}

static void a_stream_waits_for_a_reader_that_does_not_read(void **state) {
    struct world *w = streaming("GET");
    (void)state;
    w->to_write = 65536; /* 64 MiB */
    httpd_stream_wake(w->httpd, w->id);
    for (int i = 0; i < 200; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        usleep(200);
    }
    assert_true(w->written < 8000000); /* what two kernels' buffers have room for */
    assert_int_equal(w->stream_closed, 0);
    httpd_stream_cut(w->httpd, w->id);
    wait_for(w, w->stream_closed == 1);
    world_free(w);
}

static void a_reader_that_leaves_is_found_out(void **state) {
    struct world *w = streaming("GET");
    (void)state;
    httpd_stream_check(w->httpd, w->id);
    settle(w, 20);
    assert_int_equal(w->stream_closed, 0);
    close(w->fd);
    w->fd = -1;
    settle(w, 20);
    httpd_stream_check(w->httpd, w->id);
    wait_for(w, w->stream_closed == 1);
    world_free(w);
}

static void a_head_request_gets_the_head_of_a_stream(void **state) {
    struct world *w = streaming("HEAD");
    (void)state;
    w->to_write = 1;
    wait_for(w, w->eof);
    assert_true(has(w, "text/event-stream"));
    assert_false(has(w, "piece"));
    assert_int_equal(w->stream_closed, 1);
    world_free(w);
}

static void a_stream_is_closed_with_the_server(void **state) {
    struct world *w = streaming("GET");
    unsigned *closed = &w->stream_closed;
    (void)state;
    httpd_close(w->httpd, on_done, w);
    assert_int_equal(*closed, 1);
    wait_for(w, w->done);
    close(w->fd);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    buf_free(&w->in);
    free(w);
}

static void assert_refused(const char *request, int status) {
    char head[32];
    struct world *w = world_new();
    snprintf(head, sizeof head, "HTTP/1.1 %d", status);
    say_text(w, request);
    wait_for(w, has(w, "\r\n\r\n"));
    assert_int_equal(w->requests, 0);
    assert_int_equal(w->refusals, 1);
    assert_int_equal(w->refused_status, status);
    assert_memory_equal(w->in.p, head, strlen(head));
    wait_for(w, w->eof);
    world_free(w);
}

static void a_body_over_the_limit_is_refused_with_413(void **state) {
    (void)state;
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n", 413);
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413);
}

static void a_chunked_body_is_refused_with_411(void **state) {
    (void)state;
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 411);
}

static void a_post_without_a_length_is_refused_with_411(void **state) {
    (void)state;
    assert_refused("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411);
}

static void upgrade(struct world *w) {
    say_text(w, GET_WS("/v1/attach") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
    wait_for(w, has(w, "\r\n\r\n"));
    assert_memory_equal(w->in.p, "HTTP/1.1 101", 12);
    wait_for(w, w->opened == 1);
    buf_reset(&w->in);
}

/* One masked frame (RFC 6455 5.2), of less than 126 bytes. */
static void say_frame(struct world *w, uint8_t first, const char *text) {
    uint8_t frame[256] = {first, (uint8_t)(0x80 | strlen(text)), 1, 2, 3, 4};
    size_t len = strlen(text);
    assert_true(len < 126);
    for (size_t i = 0; i < len; i++)
        frame[6 + i] = (uint8_t)text[i] ^ frame[2 + i % 4];
    say(w, frame, 6 + len);
}

/* RFC 6455 1.3: the answer to the sample's key. */
static void an_upgrade_with_the_subprotocol_opens_a_websocket(void **state) {
    struct world *w = world_new();
    (void)state;
    say_text(w, GET_WS("/v1/attach") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
    wait_for(w, has(w, "\r\n\r\n"));
    assert_true(has(w, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_true(has(w, SUBPROTOCOL));
    world_free(w);
}

static void assert_no_upgrade(const char *request) {
    struct world *w = world_new();
    say_text(w, request);
    wait_for(w, w->eof || has(w, "\r\n\r\n"));
    settle(w, 20);
    assert_false(has(w, "HTTP/1.1 101"));
    assert_int_equal(w->opened, 0);
    world_free(w);
}

static void an_upgrade_without_the_subprotocol_is_refused(void **state) {
    (void)state;
    assert_no_upgrade(GET_WS("/v1/attach") "\r\n");
    assert_no_upgrade(GET_WS("/v1/attach") "Sec-WebSocket-Protocol: chat\r\n\r\n");
    assert_no_upgrade(GET_WS("/v1/attach") "Sec-WebSocket-Protocol: http\r\n\r\n");
}

static void an_upgrade_of_another_path_is_refused(void **state) {
    (void)state;
    assert_no_upgrade(GET_WS("/") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
    assert_no_upgrade(GET_WS("/v1/attach/x") "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
}

static void messages_pass_both_ways(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    say_frame(w, 0x81, "hello");
    wait_for(w, w->texts == 1);
    assert_string_equal(w->text, "hello");
    say_frame(w, 0x82, "bin");
    wait_for(w, w->binaries == 1);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "you", 3, false), 0);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "b", 1, true), 0);
    wait_for(w, w->in.len >= 8);
    assert_memory_equal(w->in.p,
                        "\x81\x03you\x82\x01"
                        "b",
                        8);
    world_free(w);
}

static void a_message_in_fragments_comes_whole(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    say_frame(w, 0x01, "one ");
    say_frame(w, 0x00, "two ");
    settle(w, 20);
    assert_int_equal(w->texts, 0);
    say_frame(w, 0x80, "three");
    wait_for(w, w->texts == 1);
    assert_string_equal(w->text, "one two three");
    world_free(w);
}

static void a_message_over_the_limit_closes_with_1009(void **state) {
    char text[MESSAGE_MAX + 2];
    struct world *w = world_new();
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    upgrade(w);
    say_frame(w, 0x81, text);
    wait_for(w, w->in.len >= 4);
    assert_int_equal(w->texts, 0);
    assert_int_equal((uint8_t)w->in.p[0], 0x88);
    assert_int_equal((uint8_t)w->in.p[2] << 8 | (uint8_t)w->in.p[3], 1009);
    say_frame(w, 0x88, "\x03\xf1");
    wait_for(w, w->closed == 1);
    world_free(w);
}

static void what_is_queued_leaves_before_the_close(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "last", 4, false), 0);
    httpd_ws_close(w->httpd, w->ws, 4001, "bye");
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "late", 4, false), E_NOTFOUND);
    wait_for(w, w->in.len >= 13);
    assert_memory_equal(w->in.p,
                        "\x81\x04last\x88\x05\x0f\xa1"
                        "bye",
                        13);
    say_frame(w, 0x88, "\x0f\xa1");
    wait_for(w, w->closed == 1);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, "x", 1, false), E_NOTFOUND);
    assert_int_equal(w->closed, 1);
    world_free(w);
}

static void a_full_queue_closes_the_connection(void **state) {
    static const char big[QUEUE_MAX - 10];
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, big, sizeof big, true), 0);
    assert_int_equal(httpd_ws_send(w->httpd, w->ws, big, sizeof big, true), E_FULL);
    wait_for(w, w->closed == 1);
    world_free(w);
}

static void a_client_that_goes_away_is_told_once(void **state) {
    struct world *w = world_new();
    (void)state;
    upgrade(w);
    close(w->fd);
    w->fd = -1;
    wait_for(w, w->closed == 1);
    settle(w, 20);
    assert_int_equal(w->closed, 1);
    world_free(w);
}

static void what_keeps_it_from_starting_is_told(void **state) {
    struct world *w = world_new();
    char listen[ADDR_STR_BYTES];
    struct err_text et = {""};
    struct httpd *second = NULL;
    (void)state;
    struct httpd_config cfg = {.loop = &w->loop,
                               .listen = addr_str(listen, httpd_address(w->httpd)),
                               .ws_path = "/",
                               .ws_protocol = SUBPROTOCOL};
    assert_int_equal(httpd_start(&second, &cfg, &et), E_IO);
    assert_non_null(strstr(et.s, listen));
    assert_non_null(strstr(et.s, "cannot listen"));
    cfg.listen = "nowhere";
    assert_int_equal(httpd_start(&second, &cfg, &et), E_MALFORMED);
    cfg.listen = "127.0.0.1:0";
    cfg.certificate_file = cfg.key_file = "/dev/null"; /* there, but no certificate */
    assert_int_equal(httpd_start(&second, &cfg, &et), E_IO);
    assert_non_null(strstr(et.s, "the certificate or its key cannot be used"));
    assert_null(second);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_free_port_is_taken_and_told),
        cmocka_unit_test(a_get_comes_whole_and_its_reply_goes_back),
        cmocka_unit_test(a_parameter_that_does_not_fit_is_cut),
        cmocka_unit_test(an_absent_parameter_is_told_from_one_with_a_longer_name),
        cmocka_unit_test(a_body_comes_whole_though_it_was_sent_in_parts),
        cmocka_unit_test(a_connection_serves_one_request_after_the_other),
        cmocka_unit_test(a_reply_may_come_later),
        cmocka_unit_test(a_reply_to_a_client_that_went_away_is_harmless),
        cmocka_unit_test(a_stream_goes_out_as_it_comes_and_ends_with_the_connection),
        cmocka_unit_test(a_stream_waits_for_a_reader_that_does_not_read),
        cmocka_unit_test(a_reader_that_leaves_is_found_out),
        cmocka_unit_test(a_head_request_gets_the_head_of_a_stream),
        cmocka_unit_test(a_stream_is_closed_with_the_server),
        cmocka_unit_test(a_body_over_the_limit_is_refused_with_413),
        cmocka_unit_test(a_chunked_body_is_refused_with_411),
        cmocka_unit_test(a_post_without_a_length_is_refused_with_411),
        cmocka_unit_test(an_upgrade_with_the_subprotocol_opens_a_websocket),
        cmocka_unit_test(an_upgrade_without_the_subprotocol_is_refused),
        cmocka_unit_test(an_upgrade_of_another_path_is_refused),
        cmocka_unit_test(messages_pass_both_ways),
        cmocka_unit_test(a_message_in_fragments_comes_whole),
        cmocka_unit_test(a_message_over_the_limit_closes_with_1009),
        cmocka_unit_test(what_is_queued_leaves_before_the_close),
        cmocka_unit_test(a_full_queue_closes_the_connection),
        cmocka_unit_test(a_client_that_goes_away_is_told_once),
        cmocka_unit_test(what_keeps_it_from_starting_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
