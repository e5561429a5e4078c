/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdlib.h>
#include <string.h>

/* A row on its way to the store. */
struct writing {
    struct calls *calls;
    slot_id call;
    store_done_cb cb;
    void *arg;
};

static void on_written(int err, void *arg) {
    struct writing *w = arg;
    struct calls *cs = w->calls;
    struct call *c = calls_get(cs, w->call);
    store_done_cb cb = w->cb;
    void *cb_arg = w->arg;
    free(w);
    if (c) {
        c->writes--;
        c->behind = c->behind || err != 0; /* the sweep tries again */
    }
    if (cb)
        cb(err, cb_arg);
    cs->writes--;
    calls_close_when_stored(cs);
}

static struct writing *writing_new(struct call *c, store_done_cb cb, void *arg) {
    struct writing *w = calloc(1, sizeof *w);
    if (w)
        *w = (struct writing){c->owner, c->slot, cb, arg};
    return w;
}

/* The store took the request, or did not for want of memory. */
static void submitted(struct call *c, int err, struct writing *w) {
    if (err != 0) {
        log_error("nothing stored", log_s("call", c->id), log_s("error", err_str(err)));
        c->behind = true;
        store_done_cb cb = w ? w->cb : NULL;
        void *arg = w ? w->arg : NULL;
        free(w);
        if (cb)
            cb(err, arg);
        return;
    }
    c->writes++;
    c->owner->writes++;
}

void call_store(struct call *c, const struct idempotency_row *idem, store_done_cb cb, void *arg) {
    json_t *o = call_json(c);
    char *doc = json_dumps(o, JSON_COMPACT), *timeline = json_dumps(c->timeline, JSON_COMPACT);
    struct call_row row = {.id = c->id,
                           .tenant = c->tenant,
                           .callee = c->callee,
                           .state = call_state_name(c->fsm.state),
                           .created_ms = c->created_ms,
                           .ended_ms = c->ended_ms,
                           .doc = doc,
                           .timeline = timeline};
    struct writing *w = doc && timeline ? writing_new(c, cb, arg) : NULL;
    c->dirty = false;
    struct store *s = c->owner->d.store;
    call_keep_along(c);
    submitted(c,
              !w   ? E_NOMEM
              : cb ? store_call_put(s, &row, idem, on_written, w)
                   : store_call_put_late(s, &row, on_written, w),
              w);
    json_decref(o);
    free(doc);
    free(timeline);
}

struct push_row call_push_row(const struct call *c, const struct call_push *p) {
    const struct call_device *d = p->device;
    struct push_row row = {
        .id = p->id,
        .call = c->id,
        .device = d->id,
        .tenant = c->tenant,
        .app = c->app->name,
        .app_version = d->app_version,
        .os_version = d->os_version,
        .token_hash = p->token_hash,
    };
    ledger_to_row(&row, &p->ledger);
    return row;
}

void call_store_push(struct call *c, const struct call_push *p, store_done_cb cb, void *arg) {
    const struct push_row row = call_push_row(c, p);
    struct writing *w = writing_new(c, cb, arg);
    struct store *s = c->owner->d.store;
    submitted(c, !w ? E_NOMEM : (cb ? store_push_put : store_push_put_late)(s, &row, on_written, w), w);
}

void call_submit_kept(struct call *c, const struct kept_row *row, bool late, store_done_cb cb, void *arg) {
    struct writing *w = row ? writing_new(c, cb, arg) : NULL;
    if (!w) {
        submitted(c, E_NOMEM, NULL);
        if (cb)
            cb(E_NOMEM, arg);
        return;
    }
    submitted(c, (late ? store_kept_put_late : store_kept_put)(c->owner->d.store, row, on_written, w), w);
}

bool call_is_stored(const struct call *c) {
    return c->writes == 0 && !c->dirty && !c->behind;
}

