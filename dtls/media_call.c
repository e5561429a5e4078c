/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/secret.h"
#include "dtls/media_call_priv.h"
#include "dtls/media_plain.h"
#include "dtls/media_ringback.h"
#include "dtls/srtcp.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define ALERT_MS   1500 /* an unreadable alert counts as the end when nothing else comes for so long */
#define DTLS_ALERT 21   /* content type (RFC 6347 4.1) */
#define RTT_MAX_MS 3000 /* what takes longer is no round trip any more */
/* Flights to an address that an offer named and that never answered; each is one datagram, shorter than the offer. */
#define UNHEARD_MAX 5
#define PLAIN_RTT_MS                                                                                                   \
    500 /* RFC 6347 4.2.4.1: 1 s until the first retransmission; the answer may be slower than we are */

static uint32_t slot_of(media_id id) {
    return (uint32_t)id & 0xffffffU;
}

struct media_call *media_call_find(const struct media_worker *w, media_id id) {
    struct media_call *c = slot_of(id) < w->calls_max ? w->calls[slot_of(id)] : NULL;
    return c && c->id == id ? c : NULL;
}

static struct media_event event_of(const struct media_call *c, enum media_event_kind kind) {
    struct media_event ev;
    memset(&ev, 0, sizeof ev);
    ev.kind = kind;
    ev.id = c->id;
    ev.at_us = clock_mono_us();
    return ev;
}

void media_call_event(struct media_call *c, enum media_event_kind kind) {
    struct media_event ev = event_of(c, kind);
    media_worker_emit(c->worker, &ev);
}

static void fail(struct media_leg *leg, int err, int alert) {
    struct media_event ev = event_of(leg->call, MEDIA_EV_FAILED);
    if (leg->call->failed)
        return;
    leg->call->failed = true;
    ev.u.failed.near = leg->is_near;
    ev.u.failed.err = err;
    ev.u.failed.alert = alert;
    media_worker_emit(leg->call->worker, &ev);
}

void media_call_fail(struct media_leg *leg, int err) {
    fail(leg, err, -1);
}

const struct addr *media_leg_path(const struct media_leg *leg) {
    return addr_is_set(&leg->ice.selected) || leg->source_count == 0 ? &leg->ice.selected : &leg->sources[0].addr;
}

/* DTLS of a leg */

static void on_dtls_send(const uint8_t *dg, size_t len, void *arg) {
    struct media_leg *leg = arg;
    media_worker_send(leg->call->worker, media_leg_path(leg), dg, len, true);
}

static void handshake_over(struct media_leg *leg) {
    if (leg->handshaking)
        DL_DELETE(leg->call->worker->handshaking, leg);
    leg->handshaking = false;
}

void media_call_tell_keys(struct media_call *c) {
    if (c->mode != MEDIA_MODE_TRANSFER || c->keys_told || !c->far.dtls_up)
        return;
    struct media_event ev = event_of(c, MEDIA_EV_KEYS);
    ev.u.keys.keys = c->far.keys;
    ev.u.keys.rx = c->from_far.s.rx;
    c->keys_told = true;
    media_worker_emit(c->worker, &ev);
    secret_wipe(&ev, sizeof ev);
    media_tell_call(c);
}

void media_leg_tell_path(const struct media_leg *leg, enum media_event_kind kind, bool waited) {
    struct media_event ev = event_of(leg->call, kind);
    ev.u.path.addr = leg->ice.selected;
    ev.u.path.number = leg->number;
    ev.u.path.waited = waited;
    media_worker_emit(leg->call->worker, &ev);
}

static void on_dtls_connected(const struct media_keys *keys, void *arg) {
    struct media_leg *leg = arg;
    struct media_call *c = leg->call;
    struct media_event ev = event_of(c, leg->is_near ? MEDIA_EV_NEAR_DTLS : MEDIA_EV_FAR_DTLS);
    if (leg->waiting) {
        media_plain_done(leg);
        media_leg_vouch(leg, &leg->ice.selected);
        media_leg_tell_path(leg, MEDIA_EV_FAR_ADDRESS, false);
    }
    handshake_over(leg);
    worker_count(&c->worker->n.dtls_handshakes, 1);
    leg->keys = *keys;
    leg->dtls_up = true;
    ev.u.profile = keys->profile;
    media_worker_emit(c->worker, &ev);
    media_call_tell_keys(c);
    media_relay_prepare(c);
    media_relay_flush(c);
    media_ringback_start(c);
}

