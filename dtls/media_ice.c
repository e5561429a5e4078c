/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/media_call_priv.h"
#include "dtls/stun_msg.h"

#include <string.h>

/* Addresses that a leg is known at */

static void forget_source(struct media_leg *leg, unsigned i) {
    struct media_worker *w = leg->call->worker;
    struct media_source *s = &leg->sources[i], *last = &leg->sources[leg->source_count - 1];
    HASH_DELETE(hh, w->by_addr, s);
    if (s != last) {
        HASH_DELETE(hh, w->by_addr, last); /* NOLINT(clang-analyzer-*): what a uthash macro does */
        s->addr = last->addr;
        HASH_ADD(hh, w->by_addr, addr, sizeof s->addr, s);
    }
    leg->source_count--;
}

void media_leg_vouch(struct media_leg *leg, const struct addr *src) {
    struct media_worker *w = leg->call->worker;
    struct media_source *s;
    HASH_FIND(hh, w->by_addr, src, sizeof *src, s);
    if (s && s->leg == leg)
        return;
    if (s) /* the address changed hands: a new call of the same peer */
        forget_source(s->leg, (unsigned)(s - s->leg->sources));
    if (leg->source_count == LEG_SOURCES_MAX)
        forget_source(leg, addr_eq(&leg->sources[0].addr, &leg->ice.selected) ? 1 : 0);
    s = &leg->sources[leg->source_count++];
    s->addr = *src;
    s->leg = leg;
    HASH_ADD(hh, w->by_addr, addr, sizeof s->addr, s);
}

/* Checks */

static bool is_vouched(const struct media_leg *leg, const struct addr *src) {
    for (unsigned i = 0; i < leg->source_count; i++)
        if (addr_eq(&leg->sources[i].addr, src))
            return true;
    return false;
}

static void add_ufrag(struct media_leg *leg, struct media_ufrag *u, const char *ufrag) {
    memcpy(u->ufrag, ufrag, sizeof u->ufrag);
    u->leg = leg;
    HASH_ADD_STR(leg->call->worker->by_ufrag, ufrag, u);
}

static void forget_ufrag(struct media_worker *w, struct media_ufrag *u) {
    if (u->leg)
        HASH_DEL(w->by_ufrag, u); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    u->leg = NULL;
}

void media_ice_open(struct media_leg *leg, const struct ice_lite *ice) {
    leg->ice = *ice;
    leg->ice.selected = (struct addr){0};
    add_ufrag(leg, &leg->ufrag, ice->ufrag);
}

void media_ice_close(struct media_leg *leg) {
    struct media_worker *w = leg->call->worker;
    while (leg->source_count)
        forget_source(leg, leg->source_count - 1);
    forget_ufrag(w, &leg->ufrag);
    forget_ufrag(w, &leg->old_ufrag);
}

void media_ice_old(struct media_leg *leg) {
    add_ufrag(leg, &leg->old_ufrag, leg->ice.old_ufrag);
}

void media_ice_restart(struct media_leg *leg, const struct ice_lite *next) {
    if (leg->plain)
        return;
    forget_ufrag(leg->call->worker, &leg->ufrag);
    if (!leg->old_ufrag.leg)
        add_ufrag(leg, &leg->old_ufrag, leg->ice.ufrag);
    ice_lite_restart(&leg->ice, next);
    add_ufrag(leg, &leg->ufrag, leg->ice.ufrag);
    media_tell_leg(leg);
}

void media_call_stun(struct media_worker *w, const uint8_t *p, size_t len, const struct addr *src) {
    char ufrag[ICE_UFRAG_BYTES];
    uint8_t reply[STUN_MSG_MAX_BYTES];
    struct ice_result res;
    struct media_ufrag *known = NULL;
    worker_count(&w->n.stun_requests, 1);
    if (ice_lite_peek_ufrag(ufrag, sizeof ufrag, p, len) > 0)
        HASH_FIND_STR(w->by_ufrag, ufrag, known);
    if (!known) {
        worker_count(&w->n.stun_rejected, 1);
        return;
    }
    struct media_leg *leg = known->leg;
    if (!stun_budget_take(&leg->checks, w->stun_sources, src, is_vouched(leg, src), w->now_ms)) {
        worker_count(&w->n.stun_over_budget, 1);
        return;
    }
    worker_count(&w->n.stun_checked, 1);
    int err = ice_lite_input(&leg->ice, p, len, src, w->now_ms, reply, sizeof reply, &res);
    if (res.reply_len > 0)
        media_worker_send(w, src, reply, (size_t)res.reply_len, true);
    if (err == E_AUTH)
        stun_budget_failed(&leg->checks, w->stun_sources, src, w->now_ms);
    if (err != 0) {
        worker_count(&w->n.stun_rejected, 1);
        return;
    }
    media_leg_vouch(leg, src);
    leg->seen_ms = w->now_ms;
    leg->alert_ms = 0;
    if (!leg->stun_reply_ms)
        leg->stun_reply_ms = w->now_ms;
    if (!leg->ice.old_ufrag[0])
        forget_ufrag(w, &leg->old_ufrag);
    if (res.selected_changed)
        media_leg_selected(leg);
}
