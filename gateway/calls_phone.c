/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define HELLO_MAX_MS 10000 /* a connection that has not said who it is by then is closed */
#define ERRORS_MAX   20    /* messages that were refused; then the connection is closed */
/* A message around a handoff: names of PUSH_NAME_BYTES may be escaped to six times their length. A buffer that grew
 * would leave pieces of keys behind in freed memory. */
#define MESSAGE_RESERVE_BYTES 4096

/* RFC 6455 7.4.2: 4000-4999 are ours. */
enum {
    CLOSE_POLICY = 1008,
    CLOSE_UNAUTHORIZED = 4401,
    CLOSE_NO_HELLO = 4408,
    CLOSE_REPLACED = 4409,
    CLOSE_TOO_MANY = 4429
};

/* Sending */

static void send_buf(struct calls *cs, ws_id ws, struct buf *b) {
    if (ws && !b->oom)
        ws_send_text(cs->http, ws, b->p, b->len);
    buf_wipe(b); /* it may have been a handoff */
}

static void send_error(struct calls *cs, struct phone *p, const char *code, const char *detail) {
    struct buf b = {0};
    attach_write_error(&b, code, detail);
    send_buf(cs, p->ws, &b);
    if (++p->errors > ERRORS_MAX)
        ws_close(cs->http, p->ws, CLOSE_POLICY, "too many messages were refused");
}

static void close_with(struct calls *cs, ws_id ws, int code, const char *error, const char *detail) {
    struct buf b = {0};
    attach_write_error(&b, error, detail);
    send_buf(cs, ws, &b);
    ws_close(cs->http, ws, code, error);
}

static struct phone *phone_by_ws(const struct calls *cs, ws_id ws) {
    struct phone *p;
    HASH_FIND(hh, cs->phones, &ws, sizeof ws, p);
    return p;
}

static struct phone *phone_whole(const struct calls *cs, const char *tenant, const char *device) {
    char key[DEVICE_KEY_BYTES];
    struct phone *p;
    calls_device_key(key, tenant, device);
    HASH_FIND(by_device, cs->phones_by_device, key, strlen(key), p);
    return p;
}

/* What the calls tell their phones */

static void write_call(struct buf *b, const struct call *c, const struct buf *handoff) {
    struct attach_call a = {.call = c->id,
                            .handle = c->handle,
                            .name = c->name,
                            .state = call_state_name(c->fsm.state),
                            .video = c->video,
                            .expires_at_ms = c->expires_ms,
                            .handoff = handoff};
    attach_write_call(b, &a);
}

static void note_handoff(struct call *c) {
    if (!c->near.noted)
        call_note(
            c, 0, "handoff",
            json_pack("{s:s,s:s}", "device", c->devices[c->near.device].id, "mode", media_mode_name(c->near.mode)));
    c->near.told = c->near.noted = true;
}

void phone_tell_handoff(struct call *c) {
    struct call_device *d = &c->devices[c->near.device];
    struct buf b = {0};
    if (!d->ws || d->joining)
        return;
    if (!c->near.told && !c->near.taken) {
        call_sealed_write(c, &c->near);
        buf_reserve(&b, c->near.handoff.len + MESSAGE_RESERVE_BYTES);
        attach_write_handoff(&b, c->id, &c->near.handoff);
        send_buf(c->owner, d->ws, &b);
    }
    note_handoff(c);
    call_data_flush(c);
}

static void write_over(struct buf *b, const struct call *c, enum call_reason reason) {
    if (reason == CALL_ANSWERED_ELSEWHERE)
        attach_write_elsewhere(b, c->id);
    else
        attach_write_ended(b, c->id, call_reason_name(reason));
}

void phone_tell_over(struct call *c, unsigned device, enum call_reason reason) {
    struct buf b = {0};
    if (!c->devices[device].ws)
        return;
    write_over(&b, c, reason);
    send_buf(c->owner, c->devices[device].ws, &b);
}

/* Joining: a phone is told of a call */

/* The older connection of this leg gives way; one that was there for this call alone has no further use. */
static void take_over_leg(struct calls *cs, struct call_device *d, const struct phone *p) {
    const struct phone *older = d->ws && d->ws != p->ws ? phone_by_ws(cs, d->ws) : NULL;
    if (older && !older->whole)
        close_with(cs, older->ws, CLOSE_REPLACED, "replaced", "a newer connection of this device took the call over");
    d->ws = p->ws;
}

