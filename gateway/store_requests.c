/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the loop, as statements with values, and rows on their way back. */
#include "gateway/store_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void deliver_done(struct store_request *r) {
    if (r->done)
        r->done(r->err, r->arg);
}

struct store_request *store_request_new(store_done_cb done, void *arg) {
    struct store_request *r = calloc(1, sizeof *r);
    if (r) {
        r->deliver = deliver_done;
        r->done = done;
        r->arg = arg;
    }
    return r;
}

struct store_op *store_add_op(struct store_request *r, enum store_statement statement) {
    struct store_op *op = &r->ops[r->op_count++];
    op->statement = statement;
    return op;
}

void store_add_text(struct store_op *op, const char *text) {
    op->in[op->count++].text = strdup(text ? text : "");
}

void store_add_int(struct store_op *op, int64_t i) {
    op->in[op->count++].i = i;
}

static void device_values(struct store_op *op, const struct device *d) {
    char modes[64] = "", key[65] = "";
    for (unsigned i = 0; i < d->handoff_count; i++)
        snprintf(modes + strlen(modes), sizeof modes - strlen(modes), "%s%s", i ? "," : "",
                 media_mode_name(d->handoff[i]));
    if (d->has_sealing_key)
        hex_encode(key, d->sealing_key, sizeof d->sealing_key);
    const char *texts[] = {d->tenant, d->id, d->user, d->app, d->token};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        store_add_text(op, texts[i]);
    store_add_int(op, d->sandbox);
    store_add_int(op, d->ui);
    store_add_text(op, modes);
    store_add_text(op, key);
    store_add_text(op, d->app_version);
    store_add_text(op, d->os_version);
    store_add_text(op, d->secret_hash);
    store_add_int(op, d->health_cause);
    store_add_text(op, d->health_reason);
    store_add_int(op, (int64_t)d->created_ms);
    store_add_int(op, (int64_t)d->updated_ms);
    store_add_int(op, (int64_t)d->token_updated_ms);
    store_add_int(op, (int64_t)d->token_accepted_ms);
    store_add_int(op, d->token_refused);
    store_add_text(op, d->alert_token);
    store_add_int(op, (int64_t)d->token_since_ms);
}

const char *store_err_str(int err) {
    return err == E_FULL ? "the database's disk is full"
           : err == E_IO ? "the database is read-only, or its disk fails"
                         : err_str(err);
}

int store_device_put(struct store *s, const struct device *dev, store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    device_values(store_add_op(r, STORE_DEVICE_PUT), dev);
    return store_submit(s, r);
}

static int about_device(struct store *s, enum store_statement statement, const char *tenant, const char *id,
                        store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, statement);
    store_add_text(op, tenant);
    store_add_text(op, id);
    return store_submit(s, r);
}

int store_device_delete(struct store *s, const char *tenant, const char *id, store_done_cb cb, void *arg) {
    return about_device(s, STORE_DEVICE_DELETE, tenant, id, cb, arg);
}

int store_device_forget_tokens(struct store *s, const char *tenant, const char *id) {
    return about_device(s, STORE_DEVICE_FORGET_TOKENS, tenant, id, NULL, NULL);
}

static struct store_request *call_put(const struct call_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return NULL;
    struct store_op *op = store_add_op(r, STORE_CALL_PUT);
    store_add_text(op, row->id);
    store_add_text(op, row->tenant);
    store_add_text(op, row->callee);
    store_add_text(op, row->state);
    store_add_int(op, (int64_t)row->created_ms);
    store_add_int(op, (int64_t)row->ended_ms);
    store_add_text(op, row->doc);
    store_add_text(op, row->timeline);
    return r;
}

int store_call_put_late(struct store *s, const struct call_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = call_put(row, cb, arg);
    return r ? store_submit_late(s, r) : E_NOMEM;
}

int store_call_put(struct store *s, const struct call_row *row, const struct idempotency_row *idem, store_done_cb cb,
                   void *arg) {
    struct store_request *r = call_put(row, cb, arg);
    if (!r)
        return E_NOMEM;
    if (idem) {
        struct store_op *op = store_add_op(r, STORE_IDEMPOTENCY_PUT);
        store_add_text(op, idem->tenant);
        store_add_text(op, idem->key);
        store_add_text(op, idem->body_hash);
        store_add_text(op, idem->call);
        store_add_text(op, idem->response);
        store_add_int(op, (int64_t)idem->created_ms);
    }
    return store_submit(s, r);
}

