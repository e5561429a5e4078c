/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define LATE_MAX 1024 /* receipts for calls that are long over, on their way to their rows */

static json_t *observed_json(int observed) {
    return observed < 0 ? json_null() : json_boolean(observed);
}

void calls_tell_outcome(struct calls *cs, const struct push_row *row) {
    events_add(cs->d.events, EVENT_PUSH_OUTCOME, row->tenant,
               json_pack("{s:s,s:s,s:s,s:s}", "call", row->call, "device", row->device, "push", row->id, "outcome",
                         row->outcome));
}

static void tell_receipt(struct calls *cs, const struct push_row *row, const char *app_state) {
    events_add(cs->d.events, EVENT_RECEIPT, row->tenant,
               json_pack("{s:s,s:s,s:s,s:o,s:s,s:s}", "call", row->call, "device", row->device, "push", row->id,
                         "must_report", observed_json(row->observed), "app_state", app_state, "reported",
                         row->reported));
}

static void outcome_decided(struct call *c, const struct call_push *p) {
    const struct ledger *l = &p->ledger;
    const struct push_row row = call_push_row(c, p);
    char labels[48];
    snprintf(labels, sizeof labels, "outcome=\"%s\"", ledger_outcome_name(l->outcome));
    metric_add(metrics_counter(c->owner->d.metrics, "wakegate_push_outcomes_total",
                               "Ledger rows that got an outcome; one may change its mind.", labels),
               1);
    log_info("push outcome", log_s("call", c->id), log_s("device", p->device->id),
             log_s("outcome", ledger_outcome_name(l->outcome)), log_b("predicted", ledger_predicted(l)),
             log_i("observed", l->observed));
    calls_tell_outcome(c->owner, &row);
}

void call_ledger_tick(struct call *c, uint64_t wall_ms) {
    for (unsigned i = 0; i < c->device_count; i++)
        for (unsigned k = 0; k < c->devices[i].push_count; k++) {
            struct call_push *p = &c->devices[i].pushes[k];
            if (!ledger_tick(&p->ledger, wall_ms))
                continue;
            outcome_decided(c, p);
            call_store_push(c, p, NULL, NULL);
            call_health_heard(c, p->device, &p->ledger);
            c->dirty = true;
        }
}

static bool is_open(const struct call_push *p) {
    return p->state == PUSH_QUEUED || (p->state == PUSH_ACCEPTED && ledger_due_ms(&p->ledger));
}

bool call_ledger_open(const struct call *c) {
    for (unsigned i = 0; i < c->device_count; i++)
        for (unsigned k = 0; k < c->devices[i].push_count; k++)
            if (is_open(&c->devices[i].pushes[k]))
                return true;
    return false;
}

/* Receipts */

/* When the app's code ran, by the phone's clock: shown only where it can be true. */
static void note_woken(struct call *c, const struct ledger *l, unsigned device) {
    uint64_t at_us = c->request_us + (l->received_ms * 1000 - c->request_wall_us);
    if (l->received_ms * 1000 < c->request_wall_us || at_us > clock_mono_us())
        at_us = 0;
    call_note_device(c, at_us, "phone_woken", device);
}

int call_receipt(struct call *c, unsigned device, const struct receipt *r) {
    struct call_device *d = &c->devices[device];
    struct call_push *p = call_push_by_id(d, r->push);
    if (!p)
        return E_NOTFOUND;
    struct ledger *l = &p->ledger;
    bool first = l->receipt_ms == 0, reported = l->reported_ms != 0;
    enum ledger_outcome before = l->outcome;
    phone_note_state(c->owner, c->tenant, d->id, r->app_state, r->on_call);
    if (!ledger_receipt(l, r, clock_wall_ms()))
        return 0;
    if (first) {
        note_woken(c, l, device);
        call_note(c, 0, "receipt",
                  json_pack("{s:s,s:s,s:o,s:s}", "device", d->id, "push", p->id, "must_report",
                            observed_json(l->observed), "app_state", r->app_state));
        const struct push_row row = call_push_row(c, p);
        tell_receipt(c->owner, &row, r->app_state);
    }
    if (!reported && l->reported_ms)
        call_note(c, 0, "reported", json_pack("{s:s,s:s}", "device", d->id, "reported", l->reported));
    if (l->outcome != before)
        outcome_decided(c, p);
    c->dirty = true;
    call_store_push(c, p, NULL, NULL);
    if (first || l->outcome != before)
        call_health_heard(c, d, l);
    call_step(c, CALL_IN_RECEIPT, device);
    if (receipt_filtered(r))
        call_step(c, CALL_IN_FILTERED, device);
    return 0;
}

/* Receipts for calls that only the store knows. Those for one push are entered one after the other: each reads the row
 * that the one before has written. */

struct late_receipt {
    struct calls *calls;
    struct receipt r; /* its texts are those below */
    char call[UUID_BYTES], push[UUID_BYTES], reported[8], error[257], network[LEDGER_NETWORK_BYTES];
    char bearer_hash[SECRET_HASH_BYTES]; /* "": tenant and device are proved */
    char tenant[DEVICE_TENANT_BYTES], device[DEVICE_ID_BYTES];
    store_done_cb cb;
    void *arg;
    bool busy;
    struct late_receipt *prev, *next; /* in calls.late */
};

