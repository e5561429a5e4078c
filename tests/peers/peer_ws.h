/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket clients for simulated peers: libwebsockets on the caller's libuv loop. A server that is silent is asked by
 * a ping, and given up after 25 s without an answer. Thread: the loop's. */
#ifndef TESTS_PEERS_PEER_WS_H
#define TESTS_PEERS_PEER_WS_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct peer_net; /* shared by all connections of a program */
struct peer_ws;  /* one connection; lives until its closed callback has returned */

struct peer_ws_ops {
    void (*open)(void *arg);
    void (*text)(const char *p, size_t len, void *arg); /* one whole message, NUL behind it */
    void (*closed)(const char *why,
                   void *arg); /* once, also when the connection never opened, and after peer_ws_close */
};

/* ca_file: PEM that wss servers are verified with; NULL: the system's trust store. Returns 0 or E_IO. */
int peer_net_new(struct peer_net **np, uv_loop_t *loop, const char *ca_file);
/* Closes all connections without callbacks. The loop must still run until it is empty (libwebsockets stops it once in
 * between); then peer_net_free. */
void peer_net_close(struct peer_net *n);
struct peer_net *peer_net_free(struct peer_net *n);

/* url: ws://host:port/path or wss://. Returns 0, and ops->closed comes once, later; or E_INVAL, E_IO, E_NOMEM, and it
 * never comes. */
int peer_ws_connect(struct peer_ws **wp, struct peer_net *n, const char *url, const char *protocol,
                    const struct peer_ws_ops *ops, void *arg);
/* Queue one text message. */
void peer_ws_send(struct peer_ws *w, const char *p, size_t len);
/* Close after what is queued has left. */
void peer_ws_close(struct peer_ws *w);

#endif
