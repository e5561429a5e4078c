/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"
#include "dtls/media_call_priv.h"
#include "dtls/media_ringback.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* So often a stream's sequence number is told for going on after a crash. As many may pass between that and the first
 * packet afterwards before the roll-over counter becomes a guess. */
#define TELL_EVERY_PKTS 0x4000

static int make_crypt(struct media_leg *leg) {
    int err = rtp_crypt_new(&leg->crypt, &leg->keys);
    if (err == 0)
        rtp_crypt_set_rtcp(leg->crypt, leg->rtcp_next, leg->rtcp_limit);
    return err;
}

static void prepare_leg(struct media_leg *leg) {
    if (leg->crypt || leg->keys.profile == MEDIA_PROFILE_NONE || leg->call->failed)
        return;
    if (make_crypt(leg) != 0)
        media_call_fail(leg, E_CRYPTO);
}

void media_relay_prepare(struct media_call *c) {
    if (c->mode == MEDIA_MODE_NONE)
        return;
    if (c->mode == MEDIA_MODE_TRANSFER) {
        /* One writer per key and SSRC: in this mode the far keys are the phone's. */
        assert(!c->far.crypt);
        return;
    }
    prepare_leg(&c->far);
    prepare_leg(&c->near);
}

static bool near_ready(const struct media_call *c) {
    if (!c->near.open || !addr_is_set(&c->near.ice.selected))
        return false;
    return c->mode == MEDIA_MODE_TRANSFER ? c->keys_taken : c->near.crypt && c->far.crypt;
}

/* One packet that came in. What a state says of its stream is true for half the circle of sequence numbers, so it is
 * told again long before. Returns the stream's place, -1: of too many. */
static int follow(struct media_call *c, struct media_flow *f, uint32_t ssrc, uint16_t seq) {
    size_t before = f->s.rx.count;
    int i = rtp_streams_note(&f->s.rx, ssrc, seq);
    if (i < 0)
        return i;
    if (f->s.rx.count != before)
        f->s.roc_offset[i] = MEDIA_ROC_NONE;
    if (f->s.rx.count != before || (uint16_t)(f->s.rx.s[i].seq - f->told_seq[i]) >= TELL_EVERY_PKTS) {
        f->told_seq[i] = f->s.rx.s[i].seq;
        c->untold = true; /* by the sweep, so that a peer that jumps about does not make a state of every packet */
    }
    return i;
}

/* For the next packet of a stream that was seen elsewhere: by its headers alone, or by another process. What its
 * roll-over counter is, a packet does not say (RFC 3711 3.3.1). It may be a forged one, so this is said anew before
 * each packet, until one is authentic. */
static int set_counters(struct media_flow *f, int i, struct media_leg *from, struct media_leg *to, uint16_t seq) {
    const struct rtp_stream *s = &f->s.rx.s[i];
    uint32_t roc = rtp_stream_roc(s, seq), offset = f->s.roc_offset[i];
    int err = rtp_crypt_set_rx_roc(from->crypt, &from->keys, s->ssrc, roc);
    if (err == 0 && offset != MEDIA_ROC_NONE)
        err = rtp_crypt_set_tx_roc(to->crypt, &to->keys, s->ssrc, roc > offset ? roc - offset : 0);
    return err;
}

/* It was authentic, and went out: from here on both contexts count by themselves. */
static void in_step(struct media_call *c, struct media_flow *f, int i, struct media_leg *from, struct media_leg *to,
                    uint16_t seq) {
    const struct rtp_stream *s = &f->s.rx.s[i];
    f->in_step[i] = true;
    rtp_crypt_set_rx_roc(from->crypt, &from->keys, s->ssrc, 0);
    rtp_crypt_set_tx_roc(to->crypt, &to->keys, s->ssrc, 0);
    if (f->s.roc_offset[i] != MEDIA_ROC_NONE)
        return;
    f->s.roc_offset[i] = rtp_stream_roc(s, seq);
    c->untold = true;
}

static int recrypt_rtp(struct media_call *c, struct media_leg *from, struct media_leg *to, uint8_t *p, size_t *len) {
    struct media_flow *f = from->is_near ? &c->from_near : &c->from_far;
    uint32_t ssrc = rtp_ssrc(p);
    uint16_t seq = rtp_seq(p);
    int i = rtp_streams_find(&f->s.rx, ssrc), err = 0;
    /* It may be one that the process before could not follow either, and then nobody knows its counter. */
    if (i < 0 && c->resumed && f->s.rx.count == RTP_STREAMS_MAX)
        return E_FULL;
    if (i >= 0 && !f->in_step[i])
        err = set_counters(f, i, from, to, seq);
    if (err == 0)
        err = rtp_crypt_unprotect(from->crypt, p, len, false);
    if (err != 0)
        return err;
    i = follow(c, f, ssrc, seq);
    err = rtp_crypt_protect(to->crypt, p, len, false);
    if (err == 0 && i >= 0 && !f->in_step[i])
        in_step(c, f, i, from, to, seq);
    return err;
}

/* Open one leg's packet and close it for the other; in TRANSFER it is already what the other side reads. */
static int recrypt(struct media_call *c, struct media_leg *from, struct media_leg *to, uint8_t *p, size_t *len) {
    if (c->mode == MEDIA_MODE_TRANSFER)
        return 0;
    int err;
    if (rtp_is_rtcp(p, *len)) {
        err = rtp_crypt_unprotect(from->crypt, p, len, true);
        if (err == 0)
            err = rtp_crypt_protect(to->crypt, p, len, true);
    } else {
        err = recrypt_rtp(c, from, to, p, len);
    }
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

/* Until its packets are opened, by their headers alone: so that the counter can be handed over, or is known later. */
static void note_unread(struct media_call *c, uint32_t ssrc, uint16_t seq) {
    int i = rtp_streams_find(&c->from_far.s.rx, ssrc);
    if (i < 0 || !c->from_far.in_step[i])
        follow(c, &c->from_far, ssrc, seq);
}

static void from_far(struct media_call *c, uint8_t *p, size_t len) {
    c->stats.far_rx_pkts++;
    c->stats.far_rx_bytes += len;
    if (c->gate && near_ready(c)) {
        to_near(c, p, len, false);
        return;
    }
    if (!rtp_is_rtcp(p, len) && !c->keys_taken)
        note_unread(c, rtp_ssrc(p), rtp_seq(p));
    if (c->gate)
        hold(c, p, len);
    else
        c->stats.discarded_pkts++;
}

/* A phone that speaks before its answer is not heard; but what it sends is looked at, because its sequence numbers may
 * begin anew in between (RFC 3711 3.3.1). */
static void unheard(struct media_leg *leg, uint8_t *p, size_t len) {
    bool rtcp = rtp_is_rtcp(p, len);
    uint32_t ssrc = rtp_ssrc(p);
    uint16_t seq = rtp_seq(p);
    leg->call->stats.dropped_pkts++;
    if (leg->unchosen && !leg->crypt)
        make_crypt(leg); /* out of memory: media_relay_prepare tries again */
    if (leg->crypt && rtp_crypt_unprotect(leg->crypt, p, &len, rtcp) == 0 && !rtcp)
        follow(leg->call, &leg->call->from_near, ssrc, seq);
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