static void late_start(struct late_receipt *l);

static struct late_receipt *late_of_push(const struct calls *cs, const char *push, bool busy) {
    struct late_receipt *l;
    DL_FOREACH(cs->late, l) {
        if (l->busy == busy && strcmp(l->push, push) == 0)
            return l;
    }
    return NULL;
}

static void late_end(struct late_receipt *l, int err) {
    struct calls *cs = l->calls;
    DL_DELETE(cs->late, l);
    struct late_receipt *next = late_of_push(cs, l->push, false);
    if (next)
        late_start(next);
    if (l->cb)
        l->cb(err, l->arg);
    free(l);
    cs->writes--;
    calls_close_when_stored(cs);
}

bool calls_row_is_of(const struct calls *cs, const struct push_row *row, const char *bearer_hash) {
    const struct device *dev = devices_get(cs->d.devices, row->tenant, row->device);
    return (row->token_hash[0] && secret_eq(bearer_hash, row->token_hash)) ||
           (dev && secret_eq(bearer_hash, dev->secret_hash));
}

static bool late_owns(const struct late_receipt *l, const struct push_row *row) {
    if (!l->bearer_hash[0])
        return strcmp(l->tenant, row->tenant) == 0 && strcmp(l->device, row->device) == 0;
    return calls_row_is_of(l->calls, row, l->bearer_hash);
}

static void on_late_written(int err, void *arg) {
    struct late_receipt *l = arg;
    if (err == 0)
        calls_health_review(l->calls, l->tenant, l->device, NULL);
    late_end(l, err);
}

static void on_late_row(int err, const struct push_row *rows, size_t count, void *arg) {
    struct late_receipt *l = arg;
    struct ledger ledger;
    if (err != 0 || count == 0 || strcmp(rows->call, l->call) != 0 || !late_owns(l, rows)) {
        late_end(l, err != 0 ? err : E_NOTFOUND);
        return;
    }
    ledger_from_row(&ledger, rows);
    if (!ledger_receipt(&ledger, &l->r, clock_wall_ms())) {
        late_end(l, 0);
        return;
    }
    struct push_row row = *rows;
    ledger_to_row(&row, &ledger);
    if (rows->receipt_ms == 0)
        tell_receipt(l->calls, &row, "");
    if (strcmp(rows->outcome, row.outcome) != 0)
        calls_tell_outcome(l->calls, &row);
    snprintf(l->tenant, sizeof l->tenant, "%s", row.tenant);
    snprintf(l->device, sizeof l->device, "%s", row.device);
    log_info("late receipt", log_s("call", row.call), log_s("device", row.device), log_s("push", row.id),
             log_s("outcome", row.outcome));
    if (store_push_put(l->calls->d.store, &row, on_late_written, l) != 0)
        late_end(l, E_NOMEM);
}

static void late_start(struct late_receipt *l) {
    l->busy = true;
    if (store_push_get(l->calls->d.store, l->push, on_late_row, l) != 0)
        late_end(l, E_NOMEM);
}

void calls_late_receipt(struct calls *cs, const struct receipt *r, const struct receipt_owner *o, store_done_cb cb,
                        void *arg) {
    struct late_receipt *l = NULL, *other;
    size_t waiting;
    DL_COUNT(cs->late, other, waiting);
    int err = !uuid_valid(r->push) || !uuid_valid(r->call) ? E_NOTFOUND
              : cs->closing || waiting >= LATE_MAX         ? E_FULL
                                                           : 0;
    if (err == 0 && !(l = calloc(1, sizeof *l)))
        err = E_NOMEM;
    if (err != 0) {
        if (cb)
            cb(err, arg);
        return;
    }
    l->calls = cs;
    l->cb = cb;
    l->arg = arg;
    uuid_lower(l->call, r->call);
    uuid_lower(l->push, r->push);
    snprintf(l->reported, sizeof l->reported, "%s", r->reported);
    snprintf(l->error, sizeof l->error, "%s", r->report_error);
    snprintf(l->network, sizeof l->network, "%s", r->network);
    l->r = (struct receipt){.call = l->call,
                            .push = l->push,
                            .must_report = r->must_report,
                            .app_state = "",
                            .on_call = -1,
                            .received_ms = r->received_ms,
                            .reported = l->reported,
                            .report_error = l->error,
                            .network = l->network};
    if (o->bearer)
        secret_hash(l->bearer_hash, o->bearer);
    snprintf(l->tenant, sizeof l->tenant, "%s", o->tenant ? o->tenant : "");
    snprintf(l->device, sizeof l->device, "%s", o->device ? o->device : "");
    cs->writes++;
    bool wait = late_of_push(cs, l->push, true);
    DL_APPEND(cs->late, l);
    if (!wait)
        late_start(l);
}
