/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/media_plain.h"

#include "base/clock.h"
#include "dtls/dtls_guard.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define STRANGERS_MAX             256 /* unfinished handshakes; each takes some 75 KB */
#define STRANGERS_PER_NETWORK_MAX 64
#define DTLS_HANDSHAKE            22 /* content type (RFC 6347 4.1) */

/* Somebody who returned the cookie, and whose certificate is not known yet. */
struct stranger {
    struct media_worker *worker;
    struct addr src; /* hash key */
    struct dtls_session *dtls;
    media_id call; /* that the certificate is of; 0: not known */
    bool over;
    int err;
    UT_hash_handle hh;
};

struct media_plain {
    struct media_leg *waiting; /* in the order of their offers */
    unsigned waiting_count;
    struct media_leg *by_offered;
    struct stranger *strangers;
    struct stranger *listener; /* answers ClientHellos; becomes a stranger when one has the cookie */
    struct dtls_guard *guard;
};

int media_plain_new(struct media_plain **pp) {
    struct media_plain *p = calloc(1, sizeof *p);
    if (!p || dtls_guard_new(&p->guard, clock_mono_ms()) != 0) {
        free(p);
        return E_NOMEM;
    }
    *pp = p;
    return 0;
}

static struct stranger *stranger_free(struct stranger *s) {
    if (s)
        dtls_session_free(s->dtls);
    free(s);
    return NULL;
}

static void stranger_gone(struct stranger *s) {
    HASH_DEL(s->worker->plain->strangers, s);
    stranger_free(s);
}

void media_plain_close(struct media_plain *p) {
    while (p->strangers)
        stranger_gone(p->strangers);
    p->listener = stranger_free(p->listener);
}

struct media_plain *media_plain_free(struct media_plain *p) {
    if (p)
        dtls_guard_free(p->guard);
    free(p);
    return NULL;
}

/* Waiting legs */

void media_plain_wait(struct media_leg *leg) {
    struct media_plain *p = leg->call->worker->plain;
    struct media_leg *other;
    if (leg->waiting)
        return;
    leg->waiting = true;
    DL_APPEND2(p->waiting, leg, waits_before, waits_after);
    p->waiting_count++;
    if (!addr_is_set(&leg->offered))
        return;
    /* Of two that offered the same address, the one that is there: the port was used again. */
    HASH_FIND(by_offered, p->by_offered, &leg->offered, sizeof leg->offered, other);
    if (other)
        HASH_DELETE(by_offered, p->by_offered, other);
    HASH_ADD(by_offered, p->by_offered, offered, sizeof leg->offered, leg);
}

void media_plain_done(struct media_leg *leg) {
    struct media_plain *p = leg->call->worker->plain;
    struct media_leg *there = NULL;
    if (!leg->waiting)
        return;
    leg->waiting = false;
    DL_DELETE2(p->waiting, leg, waits_before, waits_after);
    p->waiting_count--;
    HASH_FIND(by_offered, p->by_offered, &leg->offered, sizeof leg->offered, there);
    if (there == leg)
        HASH_DELETE(by_offered, p->by_offered, leg);
}

bool media_plain_may_call(struct media_worker *w, const struct addr *to) {
    return dtls_guard_allows(w->plain->guard, to, w->now_ms);
}

static struct media_leg *leg_at(const struct media_plain *p, const struct addr *src) {
    struct media_leg *leg;
    HASH_FIND(by_offered, p->by_offered, src, sizeof *src, leg);
    return leg;
}

/* The leg that this certificate and this address are of; NULL when there is none, or more than one. */
static struct media_leg *leg_of(const struct media_plain *p, const struct dtls_certificate *cert,
                                const struct addr *src) {
    struct media_leg *leg = leg_at(p, src), *found = NULL;
    if (leg)
        return !leg->dtls_client && dtls_certificate_matches(cert, leg->fingerprints, leg->fingerprint_count) ? leg
                                                                                                              : NULL;
    DL_FOREACH2(p->waiting, leg, waits_after) {
        if (leg->dtls_client || !dtls_certificate_matches(cert, leg->fingerprints, leg->fingerprint_count))
            continue;
        if (found)
            return NULL;
        found = leg;
    }
    return found;
}

/* Strangers */

static void on_send(const uint8_t *dg, size_t len, void *arg) {
    const struct stranger *s = arg;
    media_worker_send(s->worker, &s->src, dg, len, true);
}

static bool on_judge(const struct dtls_certificate *cert, void *arg) {
    struct stranger *s = arg;
    const struct media_leg *leg = leg_of(s->worker->plain, cert, &s->src);
    s->call = leg ? leg->call->id : 0;
    return leg != NULL;
}

