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

static void no_push(struct http *h, http_id id) {
    http_problem(h, id, 404, "not-found", "push",
                 "no push of that id and call belongs to this device secret or attach token");
}

/* Without a right to the push, it does not matter whether it is there. */
static void refuse(struct http *h, http_id id) {
    if (!http_unknown_bearer(h, id))
        no_push(h, id);
}

static void on_late(int err, void *arg) {
    struct pending *p = arg;
    if (err != E_NOTFOUND) {
        on_stored(err, arg);
        return;
    }
    refuse(p->http, p->id);
    free(p);
}

bool api_is_phone(const struct calls *cs, const struct call_push *push, const char *bearer) {
    char hash[SECRET_HASH_BYTES];
    const struct device *dev = devices_get(cs->d.devices, push->device->call->tenant, push->device->id);
    bool by_token = push->token_hash[0] && secret_eq(secret_hash(hash, bearer), push->token_hash);
    return by_token || (dev && device_secret_ok(dev, bearer));
}

static struct call_push *find_push(const struct call *c, const char *id) {
    struct call_push *p = NULL;
    for (unsigned i = 0; c && i < c->device_count && !p; i++)
        p = call_push_by_id(&c->devices[i], id);
    return p;
}

static void take(struct calls *cs, const struct http_request *rq, const json_t *body) {
    const struct receipt_owner owner = {.bearer = rq->bearer};
    struct receipt r;
    struct field_error fe;
    if (receipt_read(&r, body, &fe) != 0) {
        http_problem(cs->http, rq->id, 422, "bad-field", fe.field, "%s", fe.text.s);
        return;
    }
    const struct call *c = calls_find(cs, NULL, r.call);
    struct call_push *push = find_push(c, r.push);
    if (c && (!push || !api_is_phone(cs, push, rq->bearer))) {
        if (api_phone_of_call(cs, c, rq->bearer)) /* no stranger */
            no_push(cs->http, rq->id);
        else
            refuse(cs->http, rq->id);
        return;
    }
    struct pending *p = calloc(1, sizeof *p);
    if (!p) {
        http_problem(cs->http, rq->id, 503, "memory", NULL, "out of memory");
        return;
    }
    *p = (struct pending){cs->http, rq->id};
    if (!c) {
        calls_late_receipt(cs, &r, &owner, on_late, p);
        return;
    }
    struct call_device *d = push->device;
    call_receipt(d->call, d->index, &r);
    call_store_push(d->call, push, on_stored, p);
}

void api_receipt_post(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    json_t *body = http_json_body(cs->http, r);
    if (body)
        take(cs, r, body);
    json_decref(body);
}