struct call_row store_row_call(const struct store_value *v) {
    return (struct call_row){.id = v[0].text,
                             .tenant = v[1].text,
                             .callee = v[2].text,
                             .state = v[3].text,
                             .created_ms = (uint64_t)v[4].i,
                             .ended_ms = (uint64_t)v[5].i,
                             .doc = v[6].text,
                             .timeline = v[7].text};
}

static void deliver_calls(struct store_request *r) {
    struct call_row *rows = r->rows.count ? calloc(r->rows.count, sizeof *rows) : NULL;
    size_t count = rows ? r->rows.count : 0;
    for (size_t i = 0; i < count; i++)
        rows[i] = store_row_call(r->rows.values + i * r->rows.columns);
    r->calls(r->err, rows, count, r->arg);
    free(rows);
}

static struct store_request *calls_request(store_calls_cb cb, void *arg) {
    struct store_request *r = store_request_new(NULL, arg);
    if (r) {
        r->deliver = deliver_calls;
        r->calls = cb;
        r->reads = true;
    }
    return r;
}

int store_call_get(struct store *s, const char *tenant, const char *id, store_calls_cb cb, void *arg) {
    struct store_request *r = calls_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_CALL_GET);
    store_add_text(op, tenant);
    store_add_text(op, id);
    return store_submit(s, r);
}

int store_call_list(struct store *s, const struct call_query *q, store_calls_cb cb, void *arg) {
    struct store_request *r = calls_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_CALL_LIST);
    store_add_text(op, q->tenant);
    store_add_text(op, q->state);
    store_add_text(op, q->callee);
    store_add_int(op, (int64_t)q->before_ms);
    store_add_text(op, q->before_id);
    store_add_int(op, q->limit);
    return store_submit(s, r);
}

static struct store_request *push_put(const struct push_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return NULL;
    struct store_op *op = store_add_op(r, STORE_PUSH_PUT);
    const char *texts[] = {row->id, row->call, row->device, row->tenant, row->app, row->app_version, row->os_version};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        store_add_text(op, texts[i]);
    store_add_int(op, row->predicted);
    store_add_text(op, row->predicted_why);
    store_add_int(op, row->observed);
    store_add_text(op, row->reported);
    store_add_text(op, row->report_error);
    store_add_text(op, row->outcome);
    store_add_int(op, row->status);
    store_add_text(op, row->reason);
    const uint64_t times[] = {row->queued_ms,   row->written_ms,  row->answered_ms, row->received_ms,
                              row->reported_ms, row->attached_ms, row->receipt_ms};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        store_add_int(op, (int64_t)times[i]);
    store_add_text(op, row->network);
    store_add_int(op, (int64_t)row->ring_end_ms);
    store_add_text(op, row->token_hash);
    return r;
}

int store_push_put(struct store *s, const struct push_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = push_put(row, cb, arg);
    return r ? store_submit(s, r) : E_NOMEM;
}

int store_push_put_late(struct store *s, const struct push_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = push_put(row, cb, arg);
    return r ? store_submit_late(s, r) : E_NOMEM;
}

int store_push_plan(struct store *s, const struct push_row *row) {
    struct store_request *r = push_put(row, NULL, NULL);
    return r ? store_hold(s, r) : E_NOMEM;
}

struct push_row store_row_push(const struct store_value *v) {
    return (struct push_row){
        .id = v[0].text,
        .call = v[1].text,
        .device = v[2].text,
        .tenant = v[3].text,
        .app = v[4].text,
        .app_version = v[5].text,
        .os_version = v[6].text,
        .predicted = v[7].i != 0,
        .predicted_why = v[8].text,
        .observed = (int)v[9].i,
        .reported = v[10].text,
        .report_error = v[11].text,
        .outcome = v[12].text,
        .status = (int)v[13].i,
        .reason = v[14].text,
        .queued_ms = (uint64_t)v[15].i,
        .written_ms = (uint64_t)v[16].i,
        .answered_ms = (uint64_t)v[17].i,
        .received_ms = (uint64_t)v[18].i,
        .reported_ms = (uint64_t)v[19].i,
        .attached_ms = (uint64_t)v[20].i,
        .receipt_ms = (uint64_t)v[21].i,
        .network = v[22].text,
        .ring_end_ms = (uint64_t)v[23].i,
        .token_hash = v[24].text,
    };
}

