/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SLOTS_MAX (1U << 20) /* live calls, and those that ended in the last minutes */
#define SLOW_MS   1000       /* ended calls, phones' states and idempotency keys are looked after once a second */

/* The table */

struct call *calls_get(const struct calls *cs, slot_id slot) {
    return slots_get(cs->slots, slot);
}

struct call *calls_find(const struct calls *cs, const char *tenant, const char *id) {
    char lower[UUID_BYTES];
    struct call *c = NULL;
    if (uuid_valid(id))
        HASH_FIND_STR(cs->by_id, uuid_lower(lower, id), c);
    return c && (!tenant || strcmp(c->tenant, tenant) == 0) ? c : NULL;
}

struct call *calls_add(struct calls *cs, const char *id) {
    slot_id slot;
    struct call *c = slots_alloc(cs->slots, &slot);
    if (!c)
        return NULL;
    c->owner = cs;
    c->slot = slot;
    c->near.device = -1;
    c->ice_session = 1;
    c->fsm.winner = c->fsm.handed = -1;
    if (id)
        snprintf(c->id, sizeof c->id, "%s", id);
    else
        uuid_new(c->id);
    c->timeline = json_array();
    HASH_ADD_STR(cs->by_id, id, c);
    DL_APPEND(cs->live, c);
    metric_set(cs->m_live, (int64_t)++cs->live_count);
    return c;
}

char *calls_device_key(char out[static DEVICE_KEY_BYTES], const char *tenant, const char *device) {
    snprintf(out, DEVICE_KEY_BYTES, "%s/%s", tenant, device);
    return out;
}

static struct device_calls *find_device(const struct calls *cs, const char *tenant, const char *device) {
    char key[DEVICE_KEY_BYTES];
    struct device_calls *all;
    calls_device_key(key, tenant, device);
    HASH_FIND_STR(cs->by_device, key, all);
    return all;
}

struct call_device *calls_of_device(const struct calls *cs, const char *tenant, const char *device) {
    const struct device_calls *all = find_device(cs, tenant, device);
    return all ? all->list : NULL;
}

int calls_index_devices(struct call *c) {
    struct calls *cs = c->owner;
    for (unsigned i = 0; i < c->device_count; i++) {
        struct call_device *d = &c->devices[i];
        struct device_calls *all = find_device(cs, c->tenant, d->id);
        if (!all) {
            all = calloc(1, sizeof *all);
            if (!all)
                return E_NOMEM;
            calls_device_key(all->key, c->tenant, d->id);
            HASH_ADD_STR(cs->by_device, key, all);
        }
        d->call = c;
        d->index = i;
        DL_PREPEND(all->list, d);
    }
    return 0;
}

static void unindex_device(struct calls *cs, struct call_device *d) {
    struct device_calls *all = d->call ? find_device(cs, d->call->tenant, d->id) : NULL;
    for (unsigned i = 0; i < d->push_count; i++)
        if (d->pushes[i].token_hash[0])
            HASH_DELETE(by_token, cs->by_token, &d->pushes[i]); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    if (!all)
        return;
    DL_DELETE(all->list, d);
    if (!all->list) {
        HASH_DEL(cs->by_device, all);
        free(all);
    }
}

void calls_remove(struct call *c) {
    struct calls *cs = c->owner;
    for (unsigned i = 0; i < c->device_count; i++)
        unindex_device(cs, &c->devices[i]);
    HASH_DEL(cs->by_id, c);
    if (c->fsm.state == CALL_ENDED) {
        DL_DELETE(cs->ended, c);
    } else {
        DL_DELETE(cs->live, c);
        metric_set(cs->m_live, (int64_t)--cs->live_count);
    }
    call_media_close(c);
    if (c->media) {
        HASH_DELETE(by_media, cs->by_media, c);
        c->media = 0;
    }
    call_keep_done(c);
    call_keep_forget_offer(c);
    buf_wipe(&c->kept_data);
    sdp_free(c->offer);
    json_decref(c->data);
    json_decref(c->timeline);
    free(c->devices);
    config_unref(c->config);
    slots_release(cs->slots, c->slot);
}

int call_device_by_id(const struct call *c, const char *device) {
    for (unsigned i = 0; i < c->device_count; i++)
        if (strcmp(c->devices[i].id, device) == 0)
            return (int)i;
    return -1;
}

/* The timeline */