void call_store_rest(struct call *c) {
    if (c->writes > 0 || (!c->dirty && !c->behind))
        return;
    for (unsigned i = 0; c->behind && i < c->device_count; i++)
        for (unsigned k = 0; k < c->devices[i].push_count; k++)
            if (c->devices[i].pushes[k].ledger.queued_ms)
                call_store_push(c, &c->devices[i].pushes[k], NULL, NULL);
    if (c->behind && c->media && c->fsm.state != CALL_ENDED)
        media_tell_states(c->owner->d.media, c->media);
    c->behind = false;
    call_store(c, NULL, NULL, NULL);
}

/* What a restart finds */

/* A call that a crash cut off: its media and its phones' connections are gone, and so is the call. */
static void close_call(struct calls *cs, const struct call_row *row, const char *why) {
    char at[CLOCK_RFC3339_BYTES], detail[ERR_TEXT_BYTES + 64];
    uint64_t now_ms = clock_wall_ms();
    size_t i;
    json_t *doc = json_loads(row->doc, 0, NULL), *timeline = json_loads(row->timeline, 0, NULL), *device;
    clock_rfc3339(at, now_ms);
    snprintf(detail, sizeof detail, "the gateway was restarted; %s", why);
    json_object_set_new(doc, "state", json_string("ended"));
    json_object_set_new(doc, "reason", json_string(call_reason_name(CALL_ERROR)));
    json_object_set_new(doc, "ended_at", json_string(at));
    json_array_foreach(json_object_get(doc, "devices"), i, device) {
        json_object_set_new(device, "state", json_string(call_leg_state_name(CALL_LEG_OUT)));
    }
    json_array_append_new(timeline, json_pack("{s:s,s:I,s:s,s:s,s:s}", "at", at, "offset_us",
                                              (json_int_t)(now_ms - row->created_ms) * 1000, "event", "ended", "reason",
                                              call_reason_name(CALL_ERROR), "detail", detail));
    char *doc_text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    char *timeline_text = timeline ? json_dumps(timeline, JSON_COMPACT) : NULL;
    struct call_row ended = *row;
    ended.state = "ended";
    ended.ended_ms = now_ms;
    ended.doc = doc_text ? doc_text : row->doc;
    ended.timeline = timeline_text ? timeline_text : row->timeline;
    events_add(cs->d.events, EVENT_CALL_ENDED, row->tenant,
               json_pack("{s:s,s:s,s:s,s:s}", "call", row->id, "callee", row->callee, "state", "ended", "reason",
                         call_reason_name(CALL_ERROR)));
    if (store_call_put(cs->d.store, &ended, NULL, NULL, NULL) != 0)
        log_error("nothing stored", log_s("call", row->id));
    log_warn("call", log_s("call", row->id), log_s("state", "ended"), log_s("reason", "error"),
             log_s("detail", detail));
    free(doc_text);
    free(timeline_text);
    json_decref(doc);
    json_decref(timeline);
}

void calls_load_call(struct calls *cs, const struct call_row *row) {
    struct err_text why = {""};
    if (calls_resume(cs, row, &why) != 0)
        close_call(cs, row, why.s);
}

/* Nobody waits for this row's receipt or report any more. */
void calls_load_push(struct calls *cs, const struct push_row *row) {
    struct call *c = calls_find(cs, NULL, row->call);
    if (c) {
        call_resume_push(c, row);
        return;
    }
    if (row->outcome[0] || row->status != 200)
        return;
    struct push_row closed = *row;
    closed.outcome =
        ledger_outcome_name(row->receipt_ms == 0 && row->received_ms == 0 ? LEDGER_SILENT : LEDGER_VIOLATED);
    calls_tell_outcome(cs, &closed);
    if (store_push_put(cs->d.store, &closed, NULL, NULL) != 0)
        log_error("nothing stored", log_s("call", row->call), log_s("push", row->id));
    /* What the row now says of the phone holds for the next call. */
    if (strcmp(row->predicted_why, ledger_why_name(LEDGER_ALERT)) != 0)
        calls_health_review(cs, row->tenant, row->device, NULL);
}