static void deliver_pushes(struct store_request *r) {
    struct push_row *rows = r->rows.count ? calloc(r->rows.count, sizeof *rows) : NULL;
    size_t count = rows ? r->rows.count : 0;
    for (size_t i = 0; i < count; i++)
        rows[i] = store_row_push(r->rows.values + i * r->rows.columns);
    r->pushes(r->err, rows, count, r->arg);
    free(rows);
}

static struct store_request *pushes_request(store_pushes_cb cb, void *arg) {
    struct store_request *r = store_request_new(NULL, arg);
    if (r) {
        r->deliver = deliver_pushes;
        r->pushes = cb;
        r->reads = true;
    }
    return r;
}

int store_push_list(struct store *s, const struct push_query *q, store_pushes_cb cb, void *arg) {
    struct store_request *r = pushes_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_PUSH_LIST);
    store_add_text(op, q->tenant);
    store_add_text(op, q->device);
    store_add_int(op, (int64_t)q->before_ms);
    store_add_text(op, q->before_id);
    store_add_int(op, q->limit);
    return store_submit(s, r);
}

int store_push_of_call(struct store *s, const char *call, store_pushes_cb cb, void *arg) {
    struct store_request *r = pushes_request(cb, arg);
    if (!r)
        return E_NOMEM;
    store_add_text(store_add_op(r, STORE_PUSH_OF_CALL), call);
    return store_submit(s, r);
}

int store_push_get(struct store *s, const char *id, store_pushes_cb cb, void *arg) {
    struct store_request *r = pushes_request(cb, arg);
    if (!r)
        return E_NOMEM;
    store_add_text(store_add_op(r, STORE_PUSH_GET), id);
    return store_submit(s, r);
}

int store_push_recent(struct store *s, const char *tenant, const char *device, uint64_t since_ms, unsigned limit,
                      store_pushes_cb cb, void *arg) {
    struct store_request *r = pushes_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_PUSHES_RECENT);
    store_add_text(op, tenant);
    store_add_text(op, device);
    store_add_int(op, (int64_t)since_ms);
    store_add_int(op, limit);
    return store_submit(s, r);
}

static int64_t or_none(const struct store_value *v) {
    return v->text ? -1 : v->i;
}

static struct report_row row_to_report(const struct store_value *v) {
    struct report_row r = {.app = v[0].text,
                           .app_version = v[1].text,
                           .os_version = v[2].text,
                           .day = v[3].text,
                           .network = v[4].text,
                           .p50_ms = or_none(&v[18]),
                           .p95_ms = or_none(&v[19]),
                           .p99_ms = or_none(&v[20])};
    uint64_t *const counts[] = {
        &r.pushes, &r.accepted, &r.receipts, &r.must_report, &r.must_not_report, &r.must_report_absent, &r.reported,
        &r.exempt, &r.violated, &r.late,     &r.silent,      &r.filtered,        &r.predicted_right};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        *counts[i] = (uint64_t)v[5 + i].i;
    return r;
}

static void deliver_report(struct store_request *r) {
    struct report_row *rows = r->rows.count ? calloc(r->rows.count, sizeof *rows) : NULL;
    size_t count = rows ? r->rows.count : 0;
    for (size_t i = 0; i < count; i++)
        rows[i] = row_to_report(r->rows.values + i * r->rows.columns);
    r->report(r->err, rows, count, r->arg);
    free(rows);
}

int store_push_report(struct store *s, const struct report_query *q, store_report_cb cb, void *arg) {
    struct store_request *r = store_request_new(NULL, arg);
    if (!r)
        return E_NOMEM;
    r->deliver = deliver_report;
    r->report = cb;
    r->reads = true;
    struct store_op *op = store_add_op(r, STORE_PUSH_REPORT);
    store_add_text(op, q->tenant);
    store_add_int(op, (int64_t)q->from_ms);
    store_add_int(op, (int64_t)q->to_ms);
    const char *texts[] = {q->app, q->app_version, q->os_version, q->device};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        store_add_text(op, texts[i]);
    for (unsigned group = STORE_BY_APP; group <= STORE_BY_NETWORK; group <<= 1)
        store_add_int(op, (q->groups & group) != 0);
    store_add_int(op, q->limit);
    store_add_text(op, q->network);
    return store_submit(s, r);
}

