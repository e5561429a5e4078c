/* SPDX-License-Identifier: Apache-2.0 */
/* The client without sockets: time, addresses and bytes in; dials, bytes and results out. It owns queues, lanes,
 * provider tokens, retries and hedges, and what becomes of a push; whoever holds the sockets does what the ops ask for.
 * Contracts of pushes and results: apns.h. Thread: one. */
#ifndef APNS_APNS_CORE_H
#define APNS_APNS_CORE_H

#include "apns/apns.h"
#include "apns/apns_address.h"
#include "apns/apns_token.h"

#include <sys/types.h>

struct apns_core;
struct apns_link; /* one connection; lives until hang_up or apns_link_closed, and may then be dialled again */

struct apns_core_ops {
    /* Look the name up, ask apns_link_choose, connect with TLS, then apns_link_connected; or apns_link_closed.
     * Returns 0, or E_NOMEM: it is asked again later. */
    int (*dial)(struct apns_link *l, void *arg);
    /* It has something to write: call apns_link_output soon, until it gives 0. Not from inside. */
    void (*flush)(struct apns_link *l, void *arg);
    /* Close its socket, if any; the link must not be named any more. */
    void (*hang_up)(struct apns_link *l, void *arg);
};
/* They come from inside the functions below and may call none of them. */

/* m may be NULL. Returns 0 or E_NOMEM. */
int apns_core_new(struct apns_core **kp, const struct apns_core_ops *ops, void *arg, struct metrics *m);
void apns_core_set_alarm(struct apns_core *k, apns_alarm_cb cb, void *arg);
/* What time it is; before any of the calls below. It may stand still, monotonic time does not go back. */
void apns_core_time(struct apns_core *k, const struct apns_time *now);
/* No new pushes: E_CLOSED. */
void apns_core_drain(struct apns_core *k);
/* Hang up everything; every push ends with E_CLOSED. */
void apns_core_stop(struct apns_core *k);
/* After apns_core_stop. Returns NULL. */
struct apns_core *apns_core_free(struct apns_core *k);
/* Do what is due. Call it at apns_core_next_ms or later (monotonic; UINT64_MAX: nothing to wait for), and sooner if you
 * like. */
void apns_core_step(struct apns_core *k);
uint64_t apns_core_next_ms(struct apns_core *k);
uint32_t apns_core_under_way(const struct apns_core *k);

/* Who sends where; strings are copied. key NULL: the connection's certificate speaks for us. */
struct apns_core_identity {
    const char *name, *host;
    uint16_t port;
    EVP_PKEY *key;
    const char *team_id, *key_id;
    unsigned ring_connections; /* 0: by the number of addresses */
    unsigned hedge_ms;         /* 0: 300 */
    bool open_probe;           /* from the start, not from the first probe on */
    void *owner;
};

/* The links dial from the next step on. Returns 0 or E_NOMEM. */
int apns_core_add(struct apns_core *k, struct apns_credential **cp, const struct apns_core_identity *id);
/* Another key or certificate (name, host and port stay): every link is replaced, and goes when its replacement is up.
 */
int apns_core_reload(struct apns_credential *c, const struct apns_core_identity *id);
/* It takes no further pushes (E_CLOSED) and has no pair any more; those that it has go on. */
void apns_core_retire(struct apns_credential *c);
/* No push is at it, or is to come back to it. */
bool apns_core_unused(const struct apns_credential *c);
/* Of one that is retired and unused: hang up, and free it. Not from inside. */
void apns_core_remove(struct apns_credential *c);
/* b NULL: a has no pair any more. */
void apns_core_pair(struct apns_credential *a, struct apns_credential *b);
bool apns_core_ready(const struct apns_credential *c);
void *apns_core_owner(const struct apns_credential *c);
void *apns_core_arg(const struct apns_core *k); /* as given to apns_core_new */
struct apns_core *apns_core_of(const struct apns_credential *c);
struct apns_token *apns_core_token(const struct apns_credential *c); /* NULL with a certificate */
/* Say it through the alarm callback and the log, unless it was said a moment ago. */
void apns_core_alarm(struct apns_credential *c, enum apns_alarm alarm, const char *sentence);

int apns_core_push(struct apns_credential *c, const struct apns_push *in, apns_result_cb cb, void *arg,
                   apns_push_id *id, struct err_text *et);
int apns_core_withdraw(struct apns_credential *c, apns_push_id id);

/* Links */

struct apns_credential *apns_link_credential(const struct apns_link *l);
enum apns_lane apns_link_lane(const struct apns_link *l);
bool apns_link_is_up(const struct apns_link *l);
void apns_link_set_socket(struct apns_link *l, void *socket); /* the owner's own pointer */
void *apns_link_socket(const struct apns_link *l);
/* Which of 1..APNS_ADDRESS_MAX addresses to connect to, and not before *wait_ms. Returns the index. */
unsigned apns_link_choose(struct apns_link *l, const struct addr *list, unsigned count, uint64_t *wait_ms);
/* TLS is up, with ALPN h2; tls: for the log. Returns 0, or E_NOMEM: then apns_link_closed. */
int apns_link_connected(struct apns_link *l, const char *tls);
/* Bytes from the peer. Returns 0, or E_CLOSED: then apns_link_closed. The link may be hung up inside. */
int apns_link_input(struct apns_link *l, const uint8_t *p, size_t len);
/* Bytes for the peer, as in apns_session_output. */
ssize_t apns_link_output(struct apns_link *l, const uint8_t **p);
/* All input of this moment is in: submit what waits, see whether the link is through. It may be hung up inside. */
void apns_link_settle(struct apns_link *l);
/* The connection failed or ended; not for one that was hung up. what: the step, detail: why; for the log. */
void apns_link_closed(struct apns_link *l, const char *what, const char *detail);

#endif
