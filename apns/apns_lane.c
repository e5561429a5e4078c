/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_core_priv.h"
#include "base/log.h"

#include <utlist.h>

int apns_lane_enqueue(struct apns_item *p, struct apns_credential *c, enum apns_lane lane) {
    struct apns_heap_entry e = {p->deadline_ms, p->seq, p, &p->queue_place};
    p->credential = c;
    p->queue_lane = lane;
    int err = apns_heap_put(&c->queue[lane], &e);
    if (err != 0)
        return err;
    c->queued++;
    if (!c->used[lane]) {
        c->used[lane] = true;
        apns_lanes_fill(c);
    }
    return 0;
}

void apns_lane_dequeue(struct apns_item *p) {
    if (!p->queue_place)
        return;
    apns_heap_remove(&p->credential->queue[p->queue_lane], &p->queue_place);
    p->credential->queued--;
}

/* How much a link is to be preferred; 0: not at all. */
static uint64_t merit(const struct apns_link *l, const struct apns_item *p) {
    const struct apns_core *k = l->credential->core;
    uint64_t now_ms = apns_now_ms(k), score = 0;
    bool alive = !l->ping_ms || now_ms - l->ping_ms < APNS_HEDGE_MS;
    if (!apns_link_usable(l) || l->refused_until_ms > now_ms || !apns_session_has_room(l->session, p->req.payload_len))
        return 0;
    if (!alive && p->tries > 0) /* a second try that is lost, too, is the last */
        return 0;
    uint32_t limit = apns_session_limit(l->session), open = apns_session_open(l->session);
    /* One that has a single stream is lifted by the next good answer: it gets the next push, its siblings the rest. */
    score = limit == 1 && open == 0 ? UINT32_MAX : (uint64_t)(limit - open);
    if (!l->leaving)
        score |= 1ULL << 33;
    if (alive)
        score |= 1ULL << 34;
    if (!p->avoid_addr.u.sa.sa_family || !addr_eq(&p->avoid_addr, &l->peer))
        score |= 1ULL << 35;
    if (p->avoid != l->serial)
        score |= 1ULL << 36;
    return score;
}

static bool flies_on(const struct apns_item *p, const struct apns_link *l) {
    return p->flights[0].link == l || p->flights[1].link == l;
}

static struct apns_link *choose(struct apns_credential *c, enum apns_lane lane, const struct apns_item *p) {
    struct apns_link *l, *best = NULL;
    uint64_t score, most = 0;
    DL_FOREACH(c->links, l) {
        if (l->lane == lane && !flies_on(p, l) && (score = merit(l, p)) > most) {
            best = l;
            most = score;
        }
    }
    return best;
}

static int submit(struct apns_link *l, struct apns_item *p) {
    struct apns_credential *c = l->credential;
    struct apns_core *k = c->core;
    struct apns_flight *f = p->flights[0].link ? &p->flights[1] : &p->flights[0];
    p->req.authority = c->host;
    p->req.authorization = l->token ? apns_token_bearer(l->token, &l->use, &k->now) : NULL;
    if (l->token && !p->req.authorization) {
        log_error("apns provider token cannot be signed", log_s("credential", c->name));
        return E_CRYPTO;
    }
    f->item = p;
    int err = apns_session_submit(l->session, &p->req, f);
    if (err != 0)
        return err;
    f->link = l;
    f->written = false;
    l->fresh++;
    DL_APPEND(l->flights, f);
    p->flying++;
    c->flying++;
    p->tries++;
    if (apns_now_ms(k) - l->heard_ms > APNS_SILENT_MS)
        apns_link_ping(l);
    k->ops.flush(l, k->arg);
    return 0;
}

/* Bulk is never hedged: nobody waits for it. */
static void plan_hedge(struct apns_item *p) {
    const struct apns_credential *c = p->credential;
    bool worth = p->lane != APNS_LANE_BULK && c->hedge_ms != APNS_HEDGE_OFF && !p->probed && p->flying < 2 &&
                 p->tries < APNS_TRIES_MAX;
    p->hedge_at_ms = worth ? apns_now_ms(c->core) + c->hedge_ms : 0;
}

static void pump(struct apns_credential *c, enum apns_lane lane) {
    const struct apns_heap_entry *top;
    while (apns_policy_open(c) && (top = apns_heap_top(&c->queue[lane]))) {
        struct apns_item *p = top->item;
        if (apns_now_ms(c->core) >= p->deadline_ms) {
            apns_lane_dequeue(p); /* the next step tells its owner */
            continue;
        }
        struct apns_link *l = choose(c, lane, p);
        if (!l || submit(l, p) != 0)
            return;
        apns_lane_dequeue(p);
        plan_hedge(p);
        apns_item_arm(p);
    }
}

void apns_lanes_pump(struct apns_credential *c) {
    for (int lane = 0; lane < APNS_LANES; lane++)
        pump(c, (enum apns_lane)lane);
}

/* Two ring connections need two addresses to be worth more than one. */
static unsigned wanted(const struct apns_credential *c, enum apns_lane lane) {
    if (lane != APNS_LANE_RING)
        return c->used[lane] ? 1 : 0;
    return c->ring_connections ? c->ring_connections : c->addresses_seen > 1 ? 2 : 1;
}

void apns_lanes_fill(struct apns_credential *c) {
    for (int lane = 0; lane < APNS_LANES; lane++) {
        unsigned have = 0, failures = 0;
        struct apns_link *l;
        DL_FOREACH(c->links, l) {
            if ((int)l->lane != lane)
                continue;
            bool stays = !l->leaving && l->state != APNS_LINK_DRAINING;
            have += stays;
            if (!stays && l->answers == 0 && l->failures + 1 > failures)
                failures = l->failures + 1;
        }
        while (!c->core->stopped && have < wanted(c, (enum apns_lane)lane) &&
               apns_link_new(c, (enum apns_lane)lane, failures) == 0)
            have++;
    }
}

/* On the ring lane, whatever lane it came from: a new user's ring has waited long enough for the probe. */
void apns_lane_hedge(struct apns_item *p) {
    struct apns_credential *c = p->credential;
    if (p->queue_place) {
        apns_lane_dequeue(p);
        p->hedge_at_ms = 0;
        if (apns_lane_enqueue(p, c, APNS_LANE_RING) == 0)
            apns_lanes_pump(c);
        else
            apns_item_fail(p, APNS_NOT_SENT, E_NOMEM);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (p->flights[i].link)
            apns_link_ping(p->flights[i].link);
    struct apns_link *l = p->flying && apns_policy_open(c) ? choose(c, APNS_LANE_RING, p) : NULL;
    if (l && submit(l, p) == 0) {
        p->hedged = true;
        metric_add(c->meters.hedged, 1);
    }
    plan_hedge(p);
}

void apns_flight_end(struct apns_flight *f) {
    struct apns_link *l = f->link;
    DL_DELETE(l->flights, f);
    l->fresh -= !f->written;
    f->link = NULL;
    f->item->flying--;
    l->credential->flying--;
}

void apns_item_ground(struct apns_item *p, bool missed) {
    for (int i = 0; i < 2; i++) {
        struct apns_flight *f = &p->flights[i];
        struct apns_link *l = f->link;
        if (!l)
            continue;
        apns_session_forget(l->session, f);
        apns_flight_end(f);
        if (missed && ++l->unanswered >= APNS_UNANSWERED_MAX)
            apns_link_retire(l, true);
        l->credential->core->ops.flush(l, l->credential->core->arg);
    }
}
