/* SPDX-License-Identifier: Apache-2.0 */
/* Events and their deliveries to webhooks, as statements with values, and rows on their way back. */
#include "gateway/store_priv.h"

#include <stdio.h>
#include <stdlib.h>

int store_event_put(struct store *s, const struct event_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_EVENT_PUT);
    store_add_int(op, (int64_t)row->id);
    store_add_text(op, row->tenant);
    store_add_text(op, row->type);
    store_add_int(op, (int64_t)row->at_ms);
    store_add_text(op, row->data);
    return store_hold(s, r);
}

static struct event_row row_event(const struct store_value *v) {
    return (struct event_row){
        .id = (uint64_t)v[0].i, .tenant = v[1].text, .type = v[2].text, .at_ms = (uint64_t)v[3].i, .data = v[4].text};
}

static void deliver_events(struct store_request *r) {
    struct event_row *rows = r->rows.count ? calloc(r->rows.count, sizeof *rows) : NULL;
    size_t count = rows ? r->rows.count : 0;
    for (size_t i = 0; i < count; i++)
        rows[i] = row_event(r->rows.values + i * r->rows.columns);
    r->events(r->rows.count > count ? E_NOMEM : r->err, rows, count, r->arg);
    free(rows);
}

int store_event_list(struct store *s, const char *tenant, uint64_t after, unsigned limit, store_events_cb cb,
                     void *arg) {
    struct store_request *r = store_request_new(NULL, arg);
    if (!r)
        return E_NOMEM;
    r->deliver = deliver_events;
    r->events = cb;
    r->reads = true;
    struct store_op *op = store_add_op(r, STORE_EVENT_LIST);
    store_add_text(op, tenant);
    store_add_int(op, (int64_t)after);
    store_add_int(op, limit);
    return store_submit(s, r);
}

static void deliver_first(struct store_request *r) {
    struct event_row row = {.id = r->rows.count ? (uint64_t)r->rows.values[2].i : 0};
    r->events(r->err, &row, 1, r->arg);
}

int store_event_first(struct store *s, store_events_cb cb, void *arg) {
    struct store_request *r = store_request_new(NULL, arg);
    if (!r)
        return E_NOMEM;
    r->deliver = deliver_first;
    r->events = cb;
    r->reads = true;
    store_add_op(r, STORE_EVENT_STATE);
    return store_submit(s, r);
}

int store_event_state(struct store *s, struct store_event_state *state, struct err_text *et) {
    struct store_rows rows = {0};
    int err = store_read_now(s, STORE_EVENT_STATE, &rows);
    if (err == 0 && rows.count == 1) {
        snprintf(state->source, sizeof state->source, "%s", rows.values[0].text);
        state->last = (uint64_t)rows.values[1].i;
        state->first = (uint64_t)rows.values[2].i;
    } else {
        err = err_say(et, err ? err : E_IO, "store.url: the events cannot be read: %s", err_str(err ? err : E_IO));
    }
    store_rows_free(&rows);
    return err;
}

/* Deliveries */

int store_delivery_put(struct store *s, const char *webhook, uint64_t event, uint64_t now_ms, store_done_cb cb,
                       void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_DELIVERY_PUT);
    store_add_text(op, webhook);
    store_add_int(op, (int64_t)event);
    store_add_int(op, (int64_t)now_ms);
    return store_hold(s, r);
}

static void deliver_deliveries(struct store_request *r) {
    struct delivery_row *rows = r->rows.count ? calloc(r->rows.count, sizeof *rows) : NULL;
    size_t count = rows ? r->rows.count : 0;
    for (size_t i = 0; i < count; i++) {
        const struct store_value *v = r->rows.values + i * r->rows.columns;
        rows[i] = (struct delivery_row){.event = row_event(v),
                                        .webhook = v[5].text,
                                        .id = (uint64_t)v[6].i,
                                        .attempts = (unsigned)v[7].i,
                                        .tried_ms = (uint64_t)v[8].i,
                                        .status = (int)v[9].i,
                                        .detail = v[10].text};
    }
    r->deliveries(r->rows.count > count ? E_NOMEM : r->err, rows, count, r->arg);
    free(rows);
}

static struct store_request *deliveries_request(store_deliveries_cb cb, void *arg) {
    struct store_request *r = store_request_new(NULL, arg);
    if (r) {
        r->deliver = deliver_deliveries;
        r->deliveries = cb;
        r->reads = true;
    }
    return r;
}

int store_delivery_due(struct store *s, const char *webhook, uint64_t now_ms, unsigned limit, store_deliveries_cb cb,
                       void *arg) {
    struct store_request *r = deliveries_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_DELIVERY_DUE);
    store_add_text(op, webhook);
    store_add_int(op, (int64_t)now_ms);
    store_add_int(op, limit);
    return store_submit(s, r);
}

int store_dead_list(struct store *s, const char *tenant, uint64_t before, uint64_t id, unsigned limit,
                    store_deliveries_cb cb, void *arg) {
    struct store_request *r = deliveries_request(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_DEAD_LIST);
    store_add_text(op, tenant);
    store_add_int(op, (int64_t)before);
    store_add_int(op, (int64_t)id);
    store_add_int(op, limit);
    return store_submit(s, r);
}

/* A write about one delivery, with one more number or none. */
static int change(struct store *s, enum store_statement statement, uint64_t id, const uint64_t *more, store_done_cb cb,
                  void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, statement);
    store_add_int(op, (int64_t)id);
    if (more)
        store_add_int(op, (int64_t)*more);
    return store_submit(s, r);
}

int store_delivery_done(struct store *s, uint64_t id, store_done_cb cb, void *arg) {
    return change(s, STORE_DELIVERY_DONE, id, NULL, cb, arg);
}

int store_dead_retry(struct store *s, uint64_t id, uint64_t now_ms, store_done_cb cb, void *arg) {
    return change(s, STORE_DEAD_RETRY, id, &now_ms, cb, arg);
}

int store_dead_delete(struct store *s, uint64_t id, store_done_cb cb, void *arg) {
    return change(s, STORE_DEAD_DELETE, id, NULL, cb, arg);
}

int store_delivery_failed(struct store *s, const struct delivery_row *row, bool dead, uint64_t next_ms,
                          store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_DELIVERY_FAILED);
    store_add_int(op, (int64_t)row->id);
    store_add_int(op, dead);
    store_add_int(op, row->attempts);
    store_add_int(op, (int64_t)next_ms);
    store_add_int(op, (int64_t)row->tried_ms);
    store_add_int(op, row->status);
    store_add_text(op, row->detail);
    return store_submit(s, r);
}

int store_delivery_counts(struct store *s, void (*each)(const char *webhook, uint64_t count, void *arg), void *arg) {
    struct store_rows rows = {0};
    int err = store_read_now(s, STORE_DELIVERY_COUNTS, &rows);
    for (size_t i = 0; i < rows.count && err == 0; i++)
        each(rows.values[i * rows.columns].text, (uint64_t)rows.values[i * rows.columns + 1].i, arg);
    store_rows_free(&rows);
    return err;
}
