/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/calls_priv.h"
#include "gateway/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT    50
#define LIMIT_MAX        200
#define KEY_MAX_BYTES    255
#define CURSOR_BYTES     80
#define LOCATION_BYTES   64
#define CALLER_MAX_BYTES 1024 /* of a name or handle in a request; what a phone shows is cut further */

/* POST /v1/calls */

static const struct field call_fields[] = {
    {"callee", FIELD_TEXT, offsetof(struct call_request, callee), true, DEVICE_ID_BYTES - 1, NULL},
    {"caller", FIELD_OBJECT, offsetof(struct call_request, caller), false, 0, NULL},
    {"offer", FIELD_TEXT, offsetof(struct call_request, offer), false, SDP_MAX_BYTES, NULL},
    {"video", FIELD_BOOL, offsetof(struct call_request, video), false, 0, NULL},
    {"ring_timeout_s", FIELD_NUMBER, offsetof(struct call_request, ring_timeout_s), false, CONFIG_RING_TIMEOUT_MAX_S,
     NULL},
    {"tenant", FIELD_TEXT, offsetof(struct call_request, tenant), false, DEVICE_TENANT_BYTES - 1, NULL},
    {"data", FIELD_OBJECT, offsetof(struct call_request, data), false, 0, NULL},
};
static const struct field caller_fields[] = {
    {"handle", FIELD_TEXT, offsetof(struct call_request, handle), false, CALLER_MAX_BYTES, NULL},
    {"name", FIELD_TEXT, offsetof(struct call_request, name), false, CALLER_MAX_BYTES, NULL},
};

/* A new call between its creation and its commit. */
struct creating {
    struct calls *calls;
    slot_id call;
    http_id id;
    char *response;
    char *key; /* of the Idempotency-Key header; NULL: none */
    char tenant[DEVICE_TENANT_BYTES];
};

static void reply_created(struct calls *cs, http_id id, const char *call, const char *response) {
    char location[LOCATION_BYTES];
    snprintf(location, sizeof location, "/v1/calls/%s", call);
    struct http_header header = {"location", location};
    http_reply(cs->http, id, 201, "application/json", response, strlen(response), &header, 1);
}

static void reply_store_error(struct calls *cs, http_id id, int err) {
    http_problem(cs->http, id, 503, "store", NULL, "the call could not be stored: %s", err_str(err));
}

/* The same request came again while the first one was on its way. */
static void answer_waiting(struct calls *cs, struct idempotency *i, int err) {
    for (size_t k = 0; k < i->waiting_count; k++) {
        if (err == 0)
            reply_created(cs, i->waiting[k], i->call, i->response);
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
        reply_created(cs, k->id, c->id, k->response);
    } else {
        reply_store_error(cs, k->id, err ? err : E_NOTFOUND);
    }
    if (i) {
        i->response = err == 0 ? k->response : NULL;
        k->response = err == 0 ? NULL : k->response;
        answer_waiting(cs, i, err);
    }
    if (err != 0 && c)
        calls_remove(c);
    free(k->response);
    free(k->key);
    free(k);
}

static int read_request(struct calls *cs, const struct http_request *r, const json_t *body, struct call_request *rq) {
    struct field_error fe;
    int err = fields_read(rq, body, call_fields, sizeof call_fields / sizeof *call_fields, "", &fe);
    if (err == 0 && rq->caller)
        err = fields_read(rq, rq->caller, caller_fields, sizeof caller_fields / sizeof *caller_fields, "caller.", &fe);
    if (err != 0) {
        http_problem(cs->http, r->id, 422, "bad-field", fe.field, "%s", fe.text.s);
        return err;
    }
    if (strcmp(rq->tenant, r->tenant) != 0) {
        http_problem(cs->http, r->id, 403, "forbidden", "tenant", "the token is for the tenant \"%s\"", r->tenant);
        return E_DENIED;
    }
    return 0;
}

