/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define HELLO_MAX_MS 10000 /* a connection that has not said who it is by then is closed */
#define FAREWELL_MS  30000 /* for the receipt and the goodbye of a phone that came for one call */
#define ERRORS_MAX   20    /* messages that were refused; then the connection is closed */

/* Sending */

static void too_slow(const struct calls *cs, ws_id ws) {
    const struct phone *p = phone_by_ws(cs, ws);
    log_warn("phone too slow", log_s("device", p ? p->device : ""), log_s("tenant", p ? p->tenant : ""),
             log_s("detail", "it does not read what it is sent; its connection is closed"));
}

void phone_send(struct calls *cs, ws_id ws, struct buf *b) {
    if (ws && !b->oom && ws_send_text(cs->http, ws, b->p, b->len) == E_FULL)
        too_slow(cs, ws);
    buf_wipe(b); /* it may have been a handoff */
}

void phone_send_error(struct calls *cs, struct phone *p, const char *code, const char *detail) {
    struct buf b = {0};
    attach_write_error(&b, code, detail);
    phone_send(cs, p->ws, &b);
    if (++p->errors > ERRORS_MAX)
        ws_close(cs->http, p->ws, PHONE_CLOSE_POLICY, "too many messages were refused");
}

void phone_close(struct calls *cs, ws_id ws, int code, const char *error, const char *detail) {
    struct buf b = {0};
    attach_write_error(&b, error, detail);
    phone_send(cs, ws, &b);
    ws_close(cs->http, ws, code, error);
}

struct phone *phone_by_ws(const struct calls *cs, ws_id ws) {
    struct phone *p;
    HASH_FIND(hh, cs->phones, &ws, sizeof ws, p);
    return p;
}

struct phone *phone_whole(const struct calls *cs, const char *tenant, const char *device) {
    char key[DEVICE_KEY_BYTES];
    struct phone *p;
    calls_device_key(key, tenant, device);
    HASH_FIND(by_device, cs->phones_by_device, key, strlen(key), p);
    return p;
}

/* What the calls tell their phones */

void phone_note_handoff(struct call *c) {
    if (!c->near.noted)
        call_note(
            c, 0, "handoff",
            json_pack("{s:s,s:s}", "device", c->devices[c->near.device].id, "mode", media_mode_name(c->near.mode)));
    c->near.told = c->near.noted = true;
}

void phone_tell_handoff(struct call *c) {
    struct call_device *d = &c->devices[c->near.device];
    struct buf b = {0};
    if (!d->ws || d->joining || !c->near.kept)
        return;
    if (!c->near.told && !c->near.taken) {
        call_sealed_write(c, &c->near);
        buf_reserve(&b, c->near.handoff.len + MESSAGE_RESERVE_BYTES);
        attach_write_handoff(&b, c->id, &c->near.handoff);
        phone_send(c->owner, d->ws, &b);
    }
    phone_note_handoff(c);
    call_data_flush(c);
}

void phone_write_over(struct buf *b, const struct call *c, enum call_reason reason) {
    if (reason == CALL_ANSWERED_ELSEWHERE)
        attach_write_elsewhere(b, c->id);
    else
        attach_write_ended(b, c->id, call_reason_name(reason));
}

void phone_tell_over(struct call *c, unsigned device, enum call_reason reason) {
    struct call_device *d = &c->devices[device];
    struct buf b = {0};
    if (!d->ws)
        return;
    phone_write_over(&b, c, reason);
    phone_send(c->owner, d->ws, &b);
    d->over_told = true;
}

/* Leaving */

void phone_leave_whole(struct calls *cs, struct phone *p) {
    if (p->hello && p->whole)
        HASH_DELETE(by_device, cs->phones_by_device, p);
    p->whole = false;
}

void phones_count(struct calls *cs, int by) {
    cs->attached_count += (size_t)by;
    metric_set(cs->m_attached, (int64_t)cs->attached_count);
}

void phone_recall(struct calls *cs, const struct phone *p, ws_id ws) {
    struct call_device *d;
    DL_FOREACH(calls_of_device(cs, p->tenant, p->device), d) {
        if (d->ws && (!ws || d->ws == ws) && !ws_delivered(cs->http, d->ws))
            d->over_told = false;
    }
}

/* The phone is not there any more, or is treated so: its legs ring on without it. */
static void detach(struct calls *cs, struct phone *p) {
    struct call_device *d, *next;
    phone_recall(cs, p, p->ws);
    phone_leave_whole(cs, p);
    phones_count(cs, -1);
    p->hello = false;
    DL_FOREACH_SAFE(calls_of_device(cs, p->tenant, p->device), d, next) {
        if (d->ws != p->ws)
            continue;
        d->ws = 0;
        call_step(d->call, CALL_IN_DETACHED, d->index);
    }
    const struct call *c = calls_get(cs, p->call);
    log_info("phone detached", log_s("device", p->device), log_s("tenant", p->tenant), log_s("call", c ? c->id : ""));
}

/* All of the device's connections, whatever opened them. Rare enough to look at every phone: there is no index of the
 * connections by token whose calls are over. */
static void cut_off(struct calls *cs, const char *tenant, const char *device, bool deleted) {
    char key[DEVICE_KEY_BYTES];
    struct phone *p, *next;
    calls_device_key(key, tenant, device);
    HASH_ITER(hh, cs->phones, p, next) {
        if (!p->hello || strcmp(p->key, key) != 0)
            continue;
        detach(cs, p);
        phone_close(cs, p->ws, PHONE_CLOSE_REVOKED, "revoked",
                    deleted ? "the device was deleted" : "the device has a new secret; attach with that one");
    }
}