static void on_dtls_data(const uint8_t *p, size_t len, void *arg) {
    struct media_leg *leg = arg;
    struct media_event ev = event_of(leg->call, MEDIA_EV_DATA);
    if (leg->is_near || len > MEDIA_DATA_MAX_BYTES)
        return;
    ev.u.data.len = (uint16_t)len;
    memcpy(ev.u.data.p, p, len);
    media_worker_emit(leg->call->worker, &ev);
}

/* Only noted here: the session is still on the stack (settle_dtls acts). */
static void on_dtls_closed(int err, void *arg) {
    struct media_leg *leg = arg;
    leg->dtls_over = true;
    leg->dtls_err = err;
}

const struct dtls_ops media_dtls_ops = {on_dtls_send, on_dtls_connected, on_dtls_data, on_dtls_closed};

static void peer_closed(struct media_leg *leg) {
    struct media_event ev = event_of(leg->call, MEDIA_EV_PEER_CLOSED);
    ev.u.near = leg->is_near;
    media_worker_emit(leg->call->worker, &ev);
}

static void settle_dtls(struct media_leg *leg) {
    if (!leg->dtls_over)
        return;
    leg->dtls_over = false;
    handshake_over(leg);
    int alert = leg->dtls ? dtls_session_alert(leg->dtls) : -1;
    leg->dtls = dtls_session_forget(leg->dtls);
    if (leg->dtls_err == 0) {
        peer_closed(leg);
    } else {
        worker_count(&leg->call->worker->n.dtls_failed, 1);
        fail(leg, leg->dtls_err, alert);
    }
}

bool media_leg_wants_dtls(const struct media_leg *leg) {
    return leg->open && !leg->dtls && !leg->dtls_up && !leg->call->failed && leg->fingerprint_count > 0 &&
           (!leg->is_near || leg->call->mode == MEDIA_MODE_DTLS);
}

/* A lite agent sends no checks of its own; but from its answer to the first one until the ClientHello that it allowed,
 * a round trip and the peer's own time pass. 0: unknown. */
static uint32_t rtt_ms(const struct media_leg *leg) {
    if (leg->plain)
        return PLAIN_RTT_MS;
    uint64_t passed_ms = leg->call->worker->now_ms - leg->stun_reply_ms;
    if (leg->dtls_client || !leg->stun_reply_ms || passed_ms > RTT_MAX_MS)
        return 0;
    return passed_ms ? (uint32_t)passed_ms : 1;
}

void media_leg_start_dtls(struct media_leg *leg) {
    struct media_worker *w = leg->call->worker;
    struct dtls_params params = {.client = leg->dtls_client,
                                 .fingerprints = leg->fingerprints,
                                 .fingerprint_count = leg->fingerprint_count,
                                 .rtt_ms = rtt_ms(leg),
                                 .unheard_max = leg->plain ? UNHEARD_MAX : 0};
    if (dtls_session_new(&leg->dtls, leg->call->identity, &params, &media_dtls_ops, leg) != 0) {
        media_call_fail(leg, E_NOMEM);
        return;
    }
    leg->handshaking = true;
    DL_APPEND(w->handshaking, leg);
    dtls_session_start(leg->dtls, w->now_ms);
}

static void park(struct media_leg *leg, const uint8_t *p, size_t len) {
    if (!leg->parked)
        leg->parked = calloc(LEG_PARKED_MAX, sizeof *leg->parked);
    if (!leg->parked || leg->parked_count == LEG_PARKED_MAX)
        return;
    struct parked *k = &leg->parked[leg->parked_count++];
    k->len = (uint16_t)len;
    memcpy(k->p, p, len);
}