/* Returns 0 when the request is to be carried out, with *ip when it has a key; else it was replied to. */
static int take_key(struct calls *cs, const struct http_request *r, struct idempotency **ip) {
    char hash[SECRET_HASH_BYTES];
    if (!*r->idempotency_key)
        return 0;
    if (strlen(r->idempotency_key) > KEY_MAX_BYTES) {
        http_problem(cs->http, r->id, 400, "bad-field", "idempotency-key", "Idempotency-Key: at most %d bytes",
                     KEY_MAX_BYTES);
        return E_INVAL;
    }
    secret_hash(hash, r->body);
    struct idempotency *i = idempotency_find(cs, r->tenant, r->idempotency_key);
    if (i && strcmp(i->body_hash, hash) != 0)
        http_problem(cs->http, r->id, 409, "idempotency-conflict", "idempotency-key",
                     "this key was used with another body; a new call needs a new key");
    else if (i && i->response)
        reply_created(cs, r->id, i->call, i->response);
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

static void store_new(struct calls *cs, const struct http_request *r, struct call *c, const char *answer,
                      struct idempotency *i) {
    json_t *o = call_json_created(c, answer);
    struct creating *k = calloc(1, sizeof *k);
    char *response = json_dumps(o, JSON_COMPACT), *key = i ? strdup(r->idempotency_key) : NULL;
    json_decref(o);
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
    *k = (struct creating){cs, c->slot, r->id, response, key, ""};
    snprintf(k->tenant, sizeof k->tenant, "%s", r->tenant);
    struct idempotency_row row = {.tenant = r->tenant, .key = key, .call = c->id, .response = response};
    if (i) {
        snprintf(i->call, sizeof i->call, "%s", c->id);
        row.body_hash = i->body_hash;
        row.created_ms = i->created_ms;
    }
    call_store(c, i ? &row : NULL, on_stored, k);
}

static void post_call(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    struct call_request rq = {.handle = "", .name = "", .tenant = r->tenant, .received_us = r->received_us};
    struct call_refusal no = {0};
    struct idempotency *i = NULL;
    struct buf answer = {0};
    struct call *c = NULL;
    json_t *body = http_json_body(cs->http, r);
    if (!body)
        return;
    if (read_request(cs, r, body, &rq) == 0 && take_key(cs, r, &i) == 0) {
        if (call_create(&c, cs, &rq, &answer, &no) == 0) {
            store_new(cs, r, c, answer.p, i);
        } else {
            if (i)
                idempotency_remove(cs, i);
            http_problem(cs->http, r->id, no.status, no.type, no.field, "%s", no.detail.s);
        }
    }
    buf_wipe(&answer);
    json_decref(body);
}

/* Reading */

static void no_call(struct calls *cs, http_id id) {
    http_problem(cs->http, id, 404, "not-found", NULL,
                 "no call of that id is known (or it is older than the retention)");
}

/* A request that waits for the store. */
struct reading {
    struct calls *calls;
    http_id id;
    unsigned limit;
    void (*reply)(struct calls *cs, http_id id, const struct call_row *row);
};

static void on_row(int err, const struct call_row *rows, size_t count, void *arg) {
    struct reading *k = arg;
    if (err != 0)
        http_problem(k->calls->http, k->id, 503, "store", NULL, "the database cannot be read: %s", err_str(err));
    else if (count == 0)
        no_call(k->calls, k->id);
    else
        k->reply(k->calls, k->id, &rows[0]);
    free(k);
}

static void read_from_store(struct calls *cs, const struct http_request *r,
                            void (*reply)(struct calls *cs, http_id id, const struct call_row *row)) {
    char id[UUID_BYTES];
    if (!uuid_valid(r->params[0])) {
        no_call(cs, r->id);
        return;
    }
    struct reading *k = calloc(1, sizeof *k);
    if (k)
        *k = (struct reading){.calls = cs, .id = r->id, .reply = reply};
    if (!k || store_call_get(cs->d.store, r->tenant, uuid_lower(id, r->params[0]), on_row, k) != 0) {
        free(k);
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
    }
}

static void reply_doc(struct calls *cs, http_id id, const struct call_row *row) {
    http_reply(cs->http, id, 200, "application/json", row->doc, strlen(row->doc), NULL, 0);
}

static void reply_timeline(struct calls *cs, http_id id, const struct call_row *row) {
    http_reply(cs->http, id, 200, "application/json", row->timeline, strlen(row->timeline), NULL, 0);
}

static void reply_gone(struct calls *cs, http_id id, const struct call_row *row) {
    (void)row;
    http_reply(cs->http, id, 204, NULL, NULL, 0, NULL, 0);
}

void api_calls_stats_known(struct call *c) {
    for (unsigned i = 0; i < c->stats_waiting_count; i++)
        http_reply_json(c->owner->http, c->stats_waiting[i], 200, call_json(c), NULL, 0);
    c->stats_waiting_count = 0;
}

static void get_call(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    struct call *c = calls_find(cs, r->tenant, r->params[0]);
    if (!c) {
        read_from_store(cs, r, reply_doc);
        return;
    }
    /* The packet counters are with the worker. */
    bool ask = c->media && c->stats_waiting_count < CALL_STATS_WAITING && !c->close_wanted &&
               media_stats(cs->d.media, c->media) == 0;
    if (ask)
        c->stats_waiting[c->stats_waiting_count++] = r->id;
    else
        http_reply_json(cs->http, r->id, 200, call_json(c), NULL, 0);
}

static void get_timeline(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    struct call *c = calls_find(cs, r->tenant, r->params[0]);
    if (c)
        http_reply_json(cs->http, r->id, 200, json_incref(c->timeline), NULL, 0);
    else
        read_from_store(cs, r, reply_timeline);
}

static void on_end_stored(int err, void *arg) {
    struct reading *k = arg;
    if (err == 0)
        http_reply(k->calls->http, k->id, 204, NULL, NULL, 0, NULL, 0);
    else
        http_problem(k->calls->http, k->id, 503, "store", NULL, "the end of the call could not be stored: %s",
                     err_str(err));
    free(k);
}

static void delete_call(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    struct call *c = calls_find(cs, r->tenant, r->params[0]);
    if (!c) {
        read_from_store(cs, r, reply_gone);
        return;
    }
    if (c->fsm.state != CALL_ENDED)
        call_step(c, CALL_IN_DELETE, 0);
    if (call_is_stored(c)) {
        http_reply(cs->http, r->id, 204, NULL, NULL, 0, NULL, 0);
        return;
    }
    struct reading *k = calloc(1, sizeof *k);
    if (!k) {
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
        return;
    }
    *k = (struct reading){.calls = cs, .id = r->id};
    call_store(c, NULL, on_end_stored, k);
}

/* GET /v1/calls: newest first; the cursor is the last one's time and id. */

static bool parse_cursor(char *text, struct call_query *q) {
    char *dot = strchr(text, '.'), *end;
    if (!*text)
        return true;
    if (!dot || !uuid_valid(dot + 1))
        return false;
    *dot = 0;
    q->before_ms = strtoull(text, &end, 10);
    q->before_id = dot + 1;
    return *end == 0 && q->before_ms > 0;
}

static bool known_state(const char *s) {
    for (int i = 0; i < CALL_STATES; i++)
        if (strcmp(s, call_state_name((enum call_state)i)) == 0)
            return true;
    return *s == 0;
}

static void on_rows(int err, const struct call_row *rows, size_t count, void *arg) {
    struct reading *k = arg;
    char cursor[CURSOR_BYTES];
    json_t *list = json_array(), *next = json_null();
    if (err != 0) {
        http_problem(k->calls->http, k->id, 503, "store", NULL, "the database cannot be read: %s", err_str(err));
        json_decref(list);
        free(k);
        return;
    }
    size_t shown =
        count < k->limit ? count : k->limit; /* one more was asked for, to see whether there is another page */
    for (size_t i = 0; i < shown; i++) {
        const struct call *c = calls_find(k->calls, NULL, rows[i].id);
        json_array_append_new(list, c ? call_json(c) : json_loads(rows[i].doc, 0, NULL));
    }
    if (count > shown) {
        snprintf(cursor, sizeof cursor, "%" PRIu64 ".%s", rows[shown - 1].created_ms, rows[shown - 1].id);
        next = json_string(cursor);
    }
    http_reply_json(k->calls->http, k->id, 200, json_pack("{s:o,s:o}", "calls", list, "next_cursor", next), NULL, 0);
    free(k);
}

static void list_calls(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    char state[16], callee[DEVICE_ID_BYTES], limit[8], cursor[CURSOR_BYTES];
    struct call_query q = {
        .tenant = r->tenant, .state = state, .callee = callee, .before_id = "", .limit = LIMIT_DEFAULT};
    http_query_get(r, "state", state, sizeof state);
    http_query_get(r, "callee", callee, sizeof callee);
    http_query_get(r, "cursor", cursor, sizeof cursor);
    if (http_query_get(r, "limit", limit, sizeof limit) == 0)
        q.limit = limit[strspn(limit, "0123456789")] ? 0 : (unsigned)strtoul(limit, NULL, 10);
    const char *field = !known_state(state)                  ? "state"
                        : q.limit < 1 || q.limit > LIMIT_MAX ? "limit"
                        : !parse_cursor(cursor, &q)          ? "cursor"
                                                             : NULL;
    if (field) {
        http_problem(cs->http, r->id, 400, "bad-field", field,
                     "%s is not usable: state is ringing, answered, active or ended, limit 1 to %d, cursor as it came",
                     field, LIMIT_MAX);
        return;
    }
    struct reading *k = calloc(1, sizeof *k);
    if (k)
        *k = (struct reading){.calls = cs, .id = r->id, .limit = q.limit};
    q.limit++;
    if (!k || store_call_list(cs->d.store, &q, on_rows, k) != 0) {
        free(k);
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
    }
}

const struct http_route calls_routes[] = {
    {"POST", "/v1/calls", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, post_call},
    {"GET", "/v1/calls", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, list_calls},
    {"GET", "/v1/calls/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_call},
    {"DELETE", "/v1/calls/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, delete_call},
    {"GET", "/v1/calls/{id}/timeline", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_timeline},
    {"POST", "/v1/receipts", HTTP_AUTH_BEARER, 0, api_receipt_post},
};
const size_t calls_route_count = sizeof calls_routes / sizeof *calls_routes;
