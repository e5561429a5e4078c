/* SPDX-License-Identifier: Apache-2.0 */
/* What store.c (the thread) and store_requests.c (what it is asked) share. */
#ifndef GATEWAY_STORE_PRIV_H
#define GATEWAY_STORE_PRIV_H

#include "gateway/store.h"
#include "gateway/store_sql.h"

#define OPS_MAX 3

/* What the loop asks, and what the database thread answers. */
struct store_request {
    struct store_request *prev, *next;
    struct store_op ops[OPS_MAX];
    size_t op_count;
    bool reads;
    struct store_rows rows;
    int err;
    void (*deliver)(struct store_request *r);
    store_done_cb done;
    store_calls_cb calls;
    store_pushes_cb pushes;
    store_report_cb report;
    void *arg;
};

/* For the thread; r is its own from now on. Returns 0. */
int store_submit(struct store *s, struct store_request *r);

/* A row of the table; its texts are the values'. */
struct device store_row_device(const struct store_value *v);
struct call_row store_row_call(const struct store_value *v);
struct push_row store_row_push(const struct store_value *v);

#endif