uint64_t call_wall_ms(const struct call *c, uint64_t mono_us) {
    if (mono_us == 0)
        return 0;
    int64_t offset_us = (int64_t)(mono_us - c->request_us);
    return (uint64_t)((int64_t)c->request_wall_us + offset_us) / 1000;
}

void call_note(struct call *c, uint64_t at_us, const char *event, json_t *fields) {
    char at[CLOCK_RFC3339_BYTES];
    size_t count = json_array_size(c->timeline), place = count;
    at_us = at_us ? at_us : clock_mono_us();
    json_int_t offset_us = at_us > c->request_us ? (json_int_t)(at_us - c->request_us) : 0;
    json_t *e = json_pack("{s:s,s:I,s:s}", "at", clock_rfc3339(at, (c->request_wall_us + (uint64_t)offset_us) / 1000),
                          "offset_us", offset_us, "event", event);
    if (fields)
        json_object_update(e, fields);
    json_decref(fields);
    if (count >= CALL_TIMELINE_MAX) {
        json_decref(e);
        return;
    }
    /* A worker's or APNs' event tells when it happened, which may be before something that was noted earlier. */
    while (place > 0 &&
           json_integer_value(json_object_get(json_array_get(c->timeline, place - 1), "offset_us")) > offset_us)
        place--;
    json_array_insert_new(c->timeline, place, e);
    c->dirty = true;
    call_keep(c);
}

void call_note_device(struct call *c, uint64_t at_us, const char *event, unsigned device) {
    call_note(c, at_us, event, json_pack("{s:s}", "device", c->devices[device].id));
}

/* Steps and their actions */

static void count_state(const struct call *c) {
    char labels[96];
    snprintf(labels, sizeof labels, "state=\"%s\",reason=\"%s\"", call_state_name(c->fsm.state),
             call_reason_name(c->fsm.reason));
    metric_add(metrics_counter(c->owner->d.metrics, "wakegate_calls_total",
                               "Calls that entered a state, ended ones by reason.", labels),
               1);
}

static void ended(struct call *c) {
    struct calls *cs = c->owner;
    c->ended_ms = clock_wall_ms();
    call_note(c, 0, "ended", json_pack("{s:s}", "reason", call_reason_name(c->fsm.reason)));
    call_pushes_give_up(c);
    DL_DELETE(cs->live, c);
    DL_APPEND(cs->ended, c);
    metric_set(cs->m_live, (int64_t)--cs->live_count);
}

/* What all events of a call have, and who is meant where it is about one phone. */
static void tell(const struct call *c, enum event_type type, const char *device) {
    const char *reason = call_reason_name(c->fsm.reason);
    events_add(c->owner->d.events, type, c->tenant,
               json_pack("{s:s,s:s,s:s,s:s*,s:s*}", "call", c->id, "callee", c->callee, "state",
                         call_state_name(c->fsm.state), "device", *device ? device : NULL, "reason",
                         *reason ? reason : NULL));
}

static void state_changed(struct call *c) {
    static const enum event_type types[CALL_STATES] = {
        [CALL_ANSWERED] = EVENT_CALL_ANSWERED, [CALL_ACTIVE] = EVENT_CALL_ACTIVE, [CALL_ENDED] = EVENT_CALL_ENDED};
    const char *by = c->fsm.winner >= 0 ? c->devices[c->fsm.winner].id : "";
    switch (c->fsm.state) {
    case CALL_ANSWERED:
        c->answered_ms = clock_wall_ms();
        metric_observe_us(c->owner->m_answer, clock_mono_us() - c->request_us);
        call_note_device(c, 0, "answered", (unsigned)c->fsm.winner);
        break;
    case CALL_ACTIVE:
        call_note(c, 0, "active", NULL);
        break;
    case CALL_ENDED:
        ended(c);
        break;
    default:
        break;
    }
    log_info("call", log_s("call", c->id), log_s("state", call_state_name(c->fsm.state)), log_s("device", by),
             log_s("reason", call_reason_name(c->fsm.reason)));
    count_state(c);
    tell(c, types[c->fsm.state], by);
    call_store(c, NULL, NULL, NULL);
}

