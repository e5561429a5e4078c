/* SPDX-License-Identifier: Apache-2.0 */
/* One dial of a link on libuv: DNS, TCP, an HTTP proxy if there is one, TLS with the certificate and name verified and
 * ALPN h2; then bytes both ways between socket and link. The only file pair with sockets. Thread: the loop's. */
#ifndef APNS_APNS_CONN_H
#define APNS_APNS_CONN_H

#include "apns/apns_core.h"
#include "apns/apns_proxy.h"

#include <openssl/ssl.h>
#include <uv.h>

struct apns_conn;

/* How a credential's connections are made; owned by the credential. */
struct apns_route {
    SSL_CTX *ctx;
    char *host;
    uint16_t port;
    struct apns_proxy proxy;
};

#define APNS_CONN_READ_BYTES  32768
#define APNS_CONN_PLAIN_BYTES 16384 /* one TLS record */

/* What the connections of a client share. */
struct apns_conns {
    uv_loop_t *loop;
    struct apns_core *core;
    unsigned open;
    struct apns_conn *dirty; /* these have something to write */
    void (*gone)(void *arg); /* one was closed and freed */
    void *arg;
    /* One connection at a time uses these; shared, they stay in the processor's cache. */
    size_t plain_len;
    uint8_t plain[APNS_CONN_PLAIN_BYTES]; /* on its way into TLS */
    char read_buffer[APNS_CONN_READ_BYTES];
};

/* Tell the core what time it is. */
void apns_conns_tick(struct apns_conns *all);
/* Write what the links have to say. */
void apns_conns_flush(struct apns_conns *all);

/* The route outlives the dial's start; what it holds is taken over. Failures are told to the link later. Returns 0 or
 * E_NOMEM: then nothing will be told. */
int apns_conn_dial(struct apns_conns *all, const struct apns_route *route, struct apns_link *l);
/* The link has something to say. */
void apns_conn_touch(struct apns_conn *c);
/* Close; the link is named no more. */
void apns_conn_hang_up(struct apns_conn *c);

#endif
