/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about what live calls need to go on after a crash. */
#include "gateway/store_priv.h"

static struct store_request *put_request(const struct kept_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = store_request_new(cb, arg);
    if (!r)
        return NULL;
    struct store_op *op = store_add_op(r, STORE_KEPT_PUT);
    store_add_text(op, row->call);
    store_add_text(op, row->part);
    store_add_text(op, row->value);
    return r;
}

int store_kept_put(struct store *s, const struct kept_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = put_request(row, cb, arg);
    return r ? store_submit(s, r) : E_NOMEM;
}

int store_kept_put_late(struct store *s, const struct kept_row *row, store_done_cb cb, void *arg) {
    struct store_request *r = put_request(row, cb, arg);
    return r ? store_submit_late(s, r) : E_NOMEM;
}

int store_kept_put_along(struct store *s, const struct kept_row *row) {
    struct store_request *r = put_request(row, NULL, NULL);
    return r ? store_hold(s, r) : E_NOMEM;
}

int store_kept_delete_along(struct store *s, const char *call, const char *part) {
    struct store_request *r = store_request_new(NULL, NULL);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_KEPT_DELETE);
    store_add_text(op, call);
    store_add_text(op, part);
    return store_hold(s, r);
}

int store_kept_prune(struct store *s) {
    struct store_request *r = store_request_new(NULL, NULL);
    if (!r)
        return E_NOMEM;
    store_add_op(r, STORE_KEPT_PRUNE);
    return store_submit(s, r);
}

int store_sealed_prune(struct store *s, const char *prefix, uint64_t before_ms) {
    struct store_request *r = store_request_new(NULL, NULL);
    if (!r)
        return E_NOMEM;
    struct store_op *op = store_add_op(r, STORE_SEALED_PRUNE);
    store_add_text(op, prefix);
    store_add_int(op, (int64_t)before_ms);
    return store_submit(s, r);
}