void phone_join(struct phone *p, struct call *c, unsigned device) {
    struct calls *cs = c->owner;
    struct call_device *d = &c->devices[device];
    struct buf b = {0};
    take_over_leg(cs, d, p);
    if (c->fsm.state != CALL_ENDED && c->fsm.legs[device].state != CALL_LEG_OUT) {
        for (unsigned i = 0; i < d->push_count; i++)
            if (!d->pushes[i].ledger.attached_ms)
                d->pushes[i].ledger.attached_ms = clock_wall_ms();
        call_note_device(c, 0, "attached", device);
        /* A step may hand the media over at once: then the message takes it along. */
        d->joining = true;
        call_step(c, CALL_IN_ATTACHED, device);
        d->joining = false;
    }
    bool out = c->fsm.legs[device].state == CALL_LEG_OUT;
    struct call_near *n = out ? NULL : call_near_of(c, device);
    if (n)
        call_sealed_write(c, n);
    const struct buf *handoff = n && n->handoff.len > 0 && !n->taken ? &n->handoff : NULL;
    buf_reserve(&b, (handoff ? handoff->len : 0) + MESSAGE_RESERVE_BYTES);
    write_call(&b, c, handoff);
    send_buf(cs, p->ws, &b);
    if (n == &c->near && (handoff || n->taken))
        note_handoff(c);
    else if (handoff)
        n->told = true;
    call_data_flush(c);
    if (out)
        phone_tell_over(c, device, c->fsm.legs[device].out);
}

static void join_all(struct calls *cs, struct phone *p) {
    struct call_device *d, *next;
    DL_FOREACH_SAFE(calls_of_device(cs, p->tenant, p->device), d, next) {
        if (d->call->started && d->call->fsm.state != CALL_ENDED && d->call->fsm.legs[d->index].state != CALL_LEG_OUT)
            phone_join(p, d->call, d->index);
    }
}

/* hello */

static struct call_device *leg_by_token(const struct calls *cs, const struct attach_msg *m) {
    char hash[SECRET_HASH_BYTES];
    struct call_push *p;
    secret_hash(hash, m->token);
    HASH_FIND(by_token, cs->by_token, hash, SECRET_HASH_BYTES - 1, p);
    struct call_device *d = p ? p->device : NULL;
    if (!d || strcmp(d->id, m->device) != 0 || (m->call[0] && strcasecmp(d->call->id, m->call) != 0))
        return NULL;
    return d;
}

/* Who is it? Returns the leg in *legp when it came by a push's token. */
static bool identify(struct calls *cs, struct phone *p, const struct attach_msg *m, struct call_device **legp) {
    const char *tenant = NULL;
    *legp = m->token[0] ? leg_by_token(cs, m) : NULL;
    if (*legp) {
        tenant = (*legp)->call->tenant;
        p->call = (*legp)->call->slot;
    } else if (!m->token[0]) {
        const struct device *dev = devices_by_secret(cs->d.devices, m->device, m->secret);
        tenant = dev ? dev->tenant : NULL;
        p->whole = true;
    }
    if (!tenant)
        return false;
    snprintf(p->tenant, sizeof p->tenant, "%s", tenant);
    snprintf(p->device, sizeof p->device, "%s", m->device);
    calls_device_key(p->key, p->tenant, p->device);
    return true;
}

static void leave_by_device(struct calls *cs, struct phone *p) {
    if (p->hello && p->whole)
        HASH_DELETE(by_device, cs->phones_by_device, p);
    p->whole = false;
}

static void count_attached(struct calls *cs, int by) {
    cs->attached_count += (size_t)by;
    metric_set(cs->m_attached, (int64_t)cs->attached_count);
}

/* A phone that is here can mend what its pushes suffer from, and the app cannot see it by itself. */
static void tell_health(struct calls *cs, const struct phone *p) {
    static const char *const codes[HEALTH_CAUSES] = {[HEALTH_VIOLATIONS] = "not_reporting",
                                                     [HEALTH_BLOCKED] = "pushes_blocked",
                                                     [HEALTH_TOKEN_MISFILED] = "token_misfiled",
                                                     [HEALTH_TOKEN_INVALID] = "token_invalid"};
    const struct device *dev = devices_get(cs->d.devices, p->tenant, p->device);
    struct buf b = {0};
    if (!dev || !codes[dev->health_cause])
        return;
    attach_write_error(&b, codes[dev->health_cause], dev->health_reason);
    send_buf(cs, p->ws, &b);
}