static void unpark(struct media_leg *leg) {
    for (unsigned i = 0; i < leg->parked_count && leg->dtls && !leg->dtls_over; i++)
        dtls_session_input(leg->dtls, leg->parked[i].p, leg->parked[i].len, leg->call->worker->now_ms);
    free(leg->parked);
    leg->parked = NULL;
    leg->parked_count = 0;
}

void media_call_dtls(struct media_leg *leg, const uint8_t *p, size_t len) {
    struct media_call *c = leg->call;
    leg->seen_ms = c->worker->now_ms;
    if (leg->is_near && c->mode == MEDIA_MODE_DTLS && leg->fingerprint_count == 0) {
        park(leg, p, len);
        return;
    }
    if (media_leg_wants_dtls(leg) && !leg->dtls_client)
        media_leg_start_dtls(leg);
    if (leg->dtls) {
        bool was_up = leg->dtls_up;
        dtls_session_input(leg->dtls, p, len, c->worker->now_ms);
        if (leg->dtls_up && !was_up)
            media_tell_leg(leg);
        settle_dtls(leg);
    } else if (leg->dtls_up && p[0] == DTLS_ALERT && !leg->alert_ms) {
        /* The keys were handed over and ours are erased: this alert cannot be read. It may be forged, so the call ends
         * only when the caller is silent afterwards. */
        leg->alert_ms = c->worker->now_ms;
    }
}

bool media_call_handshaking(const struct media_leg *leg) {
    return leg->handshaking;
}

void media_call_rtp(struct media_leg *leg, uint8_t *p, size_t len) {
    leg->seen_ms = leg->call->worker->now_ms;
    leg->alert_ms = 0;
    media_relay_rtp(leg, p, len);
}

void media_leg_selected(struct media_leg *leg) {
    media_leg_tell_path(leg, leg->is_near ? MEDIA_EV_NEAR_ICE : MEDIA_EV_FAR_ICE, false);
    media_tell_leg(leg);
    if (media_leg_wants_dtls(leg) && leg->dtls_client)
        media_leg_start_dtls(leg);
    media_relay_flush(leg->call);
    settle_dtls(leg);
}

/* Life */

void media_leg_open(struct media_leg *leg, const struct ice_lite *ice, bool is_near) {
    leg->is_near = is_near;
    leg->open = true;
    leg->seen_ms = leg->call->worker->now_ms;
    leg->rtcp_next = 1;
    leg->rtcp_limit = leg->call->worker->keep ? 1 + MEDIA_RESERVED : SRTCP_INDEX_MAX;
    media_ice_open(leg, ice);
}

void media_leg_close(struct media_leg *leg) {
    struct media_call *c = leg->call;
    if (!leg->open)
        return;
    handshake_over(leg);
    media_plain_done(leg);
    leg->dtls = dtls_session_free(leg->dtls);
    leg->crypt = rtp_crypt_free(leg->crypt);
    media_ice_close(leg);
    free(leg->parked);
    secret_wipe(leg, sizeof *leg);
    leg->call = c;
}

void media_leg_adopt(struct media_leg *leg, struct dtls_session *dtls, const struct addr *src,
                     const struct media_keys *keys) {
    leg->dtls = dtls;
    dtls_session_move(dtls, &media_dtls_ops, leg);
    leg->ice.selected = *src;
    leg->seen_ms = leg->call->worker->now_ms;
    on_dtls_connected(keys, leg);
}

/* Who has no ICE is waited for, or called. Until the handshake is done its address is nobody's, so that an offer can
 * take no address away from another call. */
void media_leg_plain(struct media_leg *leg, const struct addr *offered) {
    struct media_worker *w = leg->call->worker;
    leg->plain = true;
    leg->offered = *offered;
    if (w->maps_v4)
        addr_map(&leg->offered);
    media_plain_wait(leg);
    if (!leg->dtls_client)
        return;
    if (!addr_is_set(&leg->offered) || !media_plain_may_call(w, &leg->offered)) {
        media_call_fail(leg, E_DENIED);
        return;
    }
    leg->ice.selected = leg->offered;
    media_leg_start_dtls(leg);
}