static void do_action(struct call *c, const struct call_action *a) {
    switch (a->kind) {
    case CALL_DO_STATE:
        state_changed(c);
        break;
    case CALL_DO_PUSH:
        call_push(c, a->device, APNS_TYPE_VOIP);
        break;
    case CALL_DO_ALERT:
        call_push(c, a->device, APNS_TYPE_ALERT);
        break;
    case CALL_DO_JOIN:
        call_join(c, a->device);
        call_keep(c);
        break;
    case CALL_DO_OVERDUE:
        call_note_overdue(c, a->device);
        break;
    case CALL_DO_SUSPECT:
        calls_health_review(c->owner, c->tenant, c->devices[a->device].id, &c->route->must_report);
        break;
    case CALL_DO_SECOND:
        call_note_second_path(c, a->device);
        break;
    case CALL_DO_GATE:
        /* A worker that is too busy to hear of the answer would keep both ends silent. */
        if (media_gate(c->owner->d.media, c->media) == E_FULL)
            call_step(c, CALL_IN_MEDIA_FAILED, 0);
        break;
    case CALL_DO_HANDOFF:
        call_hand_over(c, a->device);
        call_keep(c);
        break;
    case CALL_DO_ELSEWHERE:
    case CALL_DO_TELL:
        phone_tell_over(c, a->device, a->reason);
        break;
    case CALL_DO_WITHDRAW:
        call_withdraw(c, a->device);
        call_sealed_drop(c, &c->devices[a->device]);
        call_keep(c);
        break;
    case CALL_DO_CLOSE:
        call_media_close(c);
        break;
    default:
        break;
    }
}

int call_step(struct call *c, enum call_input_kind kind, unsigned device) {
    struct call_actions out;
    int err = call_fsm_step(&c->fsm, (struct call_input){kind, device}, clock_mono_ms(), &out);
    call_keep(c); /* before: what goes along with the call's row needs not be written again */
    for (size_t i = 0; i < out.count; i++)
        do_action(c, &out.a[i]);
    return err;
}

/* Time */

static void sweep_live(struct calls *cs, uint64_t now_ms) {
    struct call *c, *next;
    uint64_t wall_ms = clock_wall_ms();
    DL_FOREACH_SAFE(cs->live, c, next) {
        if (!c->started)
            continue;
        call_ledger_tick(c, wall_ms);
        if (c->fsm.deadline_ms && now_ms >= c->fsm.deadline_ms)
            call_step(c, CALL_IN_TICK, 0);
    }
}

/* An ended call goes when nothing about it is open any more; the store answers for it from then on. */
static void sweep_ended(struct calls *cs) {
    struct call *c, *next;
    uint64_t wall_ms = clock_wall_ms();
    bool stores = store_ok(cs->d.store);
    DL_FOREACH_SAFE(cs->ended, c, next) {
        call_ledger_tick(c, wall_ms);
        if (c->close_wanted)
            call_media_close(c);
        if (stores)
            call_store_rest(c);
        uint64_t last_ms = c->ended_ms > c->expires_ms ? c->ended_ms : c->expires_ms;
        if (wall_ms >= last_ms + CALL_LINGER_MS && call_is_stored(c) && !call_ledger_open(c) && !c->media)
            calls_remove(c);
    }
}

/* What the store refused of live calls. */
static void sweep_refused(struct calls *cs) {
    struct call *c;
    if (!store_ok(cs->d.store))
        return;
    DL_FOREACH(cs->live, c) {
        if (c->started && c->behind)
            call_store_rest(c);
    }
}

static void on_sweep(uv_timer_t *t) {
    struct calls *cs = t->data;
    uint64_t now_ms = clock_mono_ms();
    sweep_live(cs, now_ms);
    if (now_ms - cs->slow_ms < SLOW_MS)
        return;
    cs->slow_ms = now_ms;
    push_service_sweep(cs->d.pushes, calls_let_go, cs);
    phones_sweep(cs, now_ms);
    sweep_ended(cs);
    sweep_refused(cs);
    idempotency_sweep(cs, clock_wall_ms());
}

/* Life */

static void make_metrics(struct calls *cs) {
    struct metrics *m = cs->d.metrics;
    cs->m_live = metrics_gauge(m, "wakegate_calls_live", "Calls that have not ended.", "");
    cs->m_attached = metrics_gauge(m, "wakegate_attached_phones", "Phones with a connection.", "");
    cs->m_resumed = metrics_counter(m, "wakegate_calls_resumed_total", "Calls that went on after a crash.", "");
    cs->m_requests = metrics_counter(m, "wakegate_call_requests_total", "Requests for a new call.", "");
    cs->m_answer = metrics_histogram(m, "wakegate_call_answer_seconds", "From the request to the answer.", "");
    cs->m_pushed =
        metrics_histogram(m, "wakegate_call_push_written_seconds", "From the request to the push on the wire.", "");
}

