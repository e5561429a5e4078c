/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/calls_priv.h"

#include <stdlib.h>
#include <string.h>

/* A receipt between its entry into the ledger and its commit. */
struct pending {
    struct http *http;
    http_id id;
};

static void on_stored(int err, void *arg) {
    struct pending *p = arg;
    if (err == 0)
        http_reply(p->http, p->id, 204, NULL, NULL, 0, NULL, 0);
    else
        http_problem(p->http, p->id, 503, "store", NULL, "the database does not take writes: %s", err_str(err));
    free(p);
}

/* The device secret, or the attach token of this very push. */
static bool is_phone(const struct calls *cs, const struct call_device *d, const char *bearer) {
    char hash[SECRET_HASH_BYTES];
    const struct device *dev = devices_get(cs->d.devices, d->call->tenant, d->id);
    bool by_token = d->token_hash[0] && secret_eq(secret_hash(hash, bearer), d->token_hash);
    return by_token || (dev && device_secret_ok(dev, bearer));
}

static struct call_device *find_push(const struct calls *cs, const struct receipt *r) {
    const struct call *c = calls_find(cs, NULL, r->call);
    for (unsigned i = 0; c && i < c->device_count; i++)
        if (c->devices[i].push[0] && strcasecmp(c->devices[i].push, r->push) == 0)
            return &c->devices[i];
    return NULL;
}

static void take(struct calls *cs, const struct http_request *rq, const json_t *body) {
    struct receipt r;
    struct field_error fe;
    if (receipt_read(&r, body, &fe) != 0) {
        http_problem(cs->http, rq->id, 422, "bad-field", fe.field, "%s", fe.text.s);
        return;
    }
    struct call_device *d = find_push(cs, &r);
    /* Without a right to the push, it does not matter whether it is there. */
    if (!d || !is_phone(cs, d, rq->bearer)) {
        http_problem(cs->http, rq->id, *rq->bearer ? 404 : 401, *rq->bearer ? "not-found" : "unauthorized",
                     *rq->bearer ? "push" : "authorization",
                     "no push of that id and call belongs to this device secret or attach token");
        return;
    }
    struct pending *p = calloc(1, sizeof *p);
    if (!p) {
        http_problem(cs->http, rq->id, 503, "memory", NULL, "out of memory");
        return;
    }
    *p = (struct pending){cs->http, rq->id};
    call_receipt(d->call, d->index, &r);
    call_store_push(d->call, d->index, on_stored, p);
}

void api_receipt_post(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    json_t *body = http_json_body(cs->http, r);
    if (body)
        take(cs, r, body);
    json_decref(body);
}
