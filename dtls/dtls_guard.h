/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps strangers cheap: DTLS cookies without state (RFC 6347 4.2.1), and a budget for each source. One guard for
 * each worker, of one size for its whole life. Owner: its worker. Thread: the worker's. */
#ifndef DTLS_DTLS_GUARD_H
#define DTLS_DTLS_GUARD_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTLS_COOKIE_BYTES 20

/* A cookie: when it was made, and a MAC of that and of the address.
 *
 *   | milliseconds, modulo 2^32 (32) | HMAC-SHA256(secret, milliseconds, family, address, port), first 16 bytes |
 *
 * It is good for 15 s, and the secret for a minute, and then for another one for the cookies that are under way. */

struct dtls_guard;

/* Returns 0 or E_NOMEM. */
int dtls_guard_new(struct dtls_guard **gp, uint64_t now_ms);
struct dtls_guard *dtls_guard_free(struct dtls_guard *g);
/* May one more datagram go to this address, of which nothing is proved? 400 a second for each IPv4 address or IPv6 /64
 * network; sources that share a bucket of the table share its budget. */
bool dtls_guard_allows(struct dtls_guard *g, const struct addr *who, uint64_t now_ms);
void dtls_guard_cookie(struct dtls_guard *g, uint8_t out[static DTLS_COOKIE_BYTES], const struct addr *who,
                       uint64_t now_ms);
/* Returns the cookie's age in ms, which is at least the round trip, or E_AUTH, or E_EXPIRED. */
int dtls_guard_check(struct dtls_guard *g, const uint8_t *cookie, size_t len, const struct addr *who, uint64_t now_ms);
/* Does this datagram begin a DTLS ClientHello (RFC 6347 4.2.2), whole, and long enough that a HelloVerifyRequest is no
 * longer than it? */
bool dtls_guard_is_hello(const uint8_t *p, size_t len);

#endif
