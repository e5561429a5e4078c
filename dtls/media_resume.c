/* SPDX-License-Identifier: Apache-2.0 */
/* A call's life beyond its process: states to go on from, and going on. */
#include "base/secret.h"
#include "dtls/media_call_priv.h"
#include "dtls/media_plain.h"
#include "dtls/media_ringback.h"

#include <stdlib.h>
#include <string.h>

#define RESERVE_AGAIN_MS 3000 /* what was asked for and not granted: a state, or the word of it, was lost */

/* Telling */

static void fill_leg(struct media_leg_state *s, const struct media_leg *leg) {
    s->near = leg->is_near;
    s->waits = leg->unchosen;
    s->number = leg->number;
    s->mode = leg->is_near ? leg->call->mode : MEDIA_MODE_NONE;
    s->ice = leg->ice;
    s->plain = leg->plain;
    s->dtls_client = leg->dtls_client;
    s->offered = leg->offered;
    memcpy(s->fingerprints, leg->fingerprints, sizeof s->fingerprints);
    s->fingerprint_count = leg->fingerprint_count;
    s->dtls_up = leg->dtls_up;
    s->keys = leg->keys;
    /* What OpenSSL keeps to itself cannot be told: there the media goes on, and the association does not. */
    if (leg->dtls && dtls_session_save(leg->dtls, &s->dtls, MEDIA_RESERVED) != 0)
        s->dtls = (struct dtls_session_state){.server = false};
    s->rtcp = (leg->crypt ? rtp_crypt_rtcp_next(leg->crypt) : leg->rtcp_next) + MEDIA_RESERVED;
}

void media_tell_leg(struct media_leg *leg) {
    struct media_event ev;
    if (!leg->call->worker->keep || !leg->open)
        return;
    leg->told_ms = leg->call->worker->now_ms;
    memset(&ev, 0, sizeof ev);
    ev.kind = MEDIA_EV_LEG_STATE;
    ev.id = leg->call->id;
    fill_leg(&ev.u.leg, leg);
    if (ev.u.leg.dtls.record.cipher && !leg->record_limit) {
        leg->record_limit = ev.u.leg.dtls.record.tx_seq;
        dtls_session_limit(leg->dtls, leg->record_limit);
    }
    media_worker_emit(leg->call->worker, &ev);
    secret_wipe(&ev, sizeof ev);
}

static void note_told(struct media_flow *f) {
    for (size_t i = 0; i < f->s.rx.count; i++)
        f->told_seq[i] = f->s.rx.s[i].seq;
}

void media_tell_call(struct media_call *c) {
    struct media_event ev;
    c->untold = false;
    if (!c->worker->keep)
        return;
    memset(&ev, 0, sizeof ev);
    ev.kind = MEDIA_EV_CALL_STATE;
    ev.id = c->id;
    struct media_call_state *s = &ev.u.call;
    s->gate = c->gate;
    s->keys_told = c->keys_told;
    s->keys_taken = c->keys_taken;
    s->told_to_near = c->told_to_near;
    s->told_to_far = c->told_to_far;
    s->ringback = c->ringback;
    s->ringback_sent = c->ringback_sent;
    s->ringback_pt = c->ringback_pt;
    s->from_far = c->from_far.s;
    s->from_near = c->from_near.s;
    s->stats = c->stats;
    note_told(&c->from_far);
    note_told(&c->from_near);
    media_worker_emit(c->worker, &ev);
}

static void tell_all(struct media_call *c) {
    struct media_leg *leg;
    media_tell_leg(&c->far);
    media_tell_leg(&c->near);
    for (leg = c->phones; leg; leg = leg->next_phone)
        media_tell_leg(leg);
    media_tell_call(c);
}

void media_leg_reserve(struct media_leg *leg) {
    if (!leg->call->worker->keep || leg->call->worker->now_ms - leg->told_ms < RESERVE_AGAIN_MS)
        return;
    bool rtcp = leg->crypt && leg->rtcp_limit - rtp_crypt_rtcp_next(leg->crypt) < MEDIA_RESERVED / 2;
    bool dtls = leg->dtls && dtls_session_left(leg->dtls) < MEDIA_RESERVED / 2;
    if (rtcp || dtls)
        media_tell_leg(leg);
}