static void on_hello(struct calls *cs, struct phone *p, const struct attach_msg *m) {
    struct call_device *leg;
    struct buf b = {0};
    if (p->hello) {
        send_error(cs, p, "state", "hello comes once, at the beginning");
        return;
    }
    if (!identify(cs, p, m, &leg)) {
        p->whole = false;
        if (http_unknown_from(cs->http, &p->peer)) {
            close_with(cs, p->ws, CLOSE_TOO_MANY, "too_many", "too many unknown tokens came from this network");
            return;
        }
        close_with(cs, p->ws, CLOSE_UNAUTHORIZED, "unauthorized",
                   "device and secret, or device and the push's token, do not belong together");
        return;
    }
    if (!http_phone_may(cs->http, p->whole ? m->secret : m->token)) {
        p->whole = false;
        close_with(cs, p->ws, CLOSE_TOO_MANY, "too_many", "this phone connects too often; try again in a second");
        return;
    }
    if (p->whole) {
        struct phone *older = phone_whole(cs, p->tenant, p->device);
        if (older) {
            leave_by_device(cs, older);
            close_with(cs, older->ws, CLOSE_REPLACED, "replaced", "this device has a newer connection");
        }
        HASH_ADD(by_device, cs->phones_by_device, key, strlen(p->key), p);
    }
    p->hello = true;
    p->foreground = attach_is_foreground(m->app_state);
    p->on_call = m->on_call == 1;
    count_attached(cs, 1);
    if (m->os_version[0])
        devices_set_os_version(cs->d.devices, p->tenant, p->device, m->os_version);
    log_info("phone attached", log_s("device", p->device), log_s("tenant", p->tenant),
             log_s("call", leg ? leg->call->id : ""), log_b("foreground", p->foreground));
    attach_write_welcome(&b, p->device, cs->d.config->cluster.node);
    send_buf(cs, p->ws, &b);
    tell_health(cs, p);
    if (leg)
        phone_join(p, leg->call, leg->index);
    else
        join_all(cs, p);
}

/* The other messages: each is about one leg */

struct heard {
    struct calls *cs;
    struct phone *p;
    struct call *c;
    unsigned device;
    const struct attach_msg *m;
};

/* The state machine's refusal, told in the phone's terms. */
static void tell_refused(const struct heard *h) {
    const struct call *c = h->c;
    struct buf b = {0};
    if (c->fsm.legs[h->device].state != CALL_LEG_OUT) {
        send_error(h->cs, h->p, "state", "this is not possible in the state that the call is in");
        return;
    }
    write_over(&b, c, c->fsm.legs[h->device].out);
    send_buf(h->cs, h->p->ws, &b);
}

static void step(const struct heard *h, enum call_input_kind kind) {
    if (call_step(h->c, kind, h->device) != 0)
        tell_refused(h);
}

static void on_receipt(const struct heard *h) {
    if (call_receipt(h->c, h->device, &h->m->receipt) != 0) {
        send_error(h->cs, h->p, "unknown_push", "receipt: push is none of this device's pushes for the call");
        return;
    }
    /* An app that was running already may answer a push over the connection that it has. */
    if (!h->c->devices[h->device].ws)
        phone_join(h->p, h->c, h->device);
}

static void on_ringing(const struct heard *h) {
    if (h->c->fsm.state == CALL_RINGING && h->c->fsm.legs[h->device].state == CALL_LEG_CALLED)
        call_note_device(h->c, 0, "ringing", h->device);
    step(h, CALL_IN_RINGING);
}

static void on_media(const struct heard *h) {
    struct err_text et = {""};
    int err = call_near_sdp(h->c, h->device, h->m->sdp, &et);
    if (err != 0)
        send_error(h->cs, h->p, err == E_STATE ? "state" : "bad_sdp", et.s);
}

static void on_answer(const struct heard *h) {
    if (call_step(h->c, CALL_IN_ANSWER, h->device) != 0)
        tell_refused(h);
    else if (h->m->sdp[0])
        on_media(h);
}

