/* SPDX-License-Identifier: Apache-2.0 */
/* A phone attaches: who it is, and what it is told at once: the calls that it has a part in, and what it missed while
 * it was away. */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

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

/* Joining: a phone is told of a call */

/* The older connection of this leg gives way; one that was there for this call alone has no further use. */
static void take_over_leg(struct calls *cs, struct call_device *d, const struct phone *p) {
    const struct phone *older = d->ws && d->ws != p->ws ? phone_by_ws(cs, d->ws) : NULL;
    if (older && !older->whole)
        phone_close(cs, older->ws, PHONE_CLOSE_REPLACED, "replaced",
                    "a newer connection of this device took the call over");
    d->ws = p->ws;
}

void phone_tell_call(struct call *c, unsigned device) {
    struct call_device *d = &c->devices[device];
    struct buf b = {0};
    bool out = c->fsm.legs[device].state == CALL_LEG_OUT;
    struct call_near *n = out ? NULL : call_near_of(c, device);
    if (n)
        call_sealed_write(c, n);
    const struct buf *handoff = n && n->handoff.len > 0 && !n->taken ? &n->handoff : NULL;
    d->call_waits = n == &c->near && handoff && !n->kept;
    if (d->call_waits)
        return;
    buf_reserve(&b, (handoff ? handoff->len : 0) + MESSAGE_RESERVE_BYTES);
    write_call(&b, c, handoff);
    phone_send(c->owner, d->ws, &b);
    if (n == &c->near && (handoff || n->taken))
        phone_note_handoff(c);
    else if (handoff)
        n->told = true;
    call_data_flush(c);
    if (out)
        phone_tell_over(c, device, c->fsm.legs[device].out);
}

void phone_join(struct phone *p, struct call *c, unsigned device) {
    struct call_device *d = &c->devices[device];
    take_over_leg(c->owner, d, p);
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
    phone_tell_call(c, device);
}

static void join_all(struct calls *cs, struct phone *p) {
    struct call_device *d, *next;
    DL_FOREACH_SAFE(calls_of_device(cs, p->tenant, p->device), d, next) {
        if (d->call->started && d->call->fsm.state != CALL_ENDED && d->call->fsm.legs[d->index].state != CALL_LEG_OUT)
            phone_join(p, d->call, d->index);
    }
}

/* What ended for this phone while it was away, or over a connection that broke: as long as the calls are in memory,
 * two minutes at least. One that it never heard of is none of its business. */
static void tell_missed(struct calls *cs, const struct phone *p) {
    struct call_device *d;
    DL_FOREACH(calls_of_device(cs, p->tenant, p->device), d) {
        const struct call_leg *leg = &d->call->fsm.legs[d->index];
        if (leg->state != CALL_LEG_OUT || d->over_told || (!leg->sent && !leg->reached))
            continue;
        d->ws = p->ws;
        phone_tell_over(d->call, d->index, leg->out);
    }
}

/* A call that the phone asks about, and only the store knows. */
struct asked_call {
    struct calls *calls;
    ws_id ws;
};

static bool has_device(const json_t *doc, const char *device) {
    size_t i;
    const json_t *d;
    json_array_foreach(json_object_get(doc, "devices"), i, d) {
        const char *id = json_string_value(json_object_get(d, "device"));
        if (id && strcmp(id, device) == 0)
            return true;
    }
    return false;
}

static void no_such_call(struct calls *cs, struct phone *p) {
    phone_send_error(cs, p, "unknown_call", "this device has no call of that id, or not any more");
}

static void on_call_row(int err, const struct call_row *rows, size_t count, void *arg) {
    struct asked_call asked = *(struct asked_call *)arg;
    struct phone *p = phone_by_ws(asked.calls, asked.ws);
    struct buf b = {0};
    free(arg);
    if (!p || !p->hello)
        return;
    json_t *doc = err == 0 && count > 0 ? json_loads(rows[0].doc, 0, NULL) : NULL;
    const char *reason = json_string_value(json_object_get(doc, "reason"));
    if (reason && has_device(doc, p->device)) {
        attach_write_ended(&b, rows[0].id, reason);
        phone_send(asked.calls, asked.ws, &b);
    } else {
        no_such_call(asked.calls, p);
    }
    json_decref(doc);
}

static void ask_store(struct calls *cs, struct phone *p, const char *call) {
    char id[UUID_BYTES];
    struct asked_call *asked = uuid_valid(call) ? malloc(sizeof *asked) : NULL;
    if (asked)
        *asked = (struct asked_call){cs, p->ws};
    if (!asked || store_call_get(cs->d.store, p->tenant, uuid_lower(id, call), on_call_row, asked) != 0) {
        free(asked);
        no_such_call(cs, p);
    }
}

/* The call that hello names: when it is over, the phone is told so, however often it asks. */
static void tell_named(struct calls *cs, struct phone *p, const char *call) {
    struct call *c = calls_find(cs, p->tenant, call);
    int device = c && c->started ? call_device_by_id(c, p->device) : -1;
    if (!c)
        ask_store(cs, p, call);
    else if (device < 0)
        no_such_call(cs, p);
    else if (c->fsm.legs[device].state == CALL_LEG_OUT)
        phone_join(p, c, (unsigned)device);
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
    phone_send(cs, p->ws, &b);
}

void phone_hello(struct calls *cs, struct phone *p, const struct attach_msg *m) {
    struct call_device *leg;
    struct buf b = {0};
    if (p->hello) {
        phone_send_error(cs, p, "state", "hello comes once, at the beginning");
        return;
    }
    if (!identify(cs, p, m, &leg)) {
        p->whole = false;
        if (http_unknown_from(cs->http, &p->peer)) {
            phone_close(cs, p->ws, PHONE_CLOSE_TOO_MANY, "too_many", "too many unknown tokens came from this network");
            return;
        }
        phone_close(cs, p->ws, PHONE_CLOSE_UNAUTHORIZED, "unauthorized",
                    "device and secret, or device and the push's token, do not belong together");
        return;
    }
    if (!http_phone_may(cs->http, p->whole ? m->secret : m->token)) {
        p->whole = false;
        phone_close(cs, p->ws, PHONE_CLOSE_TOO_MANY, "too_many",
                    "this phone connects too often; try again in a second");
        return;
    }
    phone_recall(cs, p, 0);
    if (p->whole) {
        struct phone *older = phone_whole(cs, p->tenant, p->device);
        if (older) {
            phone_leave_whole(cs, older);
            phone_close(cs, older->ws, PHONE_CLOSE_REPLACED, "replaced", "this device has a newer connection");
        }
        HASH_ADD(by_device, cs->phones_by_device, key, strlen(p->key), p);
    }
    p->hello = true;
    p->foreground = attach_is_foreground(m->app_state);
    p->on_call = m->on_call == 1;
    phones_count(cs, 1);
    if (m->os_version[0])
        devices_set_os_version(cs->d.devices, p->tenant, p->device, m->os_version);
    log_info("phone attached", log_s("device", p->device), log_s("tenant", p->tenant),
             log_s("call", leg ? leg->call->id : ""), log_b("foreground", p->foreground));
    attach_write_welcome(&b, p->device, cs->d.config->cluster.node);
    phone_send(cs, p->ws, &b);
    tell_health(cs, p);
    if (leg) {
        phone_join(p, leg->call, leg->index);
        return;
    }
    if (m->call[0])
        tell_named(cs, p, m->call);
    join_all(cs, p);
    tell_missed(cs, p);
}
