/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_core_priv.h"
#include "base/log.h"

#include <stdlib.h>
#include <utlist.h>

#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000

/* 0, then 1 s .. 60 s doubling, each with up to a quarter of jitter: many quick connects look like an attack to APNs.
 */
static uint64_t backoff_ms(unsigned failures) {
    uint64_t ms = BACKOFF_MIN_MS;
    uint16_t jitter;
    if (failures <= 1)
        return 0;
    for (unsigned i = 2; i < failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms;
    random_bytes(&jitter, sizeof jitter);
    return ms + ms / 4 * jitter / 65536;
}

/* The lowest number that no other link of the lane has, so that metrics keep their names. */
static unsigned free_slot(const struct apns_credential *c, enum apns_lane lane) {
    const struct apns_link *l;
    for (unsigned slot = 0;; slot++) {
        bool taken = false;
        DL_FOREACH(c->links, l) {
            taken = taken || (l->lane == lane && l->slot == slot);
        }
        if (!taken)
            return slot;
    }
}

int apns_link_new(struct apns_credential *c, enum apns_lane lane, unsigned failures) {
    struct apns_link *l = calloc(1, sizeof *l);
    if (!l)
        return E_NOMEM;
    l->credential = c;
    l->lane = lane;
    l->serial = ++c->core->serial;
    l->slot = free_slot(c, lane);
    l->failures = failures;
    l->retry_ms = apns_now_ms(c->core) + backoff_ms(failures);
    DL_APPEND(c->links, l);
    return 0;
}

void apns_link_end(struct apns_link *l) {
    struct apns_credential *c = l->credential;
    if (l->state != APNS_LINK_WAITING)
        c->core->ops.hang_up(l, c->core->arg);
    l->session = apns_session_free(l->session);
    apns_meters_link(l); /* or its last figures would stand for ever */
    DL_DELETE(c->links, l);
    free(l);
}

bool apns_link_usable(const struct apns_link *l) {
    return l->state == APNS_LINK_UP && !l->inside && apns_session_ready(l->session);
}

static void come_up(struct apns_link *l) {
    struct apns_credential *c = l->credential;
    struct apns_link *old;
    l->state = APNS_LINK_UP;
    apns_address_worked(&c->core->addresses, &l->peer);
    if (l->leaving) { /* its replacement may have been quicker */
        DL_FOREACH(c->links, old) {
            if (old->lane == l->lane && !old->leaving && old->state == APNS_LINK_UP) {
                apns_link_retire(l, true);
                return;
            }
        }
        return;
    }
    DL_FOREACH(c->links, old) {
        if (old != l && old->lane == l->lane && old->leaving && old->state == APNS_LINK_UP) {
            apns_link_retire(old, true);
            break;
        }
    }
}

static void drain(struct apns_link *l) {
    l->state = APNS_LINK_DRAINING;
    l->drain_until_ms = apns_now_ms(l->credential->core) + APNS_DRAIN_MAX_MS;
    if (l->session)
        apns_session_drain(l->session);
}

void apns_link_retire(struct apns_link *l, bool at_once) {
    if (l->state == APNS_LINK_UP && at_once)
        drain(l);
    else
        l->leaving = true;
    apns_lanes_fill(l->credential);
}

void apns_link_ping(struct apns_link *l) {
    struct apns_core *k = l->credential->core;
    if (l->ping_ms || !l->session)
        return;
    l->ping_ms = apns_now_ms(k);
    apns_session_ping(l->session);
    k->ops.flush(l, k->arg);
}

/* What was under way has an unknown fate, and the link dials again, unless another takes its place. */
void apns_link_closed(struct apns_link *l, const char *what, const char *detail) {
    struct apns_credential *c = l->credential;
    uint64_t now_ms = apns_now_ms(c->core), lived_ms = now_ms - l->dialled_ms;
    bool goes = l->leaving || l->state == APNS_LINK_DRAINING || c->core->stopped;
    if (l->state < APNS_LINK_UP || (l->answers == 0 && lived_ms < BACKOFF_MIN_MS)) {
        if (l->peer.u.sa.sa_family)
            apns_address_failed(&c->core->addresses, &l->peer, now_ms);
    } else {
        l->failures = 0;
    }
    l->session = apns_session_free(l->session);
    l->socket = NULL;
    l->state = APNS_LINK_WAITING;
    l->retry_ms = now_ms + backoff_ms(++l->failures);
    log_warn("apns connection lost", log_s("credential", c->name), log_s("host", c->host), log_i("port", c->port),
             log_s("what", what), log_s("detail", detail), log_i("retry_ms", (int64_t)(l->retry_ms - now_ms)));
    while (l->flights)
        apns_policy_lost(l->flights, false);
    l->serial = ++c->core->serial;
    l->peer = (struct addr){0};
    l->use = (struct apns_token_use){0};
    l->answers = 0;
    l->unanswered = 0;
    l->ping_ms = l->refused_until_ms = 0;
    if (goes)
        apns_link_end(l);
    apns_lanes_fill(c);
    apns_lanes_pump(c);
}

static void drop(struct apns_link *l, const char *what, const char *detail) {
    l->credential->core->ops.hang_up(l, l->credential->core->arg);
    apns_link_closed(l, what, detail);
}

void apns_link_step(struct apns_link *l) {
    struct apns_core *k = l->credential->core;
    uint64_t now_ms = apns_now_ms(k);
    if (l->state == APNS_LINK_WAITING) {
        if (now_ms < l->retry_ms)
            return;
        l->state = APNS_LINK_DIALLING;
        l->dialled_ms = now_ms;
        l->token = l->credential->token;
        metric_add(l->credential->meters.connects, 1);
        if (k->ops.dial(l, k->arg) != 0) {
            l->state = APNS_LINK_WAITING;
            l->retry_ms = now_ms + backoff_ms(++l->failures + 1);
        }
    } else if (l->ping_ms && now_ms >= l->ping_ms + APNS_PING_LIMIT_MS) {
        drop(l, "ping", "no sign of life in 5 s");
    } else if (l->state == APNS_LINK_DRAINING && (now_ms >= l->drain_until_ms || apns_session_idle(l->session))) {
        drop(l, "renewed", "another connection takes its place");
    } else if (l->state == APNS_LINK_UP && now_ms >= l->heard_ms + APNS_IDLE_PING_MS) {
        apns_link_ping(l);
    }
    /* Nothing is touched here any more: it may be gone. */
}

uint64_t apns_link_next_ms(const struct apns_link *l) {
    uint64_t next = UINT64_MAX;
    if (l->state == APNS_LINK_WAITING)
        return l->retry_ms;
    if (l->ping_ms)
        next = l->ping_ms + APNS_PING_LIMIT_MS;
    else if (l->state == APNS_LINK_UP)
        next = l->heard_ms + APNS_IDLE_PING_MS;
    if (l->state == APNS_LINK_DRAINING)
        next = apns_session_idle(l->session) ? 0 : l->drain_until_ms < next ? l->drain_until_ms : next;
    if (l->refused_until_ms > apns_now_ms(l->credential->core) && l->refused_until_ms < next)
        next = l->refused_until_ms;
    return next;
}

unsigned apns_link_choose(struct apns_link *l, const struct addr *list, unsigned count, uint64_t *wait_ms) {
    struct apns_credential *c = l->credential;
    unsigned in_use[APNS_ADDRESS_MAX] = {0};
    const struct apns_link *other;
    for (unsigned i = 0; i < count; i++) {
        DL_FOREACH(c->links, other) {
            in_use[i] += other != l && other->peer.u.sa.sa_family && addr_eq(&other->peer, &list[i]);
        }
    }
    unsigned i = apns_address_choose(&c->core->addresses, list, in_use, count, apns_now_ms(c->core), wait_ms);
    l->peer = list[i];
    c->addresses_seen = count;
    apns_lanes_fill(c);
    return i;
}

int apns_link_connected(struct apns_link *l, const char *tls) {
    struct apns_credential *c = l->credential;
    char where[ADDR_STR_BYTES];
    int err = apns_session_new(&l->session, &apns_policy_ops, l);
    if (err != 0)
        return err;
    if (!l->token)
        apns_session_trust(l->session);
    l->state = APNS_LINK_SETTINGS;
    l->heard_ms = apns_now_ms(c->core);
    log_info("apns connected", log_s("credential", c->name), log_s("host", c->host), log_i("port", c->port),
             log_s("address", addr_str(where, &l->peer)), log_s("tls", tls));
    c->core->ops.flush(l, c->core->arg);
    return 0;
}

int apns_link_input(struct apns_link *l, const uint8_t *p, size_t len) {
    l->heard_ms = apns_now_ms(l->credential->core);
    l->ping_ms = 0;
    l->inside = true;
    int err = apns_session_input(l->session, p, len);
    l->inside = false;
    return err;
}

void apns_link_settle(struct apns_link *l) {
    struct apns_credential *c = l->credential;
    struct apns_core *k = c->core;
    if (l->state == APNS_LINK_SETTINGS && apns_session_ready(l->session))
        come_up(l);
    k->ops.flush(l, k->arg); /* what HTTP/2 itself has to say */
    apns_lanes_pump(c);
    if (c->pair)
        apns_lanes_pump(c->pair);
}

static void note_written(struct apns_link *l) {
    struct apns_core *k = l->credential->core;
    for (struct apns_flight *f = l->flights ? l->flights->prev : NULL; f && l->fresh > 0; f = f->prev, l->fresh--) {
        struct apns_item *p = f->item;
        f->written = true;
        if (p->written_us)
            continue;
        p->written_us = k->now.mono_us;
        metric_observe_us(k->queue_wait, p->written_us - p->queued_us);
    }
}

ssize_t apns_link_output(struct apns_link *l, const uint8_t **p) {
    note_written(l);
    l->inside = true;
    ssize_t n = apns_session_output(l->session, p);
    l->inside = false;
    return n;
}

struct apns_credential *apns_link_credential(const struct apns_link *l) {
    return l->credential;
}

enum apns_lane apns_link_lane(const struct apns_link *l) {
    return l->lane;
}

bool apns_link_is_up(const struct apns_link *l) {
    return l->state >= APNS_LINK_UP;
}

void apns_link_set_socket(struct apns_link *l, void *socket) {
    l->socket = socket;
}

void *apns_link_socket(const struct apns_link *l) {
    return l->socket;
}
