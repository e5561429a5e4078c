/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/api_webhooks.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 50
#define LIMIT_MAX     200

/* A request that waits for the store. */
struct waiting {
    struct api_webhooks *api;
    http_id id;
    unsigned limit;
    bool retry;
    uint64_t letter;
    char *webhook;
};

static void waiting_free(struct waiting *k) {
    free(k->webhook);
    free(k);
}

static struct waiting *waiting_new(struct api_webhooks *a, const struct http_request *r) {
    struct waiting *k = calloc(1, sizeof *k);
    if (k)
        *k = (struct waiting){.api = a, .id = r->id};
    else
        http_problem(a->http, r->id, 503, "memory", NULL, "out of memory");
    return k;
}

/* Returns whether there was an error: then it was replied to. */
static bool refused(struct waiting *k, int err) {
    if (err != 0) {
        http_problem(k->api->http, k->id, 503, "store", NULL, "the database refused: %s", err_str(err));
        waiting_free(k);
    }
    return err != 0;
}

/* GET /v1/webhooks/dead-letters */

static json_t *letter_json(const struct delivery_row *d) {
    char at[CLOCK_RFC3339_BYTES];
    struct buf text = {0};
    event_write(&text, &d->event);
    json_t *event = text.p ? json_loadb(text.p, text.len, 0, NULL) : NULL;
    buf_free(&text);
    return json_pack("{s:I,s:s,s:i,s:o,s:s,s:s,s:o}", "id", (json_int_t)d->id, "webhook", d->webhook, "attempts",
                     (int)d->attempts, "status", d->status ? json_integer(d->status) : json_null(), "detail", d->detail,
                     "last_attempt_at", clock_rfc3339(at, d->tried_ms), "event", event ? event : json_null());
}

static void on_letters(int err, const struct delivery_row *rows, size_t count, void *arg) {
    struct waiting *k = arg;
    char cursor[24];
    if (refused(k, err))
        return;
    size_t shown = count < k->limit ? count : k->limit; /* one more was asked for, to see whether there is a page */
    json_t *list = json_array(), *next = json_null();
    for (size_t i = 0; i < shown; i++)
        json_array_append_new(list, letter_json(&rows[i]));
    if (count > shown) {
        snprintf(cursor, sizeof cursor, "%" PRIu64, rows[shown - 1].id);
        next = json_string(cursor);
    }
    http_reply_json(k->api->http, k->id, 200, json_pack("{s:o,s:o}", "dead_letters", list, "next_cursor", next), NULL,
                    0);
    waiting_free(k);
}

static void list_letters(const struct http_request *r, void *arg) {
    struct api_webhooks *a = arg;
    uint64_t limit = LIMIT_DEFAULT, before = 0;
    const char *bad = !http_query_number(r, "cursor", UINT64_MAX, &before) ? "cursor"
                      : !http_query_number(r, "limit", LIMIT_MAX, &limit)  ? "limit"
                                                                           : NULL;
    if (bad) {
        http_problem(a->http, r->id, 400, "bad-field", bad, "%s is not usable: limit is 1 to %d, cursor as it came",
                     bad, LIMIT_MAX);
        return;
    }
    struct waiting *k = waiting_new(a, r);
    if (!k)
        return;
    k->limit = (unsigned)limit;
    int err = store_dead_list(a->store, r->tenant, before, 0, k->limit + 1, on_letters, k);
    if (err != 0)
        refused(k, err);
}

/* One of them */

static void on_changed(int err, void *arg) {
    struct waiting *k = arg;
    if (refused(k, err))
        return;
    if (k->retry)
        webhooks_revived(k->api->webhooks, k->webhook);
    http_reply(k->api->http, k->id, k->retry ? 202 : 204, NULL, NULL, 0, NULL, 0);
    waiting_free(k);
}

static void on_letter(int err, const struct delivery_row *rows, size_t count, void *arg) {
    struct waiting *k = arg;
    struct api_webhooks *a = k->api;
    if (refused(k, err))
        return;
    if (count == 0) {
        http_problem(a->http, k->id, 404, "not-found", NULL, "no dead letter of that id is known");
        waiting_free(k);
        return;
    }
    if (k->retry && !webhooks_has(a->webhooks, rows[0].webhook)) {
        http_problem(a->http, k->id, 409, "no-webhook", NULL, "the configuration has no webhook \"%s\" any more",
                     rows[0].webhook);
        waiting_free(k);
        return;
    }
    k->webhook = strdup(rows[0].webhook);
    if (!k->webhook)
        err = E_NOMEM;
    else if (k->retry)
        err = store_dead_retry(a->store, k->letter, clock_wall_ms(), on_changed, k);
    else
        err = store_dead_delete(a->store, k->letter, on_changed, k);
    if (err != 0)
        refused(k, err);
}

static void change(const struct http_request *r, struct api_webhooks *a, bool retry) {
    uint64_t id;
    if (!decimal_parse(&id, r->params[0]) || id == 0) {
        http_problem(a->http, r->id, 404, "not-found", NULL, "no dead letter of that id is known");
        return;
    }
    struct waiting *k = waiting_new(a, r);
    if (!k)
        return;
    k->retry = retry;
    k->letter = id;
    int err = store_dead_list(a->store, r->tenant, 0, id, 1, on_letter, k);
    if (err != 0)
        refused(k, err);
}

static void retry_letter(const struct http_request *r, void *arg) {
    change(r, arg, true);
}

static void delete_letter(const struct http_request *r, void *arg) {
    change(r, arg, false);
}

const struct http_route api_webhooks_routes[] = {
    {"GET", "/v1/webhooks/dead-letters", HTTP_AUTH_TOKEN, CONFIG_SCOPE_ADMIN, list_letters},
    {"DELETE", "/v1/webhooks/dead-letters/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_ADMIN, delete_letter},
    {"POST", "/v1/webhooks/dead-letters/{id}/retry", HTTP_AUTH_TOKEN, CONFIG_SCOPE_ADMIN, retry_letter},
};
const size_t api_webhooks_route_count = sizeof api_webhooks_routes / sizeof *api_webhooks_routes;