/* A state is safe: what it left out is this process's. */
static void kept(struct media_leg *leg, uint32_t rtcp, uint64_t record) {
    if (rtcp > leg->rtcp_limit) {
        leg->rtcp_limit = rtcp;
        if (leg->crypt)
            rtp_crypt_set_rtcp(leg->crypt, rtp_crypt_rtcp_next(leg->crypt), rtcp);
    }
    if (leg->dtls && record > leg->record_limit && leg->record_limit) {
        leg->record_limit = record;
        dtls_session_limit(leg->dtls, record);
    }
}

/* Going on */

static void resume_dtls(struct media_leg *leg, const struct media_leg_state *s) {
    leg->dtls_up = s->dtls_up;
    leg->keys = s->keys;
    if (s->dtls_up && s->dtls.record.cipher && dtls_session_resume(&leg->dtls, &s->dtls, &media_dtls_ops, leg) == 0)
        leg->record_limit = s->dtls.record.tx_seq;
}

static void resume_leg(struct media_leg *leg, const struct media_leg_state *s) {
    media_leg_open(leg, &s->ice, s->near);
    leg->number = s->number;
    leg->unchosen = s->waits;
    leg->dtls_client = s->dtls_client;
    memcpy(leg->fingerprints, s->fingerprints, sizeof leg->fingerprints);
    leg->fingerprint_count = s->fingerprint_count;
    leg->rtcp_next = leg->rtcp_limit = s->rtcp;
    if (leg->ice.old_ufrag[0])
        media_ice_old(leg);
    resume_dtls(leg, s);
    leg->plain = s->plain;
    leg->offered = s->offered;
    if (leg->plain && !leg->dtls_up) {
        media_leg_plain(leg, &s->offered);
        return;
    }
    if (addr_is_set(&s->ice.selected)) {
        leg->ice.selected = s->ice.selected;
        media_leg_vouch(leg, &leg->ice.selected);
    }
    if (media_leg_wants_dtls(leg) && leg->dtls_client && addr_is_set(&leg->ice.selected))
        media_leg_start_dtls(leg);
}

static void resume_call(struct media_worker *w, const struct media_command *cmd) {
    const struct media_call_state *s = &cmd->u.resume.call;
    struct media_call *c = media_call_new(w, cmd->id, cmd->u.resume.identity);
    if (!c)
        return;
    c->resumed = true;
    c->gate = s->gate;
    c->gate_ms = w->now_ms;
    c->keys_told = s->keys_told;
    c->keys_taken = s->keys_taken;
    c->told_to_near = s->told_to_near;
    c->told_to_far = s->told_to_far;
    c->ringback = s->ringback;
    c->ringback_sent = s->ringback_sent;
    c->ringback_pt = s->ringback_pt;
    c->from_far.s = s->from_far;
    c->from_near.s = s->from_near;
    c->stats = s->stats;
    resume_leg(&c->far, &cmd->u.resume.far);
    media_ringback_start(c);
    media_tell_leg(&c->far);
    media_tell_call(c);
}

static void resume_near(struct media_call *c, const struct media_leg_state *s) {
    struct media_leg *leg = &c->near;
    if (s->waits) {
        leg = media_waiting_new(c, s->number);
    } else {
        c->mode = s->mode;
        /* The phone may or may not have them: until it says so, they are told again; but to no other one. */
        c->keys_told = c->keys_taken;
    }
    if (!leg)
        return;
    resume_leg(leg, s);
    media_relay_prepare(c);
    media_call_tell_keys(c);
    media_tell_leg(leg);
}

void media_resume_command(struct media_worker *w, const struct media_command *cmd) {
    struct media_call *c = media_call_find(w, cmd->id);
    if (cmd->kind == MEDIA_CMD_RESUME)
        resume_call(w, cmd);
    else if (c && cmd->kind == MEDIA_CMD_RESUME_NEAR)
        resume_near(c, &cmd->u.leg);
    else if (c && cmd->kind == MEDIA_CMD_KEPT)
        kept(cmd->u.kept.near ? &c->near : &c->far, cmd->u.kept.rtcp, cmd->u.kept.record);
    else if (c && cmd->kind == MEDIA_CMD_TELL_STATES)
        tell_all(c);
}
