/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define PRIORITY_IMMEDIATE 10

static const char *const state_names[] = {"none", "queued", "accepted", "rejected", "failed", "expired", "withdrawn"};

const char *push_state_name(enum push_state s) {
    return state_names[s];
}

struct call_push *call_push_new(struct call_device *d, enum apns_push_type type) {
    if (d->push_count == CALL_PUSHES_MAX)
        return NULL;
    struct call_push *p = &d->pushes[d->push_count++];
    *p = (struct call_push){.device = d, .type = type, .state = PUSH_QUEUED}; /* as soon as the call is stored */
    uuid_new(p->id);
    return p;
}

struct call_push *call_push_by_id(struct call_device *d, const char *id) {
    for (unsigned i = 0; i < d->push_count; i++)
        if (strcasecmp(d->pushes[i].id, id) == 0)
            return &d->pushes[i];
    return NULL;
}

/* Results */

static json_t *result_fields(const struct call_push *p, const struct apns_result *r) {
    return json_pack("{s:s,s:s,s:i,s:s}", "device", p->device->id, "push", p->id, "status", r->status, "reason",
                     r->reason[0] ? r->reason
                     : r->err     ? err_str(r->err)
                                  : "");
}

/* status 0: APNs has not answered, or was not asked. */
static void tell_event(const struct call *c, const struct call_push *p, bool accepted) {
    events_add(c->owner->d.events, accepted ? EVENT_PUSH_ACCEPTED : EVENT_PUSH_REJECTED, c->tenant,
               json_pack("{s:s,s:s,s:s,s:s,s:i,s:s}", "call", c->id, "device", p->device->id, "push", p->id,
                         "push_state", push_state_name(p->state), "apns_status", p->ledger.status, "apns_reason",
                         p->ledger.reason));
}

static void note_result(struct call *c, struct call_push *p, const struct apns_result *r) {
    struct ledger *l = &p->ledger;
    l->status = r->status;
    snprintf(l->reason, sizeof l->reason, "%s", r->reason);
    l->written_ms = call_wall_ms(c, r->written_us);
    l->answered_ms = call_wall_ms(c, r->answered_us);
    l->accepted = r->verdict == APNS_ACCEPTED;
    if (r->written_us) {
        call_note(c, r->written_us, "push_written", json_pack("{s:s,s:s}", "device", p->device->id, "push", p->id));
        metric_observe_us(c->owner->m_pushed, r->written_us - c->request_us);
    }
    call_note(c, r->answered_us, l->accepted ? "push_accepted" : "push_rejected", result_fields(p, r));
    tell_event(c, p, l->accepted);
    log_at(l->accepted ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "push result", log_s("call", c->id),
           log_s("device", p->device->id), log_s("push", p->id), log_i("status", r->status), log_s("reason", r->reason),
           log_s("error", r->err ? err_str(r->err) : ""));
}

static void mind_the_token(struct call *c, const struct call_device *d, const struct apns_result *r,
                           uint64_t token_updated_ms) {
    struct calls *cs = c->owner;
    const struct device_verdict v = {.tenant = c->tenant,
                                     .id = d->id,
                                     .token_updated_ms = token_updated_ms,
                                     .verdict = r->verdict,
                                     .status = r->status,
                                     .reason = r->reason,
                                     .invalid_since_ms = r->timestamp_ms,
                                     .sandbox = push_service_is_sandbox(cs->d.pushes, r->credential),
                                     .retry_after_s = r->retry_after_s};
    devices_token_verdict(cs->d.devices, &v);
}

static enum push_state state_of(const struct apns_result *r) {
    if (r->verdict == APNS_ACCEPTED)
        return PUSH_ACCEPTED;
    if (r->verdict == APNS_NOT_SENT)
        return r->err == E_EXPIRED ? PUSH_EXPIRED : r->err == E_CLOSED ? PUSH_WITHDRAWN : PUSH_FAILED;
    return r->status ? PUSH_REJECTED : PUSH_FAILED;
}

static enum call_input_kind input_of(enum push_state s) {
    return s == PUSH_ACCEPTED  ? CALL_IN_PUSH_ACCEPTED
           : s == PUSH_EXPIRED ? CALL_IN_PUSH_EXPIRED
                               : CALL_IN_PUSH_REJECTED;
}

/* A phone is unreachable by pushes when none of them is on its way, or was taken. */
static void tell_result(struct call *c, const struct call_push *p) {
    const struct call_device *d = p->device;
    for (unsigned i = 0; p->state != PUSH_ACCEPTED && i < d->push_count; i++)
        if (d->pushes[i].state == PUSH_QUEUED || d->pushes[i].state == PUSH_ACCEPTED)
            return;
    call_step(c, input_of(p->state), d->index);
}

