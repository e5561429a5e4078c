/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define ATTACH_TOKEN_PREFIX "wa"
#define PRIORITY_IMMEDIATE  10

static const char *const state_names[] = {"none", "queued", "accepted", "rejected", "failed", "expired", "withdrawn"};

const char *push_state_name(enum push_state s) {
    return state_names[s];
}

static void outcome_decided(struct call *c, const struct call_device *d) {
    char labels[48];
    snprintf(labels, sizeof labels, "outcome=\"%s\"", ledger_outcome_name(d->ledger.outcome));
    metric_add(metrics_counter(c->owner->d.metrics, "wakegate_push_outcomes_total",
                               "Ledger rows that got an outcome; one may change its mind.", labels),
               1);
    log_info("push outcome", log_s("call", c->id), log_s("device", d->id),
             log_s("outcome", ledger_outcome_name(d->ledger.outcome)), log_b("predicted", ledger_predicted(&d->ledger)),
             log_i("observed", d->ledger.observed));
    events_add(c->owner->d.events, EVENT_PUSH_OUTCOME, c->tenant,
               json_pack("{s:s,s:s,s:s,s:s}", "call", c->id, "device", d->id, "push", d->push, "outcome",
                         ledger_outcome_name(d->ledger.outcome)));
}

void call_ledger_tick(struct call *c, uint64_t wall_ms) {
    for (unsigned i = 0; i < c->device_count; i++) {
        struct call_device *d = &c->devices[i];
        if (!d->push[0] || !ledger_tick(&d->ledger, wall_ms))
            continue;
        outcome_decided(c, d);
        call_store_push(c, i, NULL, NULL);
        c->dirty = true;
    }
}

bool call_ledger_open(const struct call *c) {
    for (unsigned i = 0; i < c->device_count; i++)
        if (c->devices[i].push_state == PUSH_QUEUED ||
            (c->devices[i].push_state == PUSH_ACCEPTED && ledger_due_ms(&c->devices[i].ledger)))
            return true;
    return false;
}

/* Results */

static json_t *result_fields(const struct call_device *d, const struct apns_result *r) {
    return json_pack("{s:s,s:s,s:i,s:s}", "device", d->id, "push", d->push, "status", r->status, "reason",
                     r->reason[0] ? r->reason
                     : r->err     ? err_str(r->err)
                                  : "");
}

/* status 0: APNs has not answered, or was not asked. */
static void tell_result(const struct call *c, const struct call_device *d, bool accepted) {
    events_add(c->owner->d.events, accepted ? EVENT_PUSH_ACCEPTED : EVENT_PUSH_REJECTED, c->tenant,
               json_pack("{s:s,s:s,s:s,s:s,s:i,s:s}", "call", c->id, "device", d->id, "push", d->push, "push_state",
                         push_state_name(d->push_state), "apns_status", d->ledger.status, "apns_reason",
                         d->ledger.reason));
}