struct media_call *media_call_new(struct media_worker *w, media_id id, struct dtls_identity *identity) {
    struct media_call *c = calloc(1, sizeof *c);
    struct media_event failed = {.kind = MEDIA_EV_FAILED, .id = id, .u.failed = {.err = E_NOMEM}};
    if (!c) {
        media_worker_emit(w, &failed);
        return NULL;
    }
    c->worker = w;
    c->id = id;
    c->far.call = c->near.call = c;
    c->identity = identity;
    w->calls[slot_of(id)] = c;
    w->calls_open++;
    worker_count(&w->n.calls, 1);
    return c;
}

static void call_open(struct media_worker *w, media_id id, const struct media_far *far,
                      struct dtls_identity *identity) {
    struct media_call *c = media_call_new(w, id, identity);
    if (!c)
        return;
    media_leg_open(&c->far, &far->ice, false);
    c->far.dtls_client = far->dtls_client;
    memcpy(c->far.fingerprints, far->fingerprints, sizeof c->far.fingerprints);
    c->far.fingerprint_count = far->fingerprint_count;
    c->ringback = far->ringback;
    c->ringback_pt = far->ringback_pt;
    if (far->plain)
        media_leg_plain(&c->far, &far->offered);
    media_tell_leg(&c->far);
    media_tell_call(c);
}

static void call_close(struct media_call *c) {
    struct media_worker *w = c->worker;
    struct media_event ev = event_of(c, MEDIA_EV_CLOSED);
    ev.u.stats = c->stats;
    media_ringback_stop(c);
    media_waiting_drop_all(c);
    media_leg_close(&c->near);
    media_leg_close(&c->far);
    w->calls[slot_of(c->id)] = NULL;
    w->calls_open--;
    atomic_fetch_sub_explicit(&w->n.calls, 1, memory_order_relaxed);
    free(c->held);
    free(c);
    media_worker_emit(w, &ev);
}

static void near_open(struct media_call *c, const struct media_near *near) {
    /* Keys that went to one phone go to no other, and nothing else may write, or have written, with them. */
    if (c->keys_told || (near->mode == MEDIA_MODE_TRANSFER && c->ringback_sent)) {
        media_call_fail(&c->near, E_STATE);
        return;
    }
    media_waiting_drop_all(c);
    media_leg_close(&c->near);
    c->mode = near->mode;
    media_leg_open(&c->near, &near->ice, true);
    c->near.number = near->number;
    c->near.keys = near->keys;
    c->near.dtls_client = near->dtls_client;
    memcpy(c->near.fingerprints, near->fingerprints, sizeof c->near.fingerprints);
    c->near.fingerprint_count = near->fingerprint_count;
    media_tell_leg(&c->near);
    media_tell_call(c);
    media_call_tell_keys(c);
    media_relay_prepare(c);
}

static void near_fingerprints(struct media_call *c, const struct media_command *cmd) {
    struct media_leg *leg = &c->near;
    if (!leg->open || c->mode != MEDIA_MODE_DTLS || leg->dtls || leg->dtls_up)
        return;
    memcpy(leg->fingerprints, cmd->u.fingerprints.fp, sizeof leg->fingerprints);
    leg->fingerprint_count = cmd->u.fingerprints.count;
    leg->dtls_client = cmd->u.fingerprints.dtls_client;
    media_tell_leg(leg);
    if (media_leg_wants_dtls(leg) && (leg->dtls_client ? addr_is_set(&leg->ice.selected) : leg->parked_count > 0))
        media_leg_start_dtls(leg);
    if (leg->dtls)
        unpark(leg);
    settle_dtls(leg);
}

static void keys_taken(struct media_call *c) {
    if (c->mode != MEDIA_MODE_TRANSFER || !c->keys_told || c->keys_taken)
        return;
    c->keys_taken = true;
    media_keys_wipe(&c->far.keys);
    c->far.dtls = dtls_session_forget(c->far.dtls); /* its keys and secrets go with it */
    media_tell_leg(&c->far);
    media_tell_call(c);
    media_relay_flush(c);
}