int store_sealed_put(struct store *s, const struct sealed_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_SEALED_PUT);
    store_add_text(op, row->name);
    store_add_text(op, row->value);
    store_add_int(op, (int64_t)row->updated_ms);
    return store_submit(s, r);
}

/* Pruning goes on until nothing is left, in steps between which others have their turn. */
struct prune {
    struct store *store;
    uint64_t ended_before_ms, now_ms;
    store_done_cb cb;
    void *arg;
};

static int prune_step(struct prune *p);

static void deliver_prune(struct store_request *r) {
    struct prune *p = r->arg;
    bool more = r->err == 0 && r->changes_max >= STORE_PRUNE_ROWS && !store_is_ending(p->store);
    int err = more ? prune_step(p) : r->err;
    if (more && err == 0)
        return;
    if (p->cb)
        p->cb(err, p->arg);
    free(p);
}

static int prune_step(struct prune *p) {
    const struct {
        enum store_statement statement;
        uint64_t before_ms;
    } parts[] = {{STORE_PRUNE_PUSHES, p->ended_before_ms},
                 {STORE_PRUNE_CALLS, p->ended_before_ms},
                 {STORE_PRUNE_IDEMPOTENCY, p->now_ms - STORE_KEY_KEEP_MS},
                 {STORE_PRUNE_DELIVERIES, p->now_ms - STORE_DELIVERY_KEEP_MS},
                 {STORE_PRUNE_EVENTS, p->ended_before_ms}};
    struct store_request *r = store_request_new(NULL, p);
    if (!r)
        return E_NOMEM;
    r->deliver = deliver_prune;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct store_op *op = store_add_op(r, parts[i].statement);
        store_add_int(op, (int64_t)parts[i].before_ms);
        store_add_int(op, STORE_PRUNE_ROWS);
        if (parts[i].statement == STORE_PRUNE_IDEMPOTENCY)
            store_add_int(op, (int64_t)(p->now_ms + STORE_KEY_KEEP_MS));
    }
    return store_submit(p->store, r);
}

int store_prune(struct store *s, uint64_t ended_before_ms, uint64_t now_ms, store_done_cb cb, void *arg) {
    struct prune *p = calloc(1, sizeof *p);
    if (!p)
        return E_NOMEM;
    *p = (struct prune){s, ended_before_ms, now_ms, cb, arg};
    int err = prune_step(p);
    if (err != 0)
        free(p);
    return err;
}

struct device store_row_device(const struct store_value *v) {
    struct device d = {.sandbox = v[5].i != 0,
                       .ui = (enum device_ui)v[6].i,
                       .health_cause = (enum health_cause)v[12].i,
                       .created_ms = (uint64_t)v[14].i,
                       .updated_ms = (uint64_t)v[15].i,
                       .token_updated_ms = (uint64_t)v[16].i,
                       .token_accepted_ms = (uint64_t)v[17].i,
                       .token_refused = v[18].i != 0,
                       .token_since_ms = (uint64_t)v[20].i,
                       .voip_ms = (uint64_t)v[21].i};
    char *save = NULL;
    snprintf(d.tenant, sizeof d.tenant, "%s", v[0].text);
    snprintf(d.id, sizeof d.id, "%s", v[1].text);
    snprintf(d.user, sizeof d.user, "%s", v[2].text);
    snprintf(d.app, sizeof d.app, "%s", v[3].text);
    snprintf(d.token, sizeof d.token, "%s", v[4].text);
    for (char *m = strtok_r(v[7].text, ",", &save); m && d.handoff_count < DEVICE_MODES_MAX;
         m = strtok_r(NULL, ",", &save))
        d.handoff[d.handoff_count++] = media_mode_by_name(m);
    d.has_sealing_key = hex_decode(d.sealing_key, sizeof d.sealing_key, v[8].text) == (int)sizeof d.sealing_key;
    snprintf(d.app_version, sizeof d.app_version, "%s", v[9].text);
    snprintf(d.os_version, sizeof d.os_version, "%s", v[10].text);
    snprintf(d.secret_hash, sizeof d.secret_hash, "%s", v[11].text);
    snprintf(d.health_reason, sizeof d.health_reason, "%s", v[13].text);
    snprintf(d.alert_token, sizeof d.alert_token, "%s", v[19].text);
    return d;
}