void calls_device_revoked(const char *tenant, const char *device, bool deleted, void *arg) {
    struct calls *cs = arg;
    struct call_device *d, *next;
    DL_FOREACH_SAFE(calls_of_device(cs, tenant, device), d, next) {
        call_forget_tokens(d);
        if (deleted)
            call_step(d->call, CALL_IN_GONE, d->index);
    }
    if (store_device_forget_tokens(cs->d.store, tenant, device) != 0)
        log_error("nothing stored", log_s("device", device), log_s("error", err_str(E_NOMEM)));
    cut_off(cs, tenant, device, deleted);
}

void phone_note_state(struct calls *cs, const char *tenant, const char *device, const char *app_state, int on_call) {
    struct phone *p = phone_whole(cs, tenant, device);
    if (p && app_state[0])
        p->foreground = attach_is_foreground(app_state);
    if (p && on_call >= 0)
        p->on_call = on_call;
}

static void on_text(ws_id ws, const char *text, size_t len, void *arg) {
    struct calls *cs = arg;
    struct phone *p = phone_by_ws(cs, ws);
    struct attach_msg m;
    struct err_text et = {""};
    const char *code;
    if (!p)
        return;
    if (attach_read(&m, text, len, &code, &et) != 0) {
        phone_send_error(cs, p, code, et.s);
        return;
    }
    if (m.type == ATTACH_HELLO)
        phone_hello(cs, p, &m);
    else if (!p->hello)
        phone_send_error(cs, p, "state", "the first message is hello");
    else if (m.type == ATTACH_STATE)
        phone_note_state(cs, p->tenant, p->device, m.app_state, m.on_call);
    else
        phone_heard(cs, p, &m);
    attach_msg_free(&m);
}

static void on_binary(ws_id ws, const uint8_t *data, size_t len, void *arg) {
    struct calls *cs = arg;
    struct phone *p = phone_by_ws(cs, ws);
    int err = p && p->hello ? call_data_from_phone(cs, p, data, len) : 0;
    if (err != 0)
        phone_send_error(cs, p, "data",
                         err == E_INVAL ? "a binary frame is one datagram of 1 to 1100 bytes"
                                        : "this connection has no call whose caller could take data");
}

static void on_open(ws_id ws, const struct addr *peer, void *arg) {
    struct calls *cs = arg;
    struct phone *p = calloc(1, sizeof *p);
    if (!p) {
        ws_close(cs->http, ws, 1013, "out of memory");
        return;
    }
    p->ws = ws;
    p->peer = *peer;
    p->opened_ms = clock_mono_ms();
    HASH_ADD(hh, cs->phones, ws, sizeof p->ws, p);
}

static void on_closed(ws_id ws, void *arg) {
    struct calls *cs = arg;
    struct phone *p = phone_by_ws(cs, ws);
    if (!p)
        return;
    HASH_DEL(cs->phones, p);
    if (p->hello)
        detach(cs, p);
    free(p);
}

const struct ws_ops calls_ws_ops = {on_open, on_text, on_binary, on_closed};

/* What is known of a phone */

struct phone *phone_awake(const struct calls *cs, const char *tenant, const char *device) {
    struct phone *p = phone_whole(cs, tenant, device);
    return p && (p->foreground || p->on_call) ? p : NULL;
}

void phone_known(const struct calls *cs, const char *tenant, const char *device, struct ledger_known *known) {
    const struct phone *p = phone_whole(cs, tenant, device);
    const struct call_device *d;
    known->foreground = p && p->foreground;
    known->on_call = p && p->on_call;
    DL_FOREACH(calls_of_device(cs, tenant, device), d) {
        const struct call_fsm *f = &d->call->fsm;
        if ((f->state == CALL_ANSWERED || f->state == CALL_ACTIVE) && f->winner == (int)d->index)
            known->on_call = true;
    }
}

/* A connection by token, some time after the call's end: what is left to be said was said. */
static bool is_of_no_use(const struct calls *cs, const struct phone *p, uint64_t now_ms) {
    const struct call *c = calls_get(cs, p->call);
    return !c || (c->fsm.state == CALL_ENDED && clock_wall_ms() >= c->ended_ms + FAREWELL_MS &&
                  now_ms >= p->opened_ms + FAREWELL_MS);
}

void phones_sweep(struct calls *cs, uint64_t now_ms) {
    struct phone *p, *next;
    HASH_ITER(hh, cs->phones, p, next) {
        if (p->hello && !p->whole && is_of_no_use(cs, p, now_ms))
            phone_close(cs, p->ws, PHONE_CLOSE_CALL_OVER, "call_over", "the call that this connection was for is over");
        if (p->hello || now_ms - p->opened_ms < HELLO_MAX_MS)
            continue;
        p->opened_ms = now_ms; /* told once; it closes when its queue has left */
        phone_close(cs, p->ws, PHONE_CLOSE_NO_HELLO, "no_hello", "no hello came within 10 s");
    }
}

void phones_free(struct calls *cs) {
    struct phone *p, *next;
    HASH_CLEAR(by_device, cs->phones_by_device);
    HASH_ITER(hh, cs->phones, p, next) {
        HASH_DEL(cs->phones, p); /* NOLINT(clang-analyzer-*): what a uthash macro does */
        free(p);
    }
}
