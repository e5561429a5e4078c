/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/calls/{id} by the phone that it rang: with its device secret, or the attach token of a push of this call. It
 * sees its own leg, and learns of other devices no more than that there was an answer. */
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* A phone that waits for the store. */
struct asking {
    struct calls *calls;
    http_id id;
    char bearer_hash[SECRET_HASH_BYTES], device[DEVICE_ID_BYTES];
};

/* Whether there is such a call is not for others to know. */
static void refuse(struct calls *cs, http_id id) {
    if (!http_unknown_bearer(cs->http, id))
        api_no_call(cs, id);
}

static bool is_of(const struct calls *cs, const struct call_device *d, const char *bearer) {
    const struct device *dev = devices_get(cs->d.devices, d->call->tenant, d->id);
    bool found = dev && device_secret_ok(dev, bearer); /* one that was called over its connection has no push */
    for (unsigned i = 0; i < d->push_count; i++)
        found = api_is_phone(cs, &d->pushes[i], bearer) || found;
    return found;
}

static void failed(struct asking *k, int err) {
    http_problem(k->calls->http, k->id, 503, "store", NULL, "the database cannot be read: %s", err_str(err));
    free(k);
}

static void on_call(int err, const struct call_row *rows, size_t count, void *arg) {
    struct asking *k = arg;
    json_t *doc = count ? json_loads(rows[0].doc, 0, NULL) : NULL;
    if (err != 0) {
        json_decref(doc);
        failed(k, err);
        return;
    }
    if (doc)
        http_reply_tagged(k->calls->http, k->id, call_json_for_phone(doc, k->device));
    else
        refuse(k->calls, k->id);
    free(k);
}

/* The store's rows tell whose the bearer is. */
static void on_pushes(int err, const struct push_row *rows, size_t count, void *arg) {
    struct asking *k = arg;
    const struct push_row *own = NULL;
    for (size_t i = 0; err == 0 && i < count; i++)
        if (calls_row_is_of(k->calls, &rows[i], k->bearer_hash))
            own = &rows[i];
    if (err != 0) {
        failed(k, err);
        return;
    }
    if (!own) {
        refuse(k->calls, k->id);
        free(k);
        return;
    }
    snprintf(k->device, sizeof k->device, "%s", own->device);
    err = store_call_get(k->calls->d.store, own->tenant, own->call, on_call, k);
    if (err != 0)
        failed(k, err);
}

static void ask_store(struct calls *cs, const struct http_request *r) {
    char id[UUID_BYTES];
    if (!uuid_valid(r->params[0])) {
        refuse(cs, r->id);
        return;
    }
    struct asking *k = calloc(1, sizeof *k);
    if (k) {
        *k = (struct asking){.calls = cs, .id = r->id};
        secret_hash(k->bearer_hash, r->bearer);
    }
    if (!k || store_push_of_call(cs->d.store, uuid_lower(id, r->params[0]), on_pushes, k) != 0) {
        free(k);
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
    }
}

const struct call_device *api_phone_of_call(const struct calls *cs, const struct call *c, const char *bearer) {
    const struct call_device *own = NULL;
    for (unsigned i = 0; i < c->device_count; i++)
        if (is_of(cs, &c->devices[i], bearer))
            own = &c->devices[i];
    return own;
}

void api_call_for_phone(struct calls *cs, const struct http_request *r) {
    const struct call *c = calls_find(cs, NULL, r->params[0]);
    const struct call_device *own = c ? api_phone_of_call(cs, c, r->bearer) : NULL;
    if (own)
        http_reply_tagged(cs->http, r->id, call_json_for_phone(call_json(c), own->id));
    else if (c)
        refuse(cs, r->id);
    else
        ask_store(cs, r);
}
