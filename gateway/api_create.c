/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX_BYTES 255

/* A new call between its creation and its commit. */
struct creating {
    struct calls *calls;
    const struct call_created *how;
    slot_id call;
    http_id id;
    char *response;
    char *key; /* of the Idempotency-Key header; NULL: none */
    char tenant[DEVICE_TENANT_BYTES];
};

static void reply_store_error(struct calls *cs, http_id id, int err) {
    http_problem(cs->http, id, 503, "store", NULL, "the call could not be stored: %s", store_err_str(err));
}

/* The same request came again while the first one was on its way. */
static void answer_waiting(struct calls *cs, struct idempotency *i, const struct call_created *how, int err) {
    for (size_t k = 0; k < i->waiting_count; k++) {
        if (err == 0)
            how->reply(cs, i->waiting[k], i->call, i->response);
        else
            reply_store_error(cs, i->waiting[k], err);
    }
    i->waiting_count = 0;
    if (err != 0)
        idempotency_remove(cs, i);
}

static void on_stored(int err, void *arg) {
    struct creating *k = arg;
    struct calls *cs = k->calls;
    struct call *c = calls_get(cs, k->call);
    struct idempotency *i = k->key ? idempotency_find(cs, k->tenant, k->key) : NULL;
    if (err == 0 && c) {
        call_start(c);
        k->how->reply(cs, k->id, c->id, k->response);
    } else {
        reply_store_error(cs, k->id, err ? err : E_NOTFOUND);
    }
    if (i) {
        i->response = err == 0 ? k->response : NULL;
        k->response = err == 0 ? NULL : k->response;
        answer_waiting(cs, i, k->how, err);
    }
    if (err != 0 && c)
        calls_remove(c);
    free(k->response);
    free(k->key);
    free(k);
}

/* Returns 0 when the request is to be carried out, with *ip when it has a key; else it was replied to. */
static int take_key(struct calls *cs, const struct http_request *r, const char *same, const struct call_created *how,
                    struct idempotency **ip) {
    char hash[SECRET_HASH_BYTES];
    if (!*r->idempotency_key)
        return 0;
    if (strlen(r->idempotency_key) > KEY_MAX_BYTES) {
        http_problem(cs->http, r->id, 400, "bad-field", "idempotency-key", "Idempotency-Key: at most %d bytes",
                     KEY_MAX_BYTES);
        return E_INVAL;
    }
    secret_hash(hash, same);
    struct idempotency *i = idempotency_find(cs, r->tenant, r->idempotency_key);
    if (i && strcmp(i->body_hash, hash) != 0)
        http_problem(cs->http, r->id, 409, "idempotency-conflict", "idempotency-key",
                     "this key was used with another request; a new call needs a new key");
    else if (i && i->response)
        how->reply(cs, r->id, i->call, i->response);
    else if (i && idempotency_wait(i, r->id) != 0)
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
    if (i)
        return E_CONFLICT;
    *ip = idempotency_add(cs, r->tenant, r->idempotency_key);
    if (!*ip) {
        http_problem(cs->http, r->id, 503, "full", NULL, "too many idempotency keys are remembered; try again later");
        return E_FULL;
    }
    memcpy((*ip)->body_hash, hash, sizeof hash);
    return 0;
}

/* response is stolen. */
static void store_new(struct call *c, const struct http_request *r, char *response, const struct call_created *how,
                      struct idempotency *i) {
    struct calls *cs = c->owner;
    struct creating *k = calloc(1, sizeof *k);
    char *key = i ? strdup(r->idempotency_key) : NULL;
    if (!k || !response || (i && !key)) {
        free(k);
        free(key);
        free(response);
        calls_remove(c);
        if (i)
            idempotency_remove(cs, i);
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
        return;
    }
    *k = (struct creating){cs, how, c->slot, r->id, response, key, ""};
    snprintf(k->tenant, sizeof k->tenant, "%s", r->tenant);
    struct idempotency_row row = {.tenant = r->tenant, .key = key, .call = c->id, .response = response};
    if (i) {
        snprintf(i->call, sizeof i->call, "%s", c->id);
        row.body_hash = i->body_hash;
        row.created_ms = i->created_ms;
    }
    events_add(cs->d.events, EVENT_CALL_RINGING, c->tenant,
               json_pack("{s:s,s:s,s:s,s:{s:s,s:s},s:b,s:i}", "call", c->id, "callee", c->callee, "state",
                         call_state_name(c->fsm.state), "caller", "handle", c->handle, "name", c->name, "video",
                         c->video, "devices", (int)c->device_count));
    call_pushes_plan(c);
    call_store(c, i ? &row : NULL, on_stored, k);
}

void api_create(struct calls *cs, const struct http_request *r, const struct call_request *rq, const char *same,
                const struct call_created *how) {
    struct call_refusal no = {0};
    struct idempotency *i = NULL;
    struct buf answer = {0};
    struct call *c = NULL;
    if (take_key(cs, r, same, how, &i) != 0)
        return;
    if (call_create(&c, cs, rq, &answer, &no) == 0) {
        store_new(c, r, how->body(c, answer.p), how, i);
    } else {
        if (i)
            idempotency_remove(cs, i);
        http_problem(cs->http, r->id, no.status, no.type, no.field, "%s", no.detail.s);
    }
    buf_wipe(&answer);
}