static void on_result(const struct apns_result *r, void *arg) {
    struct push_ctx *ctx = arg;
    struct calls *cs = ctx->calls;
    struct call *c = cs ? calls_get(cs, ctx->call) : NULL;
    unsigned device = ctx->device, push = ctx->push;
    uint64_t token_updated_ms = ctx->token_updated_ms;
    if (cs)
        DL_DELETE(cs->pushes, ctx);
    free(ctx);
    if (!c)
        return;
    struct call_push *p = &c->devices[device].pushes[push];
    p->queued = 0;
    p->state = state_of(r);
    c->dirty = true;
    if (p->state == PUSH_WITHDRAWN) {
        call_note(c, 0, "push_withdrawn", json_pack("{s:s,s:s}", "device", p->device->id, "push", p->id));
    } else {
        note_result(c, p, r);
        /* The token of alerts is another one, and what APNs says of it says nothing about calls. */
        if (p->type == APNS_TYPE_VOIP)
            mind_the_token(c, p->device, r, token_updated_ms);
    }
    call_store_push(c, p, NULL, NULL);
    if (c->fsm.state != CALL_ENDED)
        tell_result(c, p);
}

/* Sending */

/* An app that has not registered a token for notifications may have got the same one for both. */
static const char *token_for(const struct device *dev, enum apns_push_type type) {
    return type == APNS_TYPE_ALERT && dev->alert_token[0] ? dev->alert_token : dev->token;
}

/* May a push of this type go to the device now? */
static int check_device(const struct call *c, const struct call_device *d, const struct device *dev, bool voip,
                        struct err_text *et) {
    if (!dev)
        return err_say(et, E_NOTFOUND, "the device is not registered any more");
    if (voip && device_health(dev) == DEVICE_INVALID)
        return err_say(et, E_DENIED, "%s", dev->health_reason);
    if (dev->throttled_until_ms > clock_wall_ms())
        return err_say(et, E_AGAIN, "APNs had too many pushes for this device; it takes more in %u s",
                       (unsigned)((dev->throttled_until_ms - clock_wall_ms()) / 1000 + 1));
    if (!d->credential)
        return err_say(et, E_NOTFOUND, "the app %s has no APNs credential for the %s environment of this device",
                       c->app->name, dev->sandbox ? "sandbox" : "production");
    return 0;
}

static struct push_ctx *ctx_new(const struct call *c, const struct call_push *p, uint64_t token_updated_ms) {
    struct push_ctx *ctx = calloc(1, sizeof *ctx);
    if (ctx)
        *ctx = (struct push_ctx){.calls = c->owner,
                                 .call = c->slot,
                                 .device = p->device->index,
                                 .push = (unsigned)(p - p->device->pushes),
                                 .token_updated_ms = token_updated_ms};
    return ctx;
}

static int queue(struct call *c, struct call_push *p, const char *payload, size_t len, struct err_text *et) {
    const struct call_device *d = p->device;
    const struct device *dev = devices_get(c->owner->d.devices, c->tenant, d->id);
    bool voip = p->type == APNS_TYPE_VOIP;
    char topic[PUSH_TOPIC_BYTES];
    int err = check_device(c, d, dev, voip, et);
    if (err != 0)
        return err;
    struct push_ctx *ctx = ctx_new(c, p, dev->token_updated_ms);
    if (!ctx)
        return err_say(et, E_NOMEM, "out of memory");
    push_topic(topic, c->app->bundle_id);
    struct apns_push out = {
        .token = token_for(dev, p->type),
        .apns_id = p->id,
        .topic = voip ? topic : c->app->bundle_id,
        .type = p->type,
        .priority = PRIORITY_IMMEDIATE,
        /* A notification that comes when the ring is over would ring for nobody. */
        .expiration_s = voip ? 0 : c->expires_ms / 1000,
        .payload = payload,
        .payload_len = len,
        .deadline_ms = c->fsm.expires_ms,
        .lane = voip ? device_lane(dev) : APNS_LANE_PROBE,
    };
    err = apns_push(d->credential, &out, on_result, ctx, &p->queued, et);
    if (err != 0) {
        free(ctx);
        return err;
    }
    DL_APPEND(c->owner->pushes, ctx);
    if (voip)
        devices_note_voip(c->owner->d.devices, c->tenant, d->id, clock_wall_ms());
    return 0;
}

