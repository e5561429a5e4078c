/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/calls_priv.h"
#include "gateway/page.h"
#include "gateway/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT    50
#define LIMIT_MAX        200
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

/* The call's document, and the answer in it: an SDP is most of the text, and jansson writes it character by character.
 */
static char *json_body(const struct call *c, const char *answer) {
    json_t *o = call_json(c);
    char *text = json_dumps(o, JSON_COMPACT);
    struct buf out = {0};
    if (text) {
        buf_reserve(&out, 2 * (strlen(text) + strlen(answer ? answer : "")));
        buf_add(&out, text, strlen(text) - 1); /* without its closing brace */
        buf_adds(&out, ",\"answer\":");
        if (answer && utf8_valid(answer, strlen(answer)))
            text_json_string(&out, answer);
        else
            buf_adds(&out, "null");
        buf_adds(&out, "}");
    }
    json_decref(o);
    free(text);
    return text ? buf_take(&out) : NULL;
}

static void reply_created(struct calls *cs, http_id id, const char *call, const char *response) {
    char location[LOCATION_BYTES];
    snprintf(location, sizeof location, "/v1/calls/%s", call);
    struct http_header header = {"location", location};
    http_reply(cs->http, id, 201, "application/json", response, strlen(response), &header, 1);
}

static const struct call_created as_json = {json_body, reply_created};

static void post_call(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    struct call_request rq = {
        .handle = "", .name = "", .tenant = r->tenant, .received_us = r->received_us, .unreadable_status = 422};
    json_t *body = http_json_body(cs->http, r);
    if (!body)
        return;
    if (read_request(cs, r, body, &rq) == 0)
        api_create(cs, r, &rq, r->body, &as_json);
    json_decref(body);
}

/* Reading */

void api_no_call(struct calls *cs, http_id id) {
    http_problem(cs->http, id, 404, "not-found", NULL,
                 "no call of that id is known (or it is older than the retention)");
}

/* A request that waits for the store. */
struct reading {
    struct calls *calls;
    http_id id;
    unsigned limit;
    int status; /* of a success, where it has no body */
    void (*reply)(struct calls *cs, http_id id, const struct call_row *row);
};

static void on_row(int err, const struct call_row *rows, size_t count, void *arg) {
    struct reading *k = arg;
    if (err != 0)
        http_problem(k->calls->http, k->id, 503, "store", NULL, "the database cannot be read: %s", err_str(err));
    else if (count == 0)
        api_no_call(k->calls, k->id);
    else
        k->reply(k->calls, k->id, &rows[0]);
    free(k);
}

static void read_from_store(struct calls *cs, const struct http_request *r,
                            void (*reply)(struct calls *cs, http_id id, const struct call_row *row)) {
    char id[UUID_BYTES];
    if (!uuid_valid(r->params[0])) {
        api_no_call(cs, r->id);
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
    http_reply_tagged(cs->http, id, json_loads(row->doc, 0, NULL));
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
        http_reply_tagged(c->owner->http, c->stats_waiting[i], call_json(c));
    c->stats_waiting_count = 0;
}

static void get_call(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    if (!r->scopes) {
        api_call_for_phone(cs, r);
        return;
    }
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
        http_reply_tagged(cs->http, r->id, call_json(c));
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
        http_reply(k->calls->http, k->id, k->status, NULL, NULL, 0, NULL, 0);
    else
        http_problem(k->calls->http, k->id, 503, "store", NULL, "the end of the call could not be stored: %s",
                     store_err_str(err));
    free(k);
}

void api_end_call(struct call *c, http_id id, int status) {
    struct calls *cs = c->owner;
    if (c->fsm.state != CALL_ENDED)
        call_step(c, CALL_IN_DELETE, 0);
    if (call_is_stored(c)) {
        http_reply(cs->http, id, status, NULL, NULL, 0, NULL, 0);
        return;
    }
    struct reading *k = calloc(1, sizeof *k);
    if (!k) {
        http_problem(cs->http, id, 503, "memory", NULL, "out of memory");
        return;
    }
    *k = (struct reading){.calls = cs, .id = id, .status = status};
    call_store(c, NULL, on_end_stored, k);
}

static void delete_call(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    struct call *c = calls_find(cs, r->tenant, r->params[0]);
    if (c)
        api_end_call(c, r->id, 204);
    else
        read_from_store(cs, r, reply_gone);
}

/* GET /v1/calls: newest first; the cursor is the last one's time and id. */

static bool known_state(const char *s) {
    for (int i = 0; i < CALL_STATES; i++)
        if (strcmp(s, call_state_name((enum call_state)i)) == 0)
            return true;
    return *s == 0;
}

static void on_rows(int err, const struct call_row *rows, size_t count, void *arg) {
    struct reading *k = arg;
    char cursor[PAGE_CURSOR_BYTES];
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
    if (count > shown)
        next = json_string(page_cursor_write(cursor, rows[shown - 1].created_ms, rows[shown - 1].id));
    http_reply_json(k->calls->http, k->id, 200, json_pack("{s:o,s:o}", "calls", list, "next_cursor", next), NULL, 0);
    free(k);
}

static void list_calls(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    char state[16], callee[DEVICE_ID_BYTES + 1], text[PAGE_CURSOR_BYTES];
    struct page_cursor cursor;
    uint64_t limit = LIMIT_DEFAULT;
    struct call_query q = {.tenant = r->tenant, .state = state, .callee = callee};
    http_query_get(r, "state", state, sizeof state);
    http_query_get(r, "callee", callee, sizeof callee);
    http_query_get(r, "cursor", text, sizeof text);
    const char *field = !known_state(state)                                 ? "state"
                        : strlen(callee) >= DEVICE_ID_BYTES                 ? "callee"
                        : !http_query_number(r, "limit", LIMIT_MAX, &limit) ? "limit"
                        : !page_cursor_read(&cursor, text)                  ? "cursor"
                                                                            : NULL;
    if (field) {
        http_problem(
            cs->http, r->id, 400, "bad-field", field,
            "%s is not usable: state is ringing, answered, active or ended, callee has at most %d bytes, limit "
            "is 1 to %d, cursor as it came",
            field, DEVICE_ID_BYTES - 1, LIMIT_MAX);
        return;
    }
    q.before_ms = cursor.before_ms;
    q.before_id = cursor.before_id;
    q.limit = (unsigned)limit;
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
    {"GET", "/v1/calls/{id}", HTTP_AUTH_EITHER, CONFIG_SCOPE_CALLS, get_call},
    {"DELETE", "/v1/calls/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, delete_call},
    {"GET", "/v1/calls/{id}/timeline", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_timeline},
    {"POST", "/v1/receipts", HTTP_AUTH_BEARER, 0, api_receipt_post},
};
const size_t calls_route_count = sizeof calls_routes / sizeof *calls_routes;