static void note_result(struct call *c, struct call_device *d, const struct apns_result *r) {
    struct ledger *l = &d->ledger;
    l->status = r->status;
    snprintf(l->reason, sizeof l->reason, "%s", r->reason);
    l->written_ms = call_wall_ms(c, r->written_us);
    l->answered_ms = call_wall_ms(c, r->answered_us);
    l->accepted = r->verdict == APNS_ACCEPTED;
    if (r->written_us) {
        call_note(c, r->written_us, "push_written", json_pack("{s:s,s:s}", "device", d->id, "push", d->push));
        metric_observe_us(c->owner->m_pushed, r->written_us - c->request_us);
    }
    call_note(c, r->answered_us, l->accepted ? "push_accepted" : "push_rejected", result_fields(d, r));
    tell_result(c, d, l->accepted);
    log_at(l->accepted ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "push result", log_s("call", c->id), log_s("device", d->id),
           log_s("push", d->push), log_i("status", r->status), log_s("reason", r->reason),
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

static void on_result(const struct apns_result *r, void *arg) {
    struct push_ctx *ctx = arg;
    struct calls *cs = ctx->calls;
    struct call *c = cs ? calls_get(cs, ctx->call) : NULL;
    unsigned device = ctx->device;
    uint64_t token_updated_ms = ctx->token_updated_ms;
    if (cs)
        DL_DELETE(cs->pushes, ctx);
    free(ctx);
    if (!c)
        return;
    struct call_device *d = &c->devices[device];
    d->queued = 0;
    d->push_state = state_of(r);
    c->dirty = true;
    if (d->push_state == PUSH_WITHDRAWN) {
        call_note(c, 0, "push_withdrawn", json_pack("{s:s,s:s}", "device", d->id, "push", d->push));
    } else {
        note_result(c, d, r);
        mind_the_token(c, d, r, token_updated_ms);
    }
    call_store_push(c, device, NULL, NULL);
    if (c->fsm.state != CALL_ENDED)
        call_step(c, input_of(d->push_state), device);
}

/* Sending */

static int queue(struct call *c, struct call_device *d, const char *payload, size_t len, struct err_text *et) {
    struct calls *cs = c->owner;
    const struct device *dev = devices_get(cs->d.devices, c->tenant, d->id);
    char topic[PUSH_TOPIC_BYTES];
    if (!dev)
        return err_say(et, E_NOTFOUND, "the device is not registered any more");
    if (dev->health == DEVICE_INVALID)
        return err_say(et, E_DENIED, "%s", dev->health_reason);
    if (dev->throttled_until_ms > clock_wall_ms())
        return err_say(et, E_AGAIN, "APNs had too many pushes for this device; it takes more in %u s",
                       (unsigned)((dev->throttled_until_ms - clock_wall_ms()) / 1000 + 1));
    if (!d->credential)
        return err_say(et, E_NOTFOUND, "the app %s has no APNs credential for the %s environment of this device",
                       c->app->name, dev->sandbox ? "sandbox" : "production");
    struct push_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return err_say(et, E_NOMEM, "out of memory");
    ctx->calls = cs;
    ctx->call = c->slot;
    ctx->device = d->index;
    ctx->token_updated_ms = dev->token_updated_ms;
    push_topic(topic, c->app->bundle_id);
    struct apns_push p = {
        .token = dev->token,
        .apns_id = d->push,
        .topic = topic,
        .type = APNS_TYPE_VOIP,
        .priority = PRIORITY_IMMEDIATE,
        .payload = payload,
        .payload_len = len,
        .deadline_ms = c->fsm.expires_ms,
        .lane = device_lane(dev),
    };
    int err = apns_push(d->credential, &p, on_result, ctx, &d->queued, et);
    if (err != 0) {
        free(ctx);
        return err;
    }
    DL_APPEND(cs->pushes, ctx);
    return 0;
}

static int make_payload(char **payload, size_t *len, struct call *c, struct call_device *d) {
    char token[SECRET_TOKEN_BYTES], url[PUSH_URL_BYTES];
    struct push_content content = {
        .call = c->id,
        .push = d->push,
        .handle = c->handle,
        .name = c->name,
        .video = c->video,
        .sent_at_ms = d->ledger.queued_ms,
        .expires_at_ms = c->expires_ms,
        .attach = calls_attach_url(c->owner, url),
        .token = secret_token_new(token, ATTACH_TOKEN_PREFIX),
        .data = c->data,
    };
    char *sealed = NULL;
    call_sealed_text(&sealed, c, d, push_room(&content));
    content.sealed = sealed;
    int err = push_payload(payload, len, &content);
    free(sealed);
    secret_hash(d->token_hash, token);
    secret_wipe(token, sizeof token);
    HASH_ADD(by_token, c->owner->by_token, token_hash, SECRET_HASH_BYTES - 1, d);
    return err;
}

void call_push(struct call *c, unsigned device) {
    struct call_device *d = &c->devices[device];
    uint64_t now_us = clock_mono_us(), now_ms = now_us / 1000;
    struct ledger_known known = {.remaining_ms = c->fsm.expires_ms > now_ms ? c->fsm.expires_ms - now_ms : 0};
    struct err_text et = {""};
    char *payload = NULL;
    size_t len = 0;
    d->delivery = CALL_BY_PUSH;
    if (!d->push[0])
        uuid_new(d->push);
    phone_known(c->owner, c->tenant, d->id, &known);
    ledger_open(&d->ledger, &known, clock_wall_ms(), c->expires_ms);
    int err = make_payload(&payload, &len, c, d);
    if (err == 0)
        err = queue(c, d, payload, len, &et);
    if (payload)
        secret_free(payload, len);
    if (err == 0) {
        d->push_state = PUSH_QUEUED;
        call_note(c, now_us, "push_queued",
                  json_pack("{s:s,s:s,s:b,s:s}", "device", d->id, "push", d->push, "predicted",
                            ledger_predicted(&d->ledger), "why", ledger_why_name(d->ledger.why)));
        call_store_push(c, device, NULL, NULL);
        return;
    }
    d->push_state = PUSH_FAILED;
    snprintf(d->ledger.reason, sizeof d->ledger.reason, "%.159s", et.s[0] ? et.s : err_str(err));
    call_note(c, 0, "push_rejected",
              json_pack("{s:s,s:s,s:i,s:s}", "device", d->id, "push", d->push, "status", 0, "reason", et.s));
    log_warn("push not made", log_s("call", c->id), log_s("device", d->id), log_s("detail", et.s));
    tell_result(c, d, false);
    call_store_push(c, device, NULL, NULL);
    call_step(c, CALL_IN_PUSH_REJECTED, device);
}

void call_withdraw(struct call *c, unsigned device) {
    struct call_device *d = &c->devices[device];
    if (d->push_state == PUSH_QUEUED && d->queued)
        apns_withdraw(d->credential, d->queued);
}

/* Receipts */

static json_t *observed_json(int observed) {
    return observed < 0 ? json_null() : json_boolean(observed);
}

/* When the app's code ran, by the phone's clock: shown only where it can be true. */
static void note_woken(struct call *c, const struct ledger *l, unsigned device) {
    uint64_t at_us = c->request_us + (l->received_ms * 1000 - c->request_wall_us);
    if (l->received_ms * 1000 < c->request_wall_us || at_us > clock_mono_us())
        at_us = 0;
    call_note_device(c, at_us, "phone_woken", device);
}

int call_receipt(struct call *c, unsigned device, const struct receipt *r) {
    struct call_device *d = &c->devices[device];
    struct ledger *l = &d->ledger;
    if (!d->push[0] || strcasecmp(r->push, d->push) != 0)
        return E_NOTFOUND;
    bool first = l->receipt_ms == 0, reported = l->reported_ms != 0;
    enum ledger_outcome before = l->outcome;
    phone_note_state(c->owner, c->tenant, d->id, r->app_state, r->on_call);
    if (!ledger_receipt(l, r, clock_wall_ms()))
        return 0;
    if (first) {
        note_woken(c, l, device);
        call_note(c, 0, "receipt",
                  json_pack("{s:s,s:s,s:o,s:s}", "device", d->id, "push", d->push, "must_report",
                            observed_json(l->observed), "app_state", r->app_state));
        events_add(c->owner->d.events, EVENT_RECEIPT, c->tenant,
                   json_pack("{s:s,s:s,s:s,s:o,s:s,s:s}", "call", c->id, "device", d->id, "push", d->push,
                             "must_report", observed_json(l->observed), "app_state", r->app_state, "reported",
                             l->reported));
    }
    if (!reported && l->reported_ms)
        call_note(c, 0, "reported", json_pack("{s:s,s:s}", "device", d->id, "reported", l->reported));
    if (l->outcome != before)
        outcome_decided(c, d);
    c->dirty = true;
    call_store_push(c, device, NULL, NULL);
    call_step(c, CALL_IN_RECEIPT, device);
    if (receipt_filtered(r))
        call_step(c, CALL_IN_FILTERED, device);
    return 0;
}