void media_call_command(struct media_worker *w, const struct media_command *cmd) {
    struct media_call *c = media_call_find(w, cmd->id);
    if (cmd->kind == MEDIA_CMD_OPEN) {
        call_open(w, cmd->id, &cmd->u.open.far, cmd->u.open.identity);
        return;
    }
    if (!c && cmd->kind != MEDIA_CMD_RESUME)
        return;
    switch (cmd->kind) {
    case MEDIA_CMD_FAR_RESTART:
        media_ice_restart(&c->far, &cmd->u.ice);
        break;
    case MEDIA_CMD_NEAR_OPEN:
        if (cmd->u.near.waits)
            media_waiting_open(c, &cmd->u.near);
        else
            near_open(c, &cmd->u.near);
        break;
    case MEDIA_CMD_NEAR_CHOOSE:
        media_waiting_choose(c, cmd->u.number);
        break;
    case MEDIA_CMD_NEAR_DROP:
        media_waiting_drop(c, cmd->u.number);
        break;
    case MEDIA_CMD_NEAR_FINGERPRINTS:
        near_fingerprints(c, cmd);
        break;
    case MEDIA_CMD_GATE:
        c->gate_ms = c->gate ? c->gate_ms : w->now_ms;
        c->gate = true;
        media_ringback_stop(c);
        media_relay_prepare(c);
        media_tell_call(c);
        break;
    case MEDIA_CMD_KEYS_TAKEN:
        keys_taken(c);
        break;
    case MEDIA_CMD_DATA:
        if (c->far.dtls)
            dtls_session_write(c->far.dtls, cmd->u.data.p, cmd->u.data.len);
        break;
    case MEDIA_CMD_STATS: {
        struct media_event ev = event_of(c, MEDIA_EV_STATS);
        ev.u.stats = c->stats;
        media_worker_emit(w, &ev);
        break;
    }
    case MEDIA_CMD_CLOSE:
        call_close(c);
        break;
    default:
        media_resume_command(w, cmd);
        break;
    }
}

/* Consent (RFC 7675) is ICE's. Without it, who sends neither RTP nor RTCP is gone; but before the answer a caller may
 * well be silent, since nobody listens. */
static bool is_silent(const struct media_leg *leg) {
    const struct media_call *c = leg->call;
    uint64_t since_ms = leg->seen_ms > c->gate_ms ? leg->seen_ms : c->gate_ms;
    return c->gate && leg->dtls_up && c->worker->inactivity_ms &&
           c->worker->now_ms - since_ms > c->worker->inactivity_ms;
}

static void sweep_leg(struct media_leg *leg) {
    uint64_t now_ms = leg->call->worker->now_ms;
    if (!leg->open)
        return;
    if (leg->alert_ms && now_ms - leg->alert_ms > ALERT_MS) {
        leg->alert_ms = 0;
        peer_closed(leg);
    }
    media_leg_reserve(leg);
    if (leg->plain ? is_silent(leg) : addr_is_set(&leg->ice.selected) && now_ms - leg->seen_ms > LEG_CONSENT_MS)
        media_call_fail(leg, E_TIMEOUT);
}

void media_call_sweep(struct media_worker *w, uint64_t since_ms) {
    struct media_leg *leg, *next;
    DL_FOREACH_SAFE(w->handshaking, leg, next) {
        dtls_session_tick(leg->dtls, w->now_ms);
        settle_dtls(leg);
    }
    if (since_ms > MEDIA_SWEEP_MS)
        since_ms = MEDIA_SWEEP_MS;
    for (uint64_t left = w->calls_max * since_ms / MEDIA_SWEEP_MS + 1; left > 0 && w->calls_open; left--) {
        struct media_call *c = w->calls[w->swept];
        w->swept = (w->swept + 1) % w->calls_max;
        if (c) {
            sweep_leg(&c->far);
            sweep_leg(&c->near);
            if (c->untold)
                media_tell_call(c);
        }
    }
}

void media_call_close_all(struct media_worker *w) {
    for (unsigned i = 0; i < w->calls_max; i++)
        if (w->calls[i])
            call_close(w->calls[i]);
}
