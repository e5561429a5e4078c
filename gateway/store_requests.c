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

static struct store_request *request_new(store_done_cb done, void *arg) {
    struct store_request *r = calloc(1, sizeof *r);
    if (r) {
        r->deliver = deliver_done;
        r->done = done;
        r->arg = arg;
    }
    return r;
}

static struct store_op *add_op(struct store_request *r, enum store_statement statement) {
    struct store_op *op = &r->ops[r->op_count++];
    op->statement = statement;
    return op;
}

/* A copy that fails for want of memory is written as 0, which no reader of a text column takes for a value. */
static void add_text(struct store_op *op, const char *text) {
    op->in[op->count++].text = strdup(text ? text : "");
}

static void add_int(struct store_op *op, int64_t i) {
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
        add_text(op, texts[i]);
    add_int(op, d->sandbox);
    add_int(op, d->ui);
    add_text(op, modes);
    add_text(op, key);
    add_text(op, d->app_version);
    add_text(op, d->os_version);
    add_text(op, d->secret_hash);
    add_int(op, d->health);
    add_text(op, d->health_reason);
    add_int(op, (int64_t)d->created_ms);
    add_int(op, (int64_t)d->updated_ms);
    add_int(op, (int64_t)d->token_updated_ms);
    add_int(op, (int64_t)d->token_accepted_ms);
    add_int(op, d->token_refused);
}

int store_device_put(struct store *s, const struct device *dev, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    device_values(add_op(r, STORE_DEVICE_PUT), dev);
    return store_submit(s, r);
}

int store_device_delete(struct store *s, const char *tenant, const char *id, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_DEVICE_DELETE);
    add_text(op, tenant);
    add_text(op, id);
    return store_submit(s, r);
}

int store_call_put(struct store *s, const struct call_row *row, const struct idempotency_row *idem, store_done_cb cb,
                   void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_CALL_PUT);
    add_text(op, row->id);
    add_text(op, row->tenant);
    add_text(op, row->callee);
    add_text(op, row->state);
    add_int(op, (int64_t)row->created_ms);
    add_int(op, (int64_t)row->ended_ms);
    add_text(op, row->doc);
    add_text(op, row->timeline);
    if (idem) {
        op = add_op(r, STORE_IDEMPOTENCY_PUT);
        add_text(op, idem->tenant);
        add_text(op, idem->key);
        add_text(op, idem->body_hash);
        add_text(op, idem->call);
        add_text(op, idem->response);
        add_int(op, (int64_t)idem->created_ms);
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
    struct store_request *r = request_new(NULL, arg);
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
    struct store_op *op = add_op(r, STORE_CALL_GET);
    add_text(op, tenant);
    add_text(op, id);
    return store_submit(s, r);
}

int store_call_list(struct store *s, const struct call_query *q, store_calls_cb cb, void *arg) {
    struct store_request *r = calls_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_CALL_LIST);
    add_text(op, q->tenant);
    add_text(op, q->state);
    add_text(op, q->callee);
    add_int(op, (int64_t)q->before_ms);
    add_text(op, q->before_id);
    add_int(op, q->limit);
    return store_submit(s, r);
}

int store_push_put(struct store *s, const struct push_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_PUSH_PUT);
    const char *texts[] = {row->id, row->call, row->device, row->tenant, row->app, row->app_version, row->os_version};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add_text(op, texts[i]);
    add_int(op, row->predicted);
    add_text(op, row->predicted_why);
    add_int(op, row->observed);
    add_text(op, row->reported);
    add_text(op, row->report_error);
    add_text(op, row->outcome);
    add_int(op, row->status);
    add_text(op, row->reason);
    const uint64_t times[] = {row->queued_ms,   row->written_ms,  row->answered_ms, row->received_ms,
                              row->reported_ms, row->attached_ms, row->receipt_ms};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        add_int(op, (int64_t)times[i]);
    return store_submit(s, r);
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

int store_push_list(struct store *s, const char *tenant, const char *device, unsigned limit, store_pushes_cb cb,
                    void *arg) {
    struct store_request *r = request_new(NULL, arg);
    if (!r)
        return E_NOMEM;
    r->deliver = deliver_pushes;
    r->pushes = cb;
    r->reads = true;
    struct store_op *op = add_op(r, STORE_PUSH_LIST);
    add_text(op, tenant);
    add_text(op, device);
    add_int(op, limit);
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
                           .p50_ms = or_none(&v[17]),
                           .p95_ms = or_none(&v[18]),
                           .p99_ms = or_none(&v[19])};
    uint64_t *const counts[] = {
        &r.pushes, &r.accepted, &r.receipts, &r.must_report, &r.must_not_report, &r.must_report_absent, &r.reported,
        &r.exempt, &r.violated, &r.late,     &r.silent,      &r.filtered,        &r.predicted_right};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        *counts[i] = (uint64_t)v[4 + i].i;
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
    struct store_request *r = request_new(NULL, arg);
    if (!r)
        return E_NOMEM;
    r->deliver = deliver_report;
    r->report = cb;
    r->reads = true;
    struct store_op *op = add_op(r, STORE_PUSH_REPORT);
    add_text(op, q->tenant);
    add_int(op, (int64_t)q->from_ms);
    add_int(op, (int64_t)q->to_ms);
    const char *texts[] = {q->app, q->app_version, q->os_version, q->device};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add_text(op, texts[i]);
    for (unsigned group = STORE_BY_APP; group <= STORE_BY_DAY; group <<= 1)
        add_int(op, (q->groups & group) != 0);
    add_int(op, q->limit);
    return store_submit(s, r);
}

int store_sealed_put(struct store *s, const struct sealed_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = add_op(r, STORE_SEALED_PUT);
    add_text(op, row->name);
    add_text(op, row->value);
    add_int(op, (int64_t)row->updated_ms);
    return store_submit(s, r);
}

int store_prune(struct store *s, uint64_t ended_before_ms, uint64_t now_ms, store_done_cb cb, void *arg) {
    struct store_request *r = request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    add_int(add_op(r, STORE_PRUNE_PUSHES), (int64_t)ended_before_ms);
    add_int(add_op(r, STORE_PRUNE_CALLS), (int64_t)ended_before_ms);
    add_int(add_op(r, STORE_PRUNE_IDEMPOTENCY), (int64_t)now_ms - 24LL * 3600 * 1000);
    return store_submit(s, r);
}

struct device store_row_device(const struct store_value *v) {
    struct device d = {.sandbox = v[5].i != 0,
                       .ui = (enum device_ui)v[6].i,
                       .health = (enum device_health)v[12].i,
                       .created_ms = (uint64_t)v[14].i,
                       .updated_ms = (uint64_t)v[15].i,
                       .token_updated_ms = (uint64_t)v[16].i,
                       .token_accepted_ms = (uint64_t)v[17].i,
                       .token_refused = v[18].i != 0};
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
    return d;
}