static void on_decline(const struct heard *h) {
    struct receipt r = {.report_error = h->m->reason};
    step(h, strcmp(h->m->reason, "busy") == 0 ? CALL_IN_BUSY
            : receipt_filtered(&r)            ? CALL_IN_FILTERED
                                              : CALL_IN_DECLINE);
}

static void on_hangup(const struct heard *h) {
    step(h, CALL_IN_PHONE_HANGUP);
}

static void on_keys_taken(const struct heard *h) {
    if (call_keys_taken(h->c, h->device) != 0)
        send_error(h->cs, h->p, "state", "keys_taken: no keys went to this device");
}

static void (*const on_leg[ATTACH_TYPES])(const struct heard *h) = {
    [ATTACH_RECEIPT] = on_receipt,      [ATTACH_RINGING] = on_ringing, [ATTACH_ANSWER] = on_answer,
    [ATTACH_DECLINE] = on_decline,      [ATTACH_HANGUP] = on_hangup,   [ATTACH_MEDIA] = on_media,
    [ATTACH_KEYS_TAKEN] = on_keys_taken};

/* A receipt on its way to the row of a call that is long over. */
struct late_phone {
    struct calls *calls;
    ws_id ws;
};

static void on_late_receipt(int err, void *arg) {
    struct late_phone late = *(struct late_phone *)arg;
    struct phone *p = phone_by_ws(late.calls, late.ws);
    free(arg);
    if (p && err != 0)
        send_error(late.calls, p, "unknown_call", "this connection has no call of that id");
}

static void on_leg_message(struct calls *cs, struct phone *p, const struct attach_msg *m) {
    struct heard h = {.cs = cs, .p = p, .c = calls_find(cs, p->tenant, m->call), .m = m};
    if (!h.c && m->type == ATTACH_RECEIPT && p->whole) {
        const struct receipt_owner o = {.tenant = p->tenant, .device = p->device};
        struct late_phone *late = malloc(sizeof *late);
        if (late)
            *late = (struct late_phone){cs, p->ws};
        calls_late_receipt(cs, &m->receipt, &o, late ? on_late_receipt : NULL, late);
        return;
    }
    int device = h.c && h.c->started && (p->whole || h.c->slot == p->call) ? call_device_by_id(h.c, p->device) : -1;
    if (device < 0) {
        send_error(cs, p, "unknown_call", "this connection has no call of that id");
        return;
    }
    h.device = (unsigned)device;
    on_leg[m->type](&h);
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
        send_error(cs, p, code, et.s);
        return;
    }
    if (m.type == ATTACH_HELLO)
        on_hello(cs, p, &m);
    else if (!p->hello)
        send_error(cs, p, "state", "the first message is hello");
    else if (m.type == ATTACH_STATE)
        phone_note_state(cs, p->tenant, p->device, m.app_state, m.on_call);
    else
        on_leg_message(cs, p, &m);
    attach_msg_free(&m);
}

static void on_binary(ws_id ws, const uint8_t *data, size_t len, void *arg) {
    struct calls *cs = arg;
    struct phone *p = phone_by_ws(cs, ws);
    int err = p && p->hello ? call_data_from_phone(cs, p, data, len) : 0;
    if (err != 0)
        send_error(cs, p, "data",
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
    struct call_device *d, *next;
    if (!p)
        return;
    HASH_DEL(cs->phones, p);
    if (p->hello) {
        leave_by_device(cs, p);
        count_attached(cs, -1);
        DL_FOREACH_SAFE(calls_of_device(cs, p->tenant, p->device), d, next) {
            if (d->ws == ws) {
                d->ws = 0;
                call_step(d->call, CALL_IN_DETACHED, d->index);
            }
        }
        const struct call *c = calls_get(cs, p->call);
        log_info("phone detached", log_s("device", p->device), log_s("tenant", p->tenant),
                 log_s("call", c ? c->id : ""));
    }
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

void phones_sweep(struct calls *cs, uint64_t now_ms) {
    struct phone *p, *next;
    HASH_ITER(hh, cs->phones, p, next) {
        if (p->hello || now_ms - p->opened_ms < HELLO_MAX_MS)
            continue;
        p->opened_ms = now_ms; /* told once; it closes when its queue has left */
        close_with(cs, p->ws, CLOSE_NO_HELLO, "no_hello", "no hello came within 10 s");
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
