/* SPDX-License-Identifier: Apache-2.0 */
/* The way through an HTTP proxy, without a socket (CONNECT, RFC 9110 9.3.6): what to ask it for, and whether it opened
 * the way. Thread: any. */
#ifndef APNS_APNS_PROXY_H
#define APNS_APNS_PROXY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define APNS_PROXY_ANSWER_MAX_BYTES 4096 /* of its head; they have some hundred */
#define APNS_PROXY_LOGIN_MAX_BYTES  255  /* user and password together */

/* Zeroed: none. */
struct apns_proxy {
    char *host; /* NULL: none */
    uint16_t port;
    char *login; /* the value of Proxy-Authorization, or NULL; secret */
};

/* From "host:port" ("[::1]:3128" for IPv6), and a user and password for basic authentication (RFC 7617), or NULL. *p is
 * to be wiped in any case. Returns 0, E_NOMEM, or E_INVAL with a sentence. */
int apns_proxy_parse(struct apns_proxy *p, const char *text, const char *user, const char *password,
                     struct err_text *et);
/* A copy of its own. Returns 0 or E_NOMEM: then it is none. */
int apns_proxy_copy(struct apns_proxy *out, const struct apns_proxy *p);
/* Frees what it holds, the login wiped: it is none then. */
void apns_proxy_wipe(struct apns_proxy *p);

/* The request for a way to host (a name or an address, without brackets) and port, into out. Returns its length, or
 * E_FULL. It carries the login: wipe it after use. */
int apns_proxy_ask(char *out, size_t cap, const struct apns_proxy *p, const char *host, uint16_t port);

/* The answer as far as it is here. Zeroed: nothing. */
struct apns_proxy_answer {
    size_t len;
    char head[APNS_PROXY_ANSWER_MAX_BYTES];
};

/* The next bytes from the proxy. Returns 0 when the way is open: *used of these bytes were the answer's, what follows
 * comes from the other end. E_AGAIN: the answer goes on. Else the connection is of no use, and et says why, for the
 * log: E_MALFORMED (no HTTP), E_DENIED (another status than 2xx), E_FULL (too long). */
int apns_proxy_read(struct apns_proxy_answer *a, const char *p, size_t len, size_t *used, struct err_text *et);

#endif