int calls_new(struct calls **cp, const struct calls_deps *deps) {
    struct calls *cs = calloc(1, sizeof *cs);
    if (!cs)
        return E_NOMEM;
    cs->d = *deps;
    cs->live_max = (size_t)deps->config->media.calls_max * deps->config->media.workers;
    int err = slots_new(&cs->slots, sizeof(struct call), SLOTS_MAX);
    if (err != 0) {
        free(cs);
        return err;
    }
    make_metrics(cs);
    uv_timer_init(deps->loop, &cs->sweep);
    uv_prepare_init(deps->loop, &cs->keep);
    cs->sweep.data = cs->keep.data = cs;
    cs->handles = 2;
    err = calls_media_start(cs);
    if (err != 0) {
        /* The handle belongs to the loop until it is closed: calls_close and calls_free end this object too. */
        *cp = cs;
        return err;
    }
    uv_timer_start(&cs->sweep, on_sweep, CALLS_SWEEP_MS, CALLS_SWEEP_MS);
    *cp = cs;
    return 0;
}

void calls_attach_http(struct calls *c, struct http *h) {
    c->http = h;
}

void calls_set_config(struct calls *c, const struct config *cfg) {
    c->d.config = cfg;
    c->candidate_count = 0; /* of its addresses, they are looked up again */
}

static bool pushes_by(const struct call *c, const struct apns_credential *credential) {
    for (unsigned i = 0; i < c->device_count; i++) {
        const struct call_device *d = &c->devices[i];
        if (d->credential == credential && c->fsm.state == CALL_RINGING)
            return true;
        for (unsigned k = 0; d->credential == credential && k < d->push_count; k++)
            if (d->pushes[k].queued)
                return true;
    }
    return false;
}

static void forget_credential(struct call *c, const struct apns_credential *credential) {
    for (unsigned i = 0; i < c->device_count; i++)
        if (c->devices[i].credential == credential)
            c->devices[i].credential = NULL;
}

bool calls_let_go(const struct apns_credential *credential, void *calls) {
    struct calls *cs = calls;
    struct call *lists[] = {cs->live, cs->ended}, *c;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        DL_FOREACH(lists[i], c) {
            if (pushes_by(c, credential))
                return false;
        }
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        DL_FOREACH(lists[i], c) {
            forget_credential(c, credential);
        }
    }
    return true;
}

void calls_drain(struct calls *c) {
    c->draining = true;
}

size_t calls_live(const struct calls *c) {
    return c->live_count;
}

void calls_close_when_stored(struct calls *cs) {
    if (!cs->closing || cs->writes > 0 || cs->handles > 0 || cs->done_told)
        return;
    cs->done_told = true;
    if (cs->done)
        cs->done(cs->done_arg);
}

static void on_handle_closed(uv_handle_t *h) {
    struct calls *cs = h->data;
    cs->handles--;
    calls_close_when_stored(cs);
}

void calls_close(struct calls *cs, void (*done)(void *arg), void *arg) {
    struct call *c, *next;
    if (cs->closing)
        return;
    cs->draining = true;
    cs->done = done;
    cs->done_arg = arg;
    DL_FOREACH_SAFE(cs->live, c, next) {
        call_step(c, CALL_IN_SHUTDOWN, 0);
    }
    DL_FOREACH_SAFE(cs->ended, c, next) {
        call_store_rest(c);
    }
    cs->closing = true;
    uv_close((uv_handle_t *)&cs->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&cs->keep, on_handle_closed);
    if (cs->poll.data)
        uv_close((uv_handle_t *)&cs->poll, on_handle_closed);
}

struct calls *calls_free(struct calls *cs) {
    struct call *c, *next;
    struct push_ctx *p;
    if (!cs)
        return NULL;
    DL_FOREACH_SAFE(cs->live, c, next) {
        calls_remove(c);
    }
    DL_FOREACH_SAFE(cs->ended, c, next) {
        calls_remove(c);
    }
    DL_FOREACH(cs->pushes, p) {
        p->calls = NULL;
    }
    phones_free(cs);
    idempotency_free(cs);
    slots_free(cs->slots);
    free(cs);
    return NULL;
}
