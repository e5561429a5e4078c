/* SPDX-License-Identifier: Apache-2.0 */
/* Very many TCP connections to one server, plain or over TLS, on one epoll: what a load needs of a client, at little
 * cost. Whatever fails ends the program with a sentence. Thread: one. */
#ifndef TESTS_BENCH_CONN_H
#define TESTS_BENCH_CONN_H

#include "base/addr.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct bench_net;
struct bench_conn;

struct bench_conn_ops {
    void (*up)(struct bench_conn *c, void *arg); /* connected, handshake done */
    /* What came and was not used yet. Returns how many bytes of it are used. */
    size_t (*input)(struct bench_conn *c, char *p, size_t len, void *arg);
    void (*down)(struct bench_conn *c, void *arg); /* the server closed it */
};

/* ca_file: PEM of the CA that the server's certificate is checked against; NULL: plain TCP. */
struct bench_net *bench_net_new(const struct addr *server, const char *ca_file);
/* Closes all connections, without callbacks. Returns NULL. */
struct bench_net *bench_net_free(struct bench_net *n);
/* Wait for at most so many milliseconds, and handle what is there. */
void bench_net_turn(struct bench_net *n, int timeout_ms);

/* ops and arg are kept. The connection lives as long as the net. */
struct bench_conn *bench_conn_new(struct bench_net *n, const struct bench_conn_ops *ops, void *arg);
void bench_conn_send(struct bench_conn *c, const void *p, size_t len);

#endif