static void on_connected(const struct media_keys *keys, void *arg) {
    struct stranger *s = arg;
    struct media_call *c = media_call_find(s->worker, s->call);
    struct dtls_session *dtls = s->dtls;
    s->over = true;
    if (!c || !c->far.waiting) /* somebody else was faster, or the call ended */
        return;
    s->dtls = NULL;
    media_leg_adopt(&c->far, dtls, &s->src, keys);
}

static void on_closed(int err, void *arg) {
    struct stranger *s = arg;
    s->over = true;
    s->err = err;
}

static const struct dtls_ops ops = {on_send, on_connected, NULL, on_closed};

/* Whoever holds the offered address and has another certificate ends the call; a stranger elsewhere cannot. */
static void settle(struct stranger *s) {
    struct media_leg *leg = leg_at(s->worker->plain, &s->src);
    if (!s->over)
        return;
    if (s->err != 0)
        worker_count(&s->worker->n.dtls_failed, 1);
    if (leg && s->err == E_AUTH)
        media_call_fail(leg, E_AUTH);
    struct media_call *c = s->dtls ? NULL : media_call_find(s->worker, s->call);
    if (c) /* it is this call's caller */
        media_tell_leg(&c->far);
    stranger_gone(s);
}

static unsigned of_network(const struct media_plain *p, const struct addr *src) {
    struct addr network = *src;
    unsigned n = 0;
    addr_network(&network);
    for (const struct stranger *s = p->strangers; s; s = s->hh.next) {
        struct addr other = s->src;
        addr_network(&other);
        n += addr_eq(&network, &other);
    }
    return n;
}

/* With the identity that the call at this address was told, or, of an unknown address, the newest call. They differ
 * only for a moment after a rotation. */
static struct stranger *listener_for(struct media_worker *w, const struct addr *src) {
    struct media_plain *p = w->plain;
    const struct media_leg *leg = leg_at(p, src);
    struct dtls_params params = {.judge = on_judge};
    struct dtls_identity *identity = (leg ? leg : p->waiting->waits_before)->call->identity;
    if (p->listener && !dtls_session_is_of(p->listener->dtls, identity))
        p->listener = stranger_free(p->listener);
    if (p->listener)
        return p->listener;
    struct stranger *s = calloc(1, sizeof *s);
    if (!s || dtls_session_new(&s->dtls, identity, &params, &ops, s) != 0)
        return stranger_free(s);
    s->worker = w;
    return p->listener = s;
}

static void listen_to(struct media_worker *w, const uint8_t *dg, size_t len, const struct addr *src) {
    struct media_plain *p = w->plain;
    if (HASH_COUNT(p->strangers) >= STRANGERS_MAX || of_network(p, src) >= STRANGERS_PER_NETWORK_MAX)
        return;
    struct stranger *s = listener_for(w, src);
    if (!s)
        return;
    s->src = *src;
    int ret = dtls_session_listen(s->dtls, p->guard, src, dg, len, w->now_ms);
    if (ret == 0)
        return;
    p->listener = NULL;
    if (ret < 0) {
        stranger_free(s);
        return;
    }
    HASH_ADD(hh, p->strangers, src, sizeof s->src, s);
    settle(s);
}

/* A known address is its leg's, unless its handshake is long done and it begins another one: the caller uses the port
 * again, for its next call. */
static bool is_new(const struct media_leg *owner, const uint8_t *p, size_t len) {
    return !owner || (owner->dtls_up && len > 4 && p[0] == DTLS_HANDSHAKE && p[3] == 0 && p[4] == 0);
}

bool media_plain_input(struct media_worker *w, const struct media_leg *owner, const uint8_t *p, size_t len,
                       const struct addr *src) {
    struct media_plain *pl = w->plain;
    struct stranger *s;
    if (!pl->waiting && !pl->strangers)
        return false;
    HASH_FIND(hh, pl->strangers, src, sizeof *src, s);
    if (s) {
        dtls_session_input(s->dtls, p, len, w->now_ms);
        settle(s);
        return true;
    }
    if (!is_new(owner, p, len))
        return false;
    struct media_leg *leg = leg_at(pl, src);
    if (leg && leg->dtls_client && leg->dtls) {
        media_call_dtls(leg, p, len);
        return true;
    }
    if (!pl->waiting || !dtls_guard_is_hello(p, len))
        return false;
    if (dtls_guard_allows(pl->guard, src, w->now_ms))
        listen_to(w, p, len, src);
    return true;
}

void media_plain_sweep(struct media_worker *w) {
    struct stranger *s, *next;
    HASH_ITER(hh, w->plain->strangers, s, next) {
        dtls_session_tick(s->dtls, w->now_ms);
        settle(s);
    }
}
