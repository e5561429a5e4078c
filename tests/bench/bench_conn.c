/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define EVENTS_MAX    256
#define READ_BYTES    16384
#define CHUNK_BYTES   16384 /* of one write */
#define ADDRESS_BYTES 64

struct bench_conn {
    struct bench_net *net;
    int fd;
    SSL *ssl;
    const struct bench_conn_ops *ops;
    void *arg;
    bool up;
    uint32_t waits; /* for these events */
    struct buf in, out;
    struct bench_conn *next;
};

struct bench_net {
    struct addr server;
    int epoll;
    SSL_CTX *tls;
    struct bench_conn *conns;
};

static void fail(const char *what) {
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

struct bench_net *bench_net_new(const struct addr *server, const char *ca_file) {
    struct bench_net *n = calloc(1, sizeof *n);
    if (!n || (n->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        fail("no epoll");
    n->server = *server;
    if (!ca_file)
        return n;
    n->tls = SSL_CTX_new(TLS_client_method());
    if (!n->tls || SSL_CTX_load_verify_locations(n->tls, ca_file, NULL) != 1)
        fail(ca_file);
    SSL_CTX_set_verify(n->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(n->tls,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return n;
}

static void conn_close(struct bench_conn *c) {
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_free(&c->in);
    buf_free(&c->out);
}

struct bench_net *bench_net_free(struct bench_net *n) {
    struct bench_conn *c, *next;
    LL_FOREACH_SAFE(n->conns, c, next) {
        conn_close(c);
        free(c);
    }
    SSL_CTX_free(n->tls);
    close(n->epoll);
    free(n);
    return NULL;
}

static void wait_for(struct bench_conn *c, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (events == c->waits)
        return;
    if (epoll_ctl(c->net->epoll, c->waits ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e) != 0)
        fail("epoll_ctl");
    c->waits = events;
}

struct bench_conn *bench_conn_new(struct bench_net *n, const struct bench_conn_ops *ops, void *arg) {
    struct bench_conn *c = calloc(1, sizeof *c);
    char ip[ADDR_STR_BYTES];
    int one = 1;
    if (!c)
        fail("no memory");
    *c = (struct bench_conn){.net = n, .ops = ops, .arg = arg};
    LL_PREPEND(n->conns, c);
    c->fd = socket(n->server.u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("no socket (is the limit of open files too low?)");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, &n->server.u.sa, addr_len(&n->server)) != 0 && errno != EINPROGRESS)
        fail("connect");
    if (n->tls) {
        c->ssl = SSL_new(n->tls);
        if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 ||
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), addr_ip(ip, &n->server)) != 1)
            fail("no TLS");
        SSL_set_connect_state(c->ssl);
    }
    wait_for(c, EPOLLOUT);
    return c;
}

/* Returns the number of bytes, 0 when it has to wait, -1 when the connection has ended. */
static int after_tls(struct bench_conn *c, int n) {
    int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_NONE || why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return n > 0 ? n : 0;
    ERR_clear_error();
    return -1;
}

static int conn_read(struct bench_conn *c, char *p, int len) {
    if (c->ssl)
        return after_tls(c, SSL_read(c->ssl, p, len));
    ssize_t n = recv(c->fd, p, (size_t)len, 0);
    return n > 0 ? (int)n : n < 0 && errno == EAGAIN ? 0 : -1;
}

static int conn_write(struct bench_conn *c, const char *p, int len) {
    if (c->ssl)
        return after_tls(c, SSL_write(c->ssl, p, len));
    ssize_t n = send(c->fd, p, (size_t)len, MSG_NOSIGNAL);
    return n > 0 ? (int)n : n < 0 && errno == EAGAIN ? 0 : -1;
}

static void flush(struct bench_conn *c) {
    size_t at = 0;
    int n = 0;
    while (at < c->out.len) {
        size_t left = c->out.len - at;
        n = conn_write(c, c->out.p + at, (int)(left < CHUNK_BYTES ? left : CHUNK_BYTES));
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    if (at == c->out.len)
        buf_free(&c->out);
    else
        buf_shift(&c->out, at);
    wait_for(c, c->out.len && n == 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void bench_conn_send(struct bench_conn *c, const void *p, size_t len) {
    if (c->fd < 0)
        return;
    buf_add(&c->out, p, len);
    if (c->up)
        flush(c);
}

static void come_up(struct bench_conn *c) {
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err) {
        errno = err;
        fail("connect");
    }
    if (c->ssl) {
        int n = SSL_do_handshake(c->ssl), why = SSL_get_error(c->ssl, n);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
            wait_for(c, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
            return;
        }
        if (n != 1)
            fail("TLS handshake");
    }
    c->up = true;
    c->ops->up(c, c->arg);
    flush(c);
}

static void take_input(struct bench_conn *c) {
    static char chunk[READ_BYTES];
    int n;
    while ((n = conn_read(c, chunk, sizeof chunk)) > 0)
        buf_add(&c->in, chunk, (size_t)n);
    while (c->in.len) {
        size_t used = c->ops->input(c, c->in.p, c->in.len, c->arg);
        if (used == 0)
            break;
        buf_shift(&c->in, used);
    }
    if (c->in.len == 0)
        buf_free(&c->in);
    if (n < 0) {
        conn_close(c);
        c->ops->down(c, c->arg);
    }
}

void bench_net_turn(struct bench_net *n, int timeout_ms) {
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(n->epoll, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct bench_conn *c = events[i].data.ptr;
        if (!c->up)
            come_up(c);
        if (c->up && c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            take_input(c);
        if (c->up && c->fd >= 0 && c->out.len && (events[i].events & EPOLLOUT))
            flush(c);
    }
}
