/* SPDX-License-Identifier: Apache-2.0 */
/* A relay between client and server that can hold back, slow down and cut what the server says. */
#ifndef TESTS_UNIT_APNS_SIM_RELAY_FIXTURE_H
#define TESTS_UNIT_APNS_SIM_RELAY_FIXTURE_H

#include "base/addr.h"
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <uv.h>

#include <cmocka.h>

#define SLOW_MS        10
#define TLS_HEAD_BYTES 5

enum relay_mode { RELAY_PASS, RELAY_HOLD, RELAY_SLOW };

struct relay;

struct pair {
    struct pair *prev, *next;
    struct relay *r;
    uv_tcp_t client, server;
    uv_connect_t connect;
    unsigned open;
    bool closing;
    struct buf held; /* what the server said and the client has not got */
    char read_buffer[65536];
};

struct relay {
    uv_tcp_t tcp;
    uv_timer_t slow;
    struct addr target;
    uint16_t port;
    enum relay_mode mode;
    struct pair *pairs;
    unsigned accepted;
};

static inline void on_half_closed(uv_handle_t *h) {
    struct pair *p = h->data;
    if (--p->open > 0)
        return;
    buf_free(&p->held);
    free(p);
}

static inline void pair_close(struct pair *p) {
    if (p->closing)
        return;
    p->closing = true;
    DL_DELETE(p->r->pairs, p);
    uv_close((uv_handle_t *)&p->client, on_half_closed);
    uv_close((uv_handle_t *)&p->server, on_half_closed);
}

struct relay_write {
    uv_write_t req;
    char p[];
};

static inline void on_relay_written(uv_write_t *req, int status) {
    (void)status;
    free(req);
}

static inline void relay_send(uv_tcp_t *to, const char *p, size_t len) {
    struct relay_write *w = malloc(sizeof *w + len);
    uv_buf_t b = uv_buf_init(w->p, (unsigned)len);
    memcpy(w->p, p, len);
    if (uv_write(&w->req, (uv_stream_t *)to, &b, 1, on_relay_written) != 0)
        free(w);
}

static inline void release(struct pair *p, size_t len) {
    if (len == 0)
        return;
    relay_send(&p->client, p->held.p, len);
    buf_shift(&p->held, len);
}

static inline void on_slow(uv_timer_t *t) {
    struct relay *r = t->data;
    struct pair *p;
    DL_FOREACH(r->pairs, p) {
        const uint8_t *head = (const uint8_t *)p->held.p;
        size_t record = p->held.len < TLS_HEAD_BYTES ? 0 : TLS_HEAD_BYTES + (size_t)(head[3] << 8 | head[4]);
        if (r->mode == RELAY_PASS)
            release(p, p->held.len);
        else if (r->mode == RELAY_SLOW && record && record <= p->held.len)
            release(p, record);
    }
}

static inline void on_relay_read(uv_stream_t *from, ssize_t n, const uv_buf_t *b) {
    struct pair *p = from->data;
    if (n < 0) {
        pair_close(p);
    } else if (from == (uv_stream_t *)&p->client) {
        relay_send(&p->server, b->base, (size_t)n);
    } else {
        buf_add(&p->held, b->base, (size_t)n);
        if (p->r->mode == RELAY_PASS)
            release(p, p->held.len);
    }
}

static inline void on_relay_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b) {
    struct pair *p = h->data;
    (void)suggested;
    *b = uv_buf_init(p->read_buffer, sizeof p->read_buffer);
}

static inline void on_relay_connected(uv_connect_t *req, int status) {
    struct pair *p = req->data;
    if (status == UV_ECANCELED)
        return;
    if (status != 0) {
        pair_close(p);
        return;
    }
    uv_read_start((uv_stream_t *)&p->client, on_relay_alloc, on_relay_read);
    uv_read_start((uv_stream_t *)&p->server, on_relay_alloc, on_relay_read);
}

static inline void on_relay_accept(uv_stream_t *server, int status) {
    struct relay *r = server->data;
    struct pair *p = calloc(1, sizeof *p);
    assert_int_equal(status, 0);
    p->r = r;
    p->open = 2;
    p->client.data = p->server.data = p->connect.data = p;
    uv_tcp_init(server->loop, &p->client);
    uv_tcp_init(server->loop, &p->server);
    uv_tcp_nodelay(&p->server, 1);
    DL_APPEND(r->pairs, p);
    r->accepted++;
    uv_accept(server, (uv_stream_t *)&p->client);
    uv_tcp_nodelay(&p->client, 1); /* or slow records would come together */
    uv_tcp_connect(&p->connect, &p->server, &r->target.u.sa, on_relay_connected);
}

static inline void relay_start(struct relay *r, uv_loop_t *loop, const struct addr *target) {
    struct addr a;
    struct sockaddr_storage bound;
    int len = sizeof bound;
    r->target = *target;
    addr_parse(&a, "127.0.0.1", 0);
    uv_tcp_init(loop, &r->tcp);
    r->tcp.data = r;
    assert_int_equal(uv_tcp_bind(&r->tcp, &a.u.sa, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&r->tcp, 16, on_relay_accept), 0);
    uv_tcp_getsockname(&r->tcp, (struct sockaddr *)&bound, &len);
    addr_from_sockaddr(&a, (struct sockaddr *)&bound);
    r->port = addr_port(&a);
    uv_timer_init(loop, &r->slow);
    r->slow.data = r;
    uv_timer_start(&r->slow, on_slow, SLOW_MS, SLOW_MS);
}

/* What the client says stays in its socket, or is read on. */
static inline void relay_read(struct relay *r, bool on) {
    struct pair *p;
    DL_FOREACH(r->pairs, p) {
        if (on)
            uv_read_start((uv_stream_t *)&p->client, on_relay_alloc, on_relay_read);
        else
            uv_read_stop((uv_stream_t *)&p->client);
    }
}

static inline void relay_cut(struct relay *r) {
    struct pair *p, *next;
    DL_FOREACH_SAFE(r->pairs, p, next) {
        pair_close(p);
    }
}

#endif
