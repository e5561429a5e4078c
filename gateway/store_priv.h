/* SPDX-License-Identifier: Apache-2.0 */
/* What store.c (the thread) and store_requests.c (what it is asked) share. */
#ifndef GATEWAY_STORE_PRIV_H
#define GATEWAY_STORE_PRIV_H

#include "gateway/store.h"
#include "gateway/store_sql.h"

#define OPS_MAX 5

/* What the loop asks, and what the database thread answers. */
struct store_request {
    struct store_request *prev, *next;
    struct store_op ops[OPS_MAX];
    size_t op_count;
    bool reads;
    bool joined; /* in the same transaction as the request before it */
    struct store_rows rows;
    size_t changes_max; /* rows that one of its ops has changed, the most */
    int err;
    void (*deliver)(struct store_request *r);
    store_done_cb done;
    store_calls_cb calls;
    store_pushes_cb pushes;
    store_report_cb report;
    store_events_cb events;
    store_deliveries_cb deliveries;
    void *arg;
};

/* For the thread; r is its own from now on. Returns 0. */
int store_submit(struct store *s, struct store_request *r);
/* The same, together with the next write that is submitted, and in its transaction; by itself when the loop is about to
 * wait and none came. Returns 0. */
int store_hold(struct store *s, struct store_request *r);
/* A write that nobody waits for, with what is held: together with the next request that is submitted, so that it costs
 * no commit of its own; by itself after STORE_LATE_MS. Returns 0. */
int store_submit_late(struct store *s, struct store_request *r);

/* It is closing, or waits for all that was asked: nothing more is asked for by itself. */
bool store_is_ending(const struct store *s);

/* At start, before anything was submitted: the thread waits, and the database is the caller's. */
int store_read_now(struct store *s, enum store_statement statement, struct store_rows *rows);

struct store_request *store_request_new(store_done_cb done, void *arg);
struct store_op *store_add_op(struct store_request *r, enum store_statement statement);
/* A copy that fails for want of memory is written as 0, which no reader of a text column takes for a value. */
void store_add_text(struct store_op *op, const char *text);
void store_add_int(struct store_op *op, int64_t i);

/* A row of the table; its texts are the values'. */
struct device store_row_device(const struct store_value *v);
struct call_row store_row_call(const struct store_value *v);
struct push_row store_row_push(const struct store_value *v);

#endif