static int make_payload(char **payload, size_t *len, struct call *c, struct call_push *p) {
    char token[SECRET_TOKEN_BYTES], url[PUSH_URL_BYTES];
    struct push_content content = {
        .call = c->id,
        .push = p->id,
        .handle = c->handle,
        .name = c->name,
        .video = c->video,
        .alert = p->type == APNS_TYPE_ALERT,
        .sent_at_ms = p->ledger.queued_ms,
        .expires_at_ms = c->expires_ms,
        .attach = calls_attach_url(c->owner, url),
        .token = secret_token_new(token, SECRET_ATTACH_PREFIX),
        .data = c->data,
    };
    char *sealed = NULL;
    if (!content.alert)
        call_sealed_text(&sealed, c, p->device, &content);
    content.sealed = sealed;
    int err = push_payload(payload, len, &content);
    free(sealed);
    secret_hash(p->token_hash, token);
    secret_wipe(token, sizeof token);
    HASH_ADD(by_token, c->owner->by_token, token_hash, SECRET_HASH_BYTES - 1, p);
    return err;
}

/* The one that was made with the call and has not left, or one more. */
static struct call_push *next_push(struct call_device *d, enum apns_push_type type) {
    for (unsigned i = 0; i < d->push_count; i++)
        if (d->pushes[i].type == type && !d->pushes[i].ledger.queued_ms)
            return &d->pushes[i];
    return call_push_new(d, type);
}

static json_t *queued_fields(const struct call_push *p) {
    return json_pack("{s:s,s:s,s:s,s:b,s:s}", "device", p->device->id, "push", p->id, "type",
                     p->type == APNS_TYPE_ALERT ? "alert" : "voip", "predicted", ledger_predicted(&p->ledger), "why",
                     ledger_why_name(p->ledger.why));
}

static void open_row(struct call *c, struct call_push *p) {
    uint64_t now_ms = clock_mono_ms();
    struct ledger_known known = {.remaining_ms = c->fsm.expires_ms > now_ms ? c->fsm.expires_ms - now_ms : 0,
                                 .alert = p->type == APNS_TYPE_ALERT};
    phone_known(c->owner, c->tenant, p->device->id, &known);
    ledger_open(&p->ledger, &known, clock_wall_ms(), c->expires_ms);
}

void call_pushes_plan(struct call *c) {
    for (unsigned i = 0; i < c->device_count; i++)
        for (unsigned k = 0; k < c->devices[i].push_count; k++) {
            struct call_push planned = c->devices[i].pushes[k];
            open_row(c, &planned);
            const struct push_row row = call_push_row(c, &planned);
            if (store_push_plan(c->owner->d.store, &row) != 0)
                log_error("nothing stored", log_s("call", c->id), log_s("push", planned.id));
        }
}

void call_pushes_give_up(struct call *c) {
    for (unsigned i = 0; i < c->device_count; i++)
        for (unsigned k = 0; k < c->devices[i].push_count; k++) {
            struct call_push *p = &c->devices[i].pushes[k];
            if (p->ledger.queued_ms)
                continue;
            open_row(c, p);
            p->state = PUSH_WITHDRAWN;
            call_store_push(c, p, NULL, NULL);
        }
}

void call_push(struct call *c, unsigned device, enum apns_push_type type) {
    struct call_device *d = &c->devices[device];
    uint64_t now_us = clock_mono_us();
    struct err_text et = {""};
    char *payload = NULL;
    size_t len = 0;
    struct call_push *p = next_push(d, type);
    if (!p)
        return;
    open_row(c, p);
    int err = make_payload(&payload, &len, c, p);
    if (err == 0)
        err = queue(c, p, payload, len, &et);
    if (payload)
        secret_free(payload, len);
    if (err == 0) {
        p->state = PUSH_QUEUED;
        call_note(c, now_us, "push_queued", queued_fields(p));
        call_store_push(c, p, NULL, NULL);
        return;
    }
    p->state = PUSH_FAILED;
    snprintf(p->ledger.reason, sizeof p->ledger.reason, "%.159s", et.s[0] ? et.s : err_str(err));
    call_note(c, 0, "push_rejected",
              json_pack("{s:s,s:s,s:i,s:s}", "device", d->id, "push", p->id, "status", 0, "reason", et.s));
    log_warn("push not made", log_s("call", c->id), log_s("device", d->id), log_s("detail", et.s));
    tell_event(c, p, false);
    call_store_push(c, p, NULL, NULL);
    tell_result(c, p);
}

void call_forget_tokens(struct call_device *d) {
    for (unsigned i = 0; i < d->push_count; i++) {
        struct call_push *p = &d->pushes[i];
        if (!p->token_hash[0])
            continue;
        HASH_DELETE(by_token, d->call->owner->by_token, p); /* NOLINT(clang-analyzer-*): what a uthash macro does */
        p->token_hash[0] = 0;
    }
}

void call_withdraw(struct call *c, unsigned device) {
    struct call_device *d = &c->devices[device];
    for (unsigned i = 0; i < d->push_count; i++)
        if (d->pushes[i].state == PUSH_QUEUED && d->pushes[i].queued)
            apns_withdraw(d->credential, d->pushes[i].queued);
}
