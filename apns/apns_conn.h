/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP and TLS connection to one APNs address on libuv, with its HTTP/2 session: DNS before each connect, certificate
 * and name verified, ALPN h2, back-off with jitter. Reconnects by itself until closed. Thread: the loop's. */
#ifndef APNS_APNS_CONN_H
#define APNS_APNS_CONN_H

#include "apns/apns_session.h"

#include <openssl/ssl.h>
#include <uv.h>

struct apns_conn;

struct apns_conn_ops {
    void (*up)(void *arg);   /* requests may be submitted */
    void (*room)(void *arg); /* the peer said something: a stream or window may have become free */
    void (*down)(void *arg); /* all that was under way and not answered is of unknown fate; a reconnect is planned */
    struct apns_session_ops session;
};

struct apns_conn_config {
    uv_loop_t *loop;
    SSL_CTX *ctx;            /* outlives the connection */
    const char *host, *name; /* copied by reference: outlive the connection */
    uint16_t port;
    struct apns_conn_ops ops;
    void *arg;
};

int apns_conn_new(struct apns_conn **cp, const struct apns_conn_config *cfg);
/* Asynchronous end: closed(arg) comes from the loop, the connection is then freed. No other callback comes any more. */
void apns_conn_close(struct apns_conn *c, void (*closed)(void *arg), void *arg);
/* NULL while not up. */
struct apns_session *apns_conn_session(const struct apns_conn *c);
/* Write out what the session has to say; call after submitting. */
void apns_conn_flush(struct apns_conn *c);
/* Give this connection up and dial anew (after a reason that says so). What is under way has a moment to be answered
 * first; new requests wait for the next connection. Also from inside a session callback. */
void apns_conn_renew(struct apns_conn *c);

#endif
