/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"
#include "dtls/media_call_priv.h"
#include "dtls/media_ringback.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void media_relay_prepare(struct media_call *c) {
    if (c->mode == MEDIA_MODE_NONE)
        return;
    if (c->mode == MEDIA_MODE_TRANSFER) {
        /* One writer per key and SSRC: in this mode the far keys are the phone's. */
        assert(!c->far.crypt);
        return;
    }
    if (!c->far.crypt && c->far.keys.profile != MEDIA_PROFILE_NONE && rtp_crypt_new(&c->far.crypt, &c->far.keys) != 0) {
        media_call_fail(&c->far, E_CRYPTO);
        return;
    }
    /* Until the gate, packets are followed and not unprotected: the counters may still go on. */
    if (c->far.crypt && c->gate && !c->counters_set) {
        c->counters_set = true;
        for (size_t i = 0; i < c->streams.count; i++)
            if (c->streams.s[i].roc > 0)
                rtp_crypt_set_rx_roc(c->far.crypt, &c->far.keys, c->streams.s[i].ssrc, c->streams.s[i].roc);
    }
    if (!c->near.crypt && c->near.keys.profile != MEDIA_PROFILE_NONE &&
        rtp_crypt_new(&c->near.crypt, &c->near.keys) != 0)
        media_call_fail(&c->near, E_CRYPTO);
}

static bool near_ready(const struct media_call *c) {
    if (!c->near.open || !addr_is_set(&c->near.ice.selected))
        return false;
    return c->mode == MEDIA_MODE_TRANSFER ? c->keys_taken : c->near.crypt && c->far.crypt;
}

/* Open one leg's packet and close it for the other; in TRANSFER it is already what the other side reads. */
static int recrypt(struct media_call *c, struct media_leg *from, struct media_leg *to, uint8_t *p, size_t *len) {
    bool rtcp = rtp_is_rtcp(p, *len);
    if (c->mode == MEDIA_MODE_TRANSFER)
        return 0;
    int err = rtp_crypt_unprotect(from->crypt, p, len, rtcp);
    if (err == 0)
        err = rtp_crypt_protect(to->crypt, p, len, rtcp);
    if (err != 0)
        worker_count(&c->worker->n.auth_failed_pkts, 1);
    return err;
}

static void to_near(struct media_call *c, uint8_t *p, size_t len, bool copy) {
    bool rtp = !rtp_is_rtcp(p, len);
    if (recrypt(c, &c->far, &c->near, p, &len) != 0) {
        c->stats.dropped_pkts++;
        return;
    }
    media_worker_send(c->worker, media_leg_path(&c->near), p, len, copy);
    c->stats.near_tx_pkts++;
    c->stats.near_tx_bytes += len;
    if (rtp && !c->told_to_near) {
        c->told_to_near = true;
        media_call_event(c, MEDIA_EV_FIRST_TO_NEAR);
    }
}

static void hold(struct media_call *c, const uint8_t *p, size_t len) {
    struct media_worker *w = c->worker;
    if (!c->held && w->hold_ms)
        c->held = calloc(HOLD_PKTS_MAX, sizeof *c->held);
    if (!c->held) {
        c->stats.dropped_pkts++;
        return;
    }
    /* The oldest give way: what the callee should hear first is the latest. */
    while (c->held_count > 0 && (c->held_count == HOLD_PKTS_MAX || w->now_ms - c->held[0].at_ms > w->hold_ms)) {
        memmove(c->held, c->held + 1, --c->held_count * sizeof *c->held);
        c->stats.dropped_pkts++;
    }
    worker_count(&w->n.held_pkts, 1);
    struct held *h = &c->held[c->held_count++];
    h->at_ms = w->now_ms;
    h->len = len;
    memcpy(h->p, p, len);
}

void media_relay_flush(struct media_call *c) {
    if (!c->held || !c->gate || !near_ready(c))
        return;
    for (unsigned i = 0; i < c->held_count; i++) {
        if (c->worker->now_ms - c->held[i].at_ms <= c->worker->hold_ms)
            to_near(c, c->held[i].p, c->held[i].len, true);
        else
            c->stats.dropped_pkts++;
    }
    free(c->held);
    c->held = NULL;
    c->held_count = 0;
}

static void from_far(struct media_call *c, uint8_t *p, size_t len) {
    c->stats.far_rx_pkts++;
    c->stats.far_rx_bytes += len;
    if (!rtp_is_rtcp(p, len) && !c->counters_set && !c->keys_taken)
        rtp_streams_note(&c->streams, rtp_ssrc(p), rtp_seq(p));
    if (!c->gate)
        c->stats.discarded_pkts++;
    else if (near_ready(c))
        to_near(c, p, len, false);
    else
        hold(c, p, len);
}

/* A phone that speaks before its answer is not heard; but what it sends is looked at, because its sequence numbers may
 * begin anew in between (RFC 3711 3.3.1). */
static void unheard(struct media_leg *leg, uint8_t *p, size_t len) {
    leg->call->stats.dropped_pkts++;
    if (leg->unchosen && !leg->crypt)
        rtp_crypt_new(&leg->crypt, &leg->keys); /* out of memory: media_relay_prepare tries again */
    if (leg->crypt)
        rtp_crypt_unprotect(leg->crypt, p, &len, rtp_is_rtcp(p, len));
}

static void from_near(struct media_call *c, uint8_t *p, size_t len) {
    bool rtp = !rtp_is_rtcp(p, len);
    if (!c->gate || !near_ready(c)) {
        unheard(&c->near, p, len);
        return;
    }
    if ((rtp && media_ringback_owns(c, rtp_ssrc(p))) || recrypt(c, &c->near, &c->far, p, &len) != 0) {
        c->stats.dropped_pkts++;
        return;
    }
    media_worker_send(c->worker, media_leg_path(&c->far), p, len, false);
    c->stats.far_tx_pkts++;
    c->stats.far_tx_bytes += len;
    if (rtp && !c->told_to_far) {
        c->told_to_far = true;
        media_call_event(c, MEDIA_EV_FIRST_TO_FAR);
    }
}

void media_relay_rtp(struct media_leg *from, uint8_t *p, size_t len) {
    struct media_call *c = from->call;
    if (!from->is_near) {
        from_far(c, p, len);
        return;
    }
    c->stats.near_rx_pkts++;
    c->stats.near_rx_bytes += len;
    if (from->unchosen)
        unheard(from, p, len);
    else
        from_near(c, p, len);
}
