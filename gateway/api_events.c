/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/api_events.h"

#include "base/bytes.h"
#include "base/secret.h"
#include "gateway/event_streams.h"

#include <string.h>

#define TYPES_BYTES 512
#define EVERY_TYPE  ((1U << EVENT_TYPES) - 1)

/* "call.*,device.health" into bits; 0 when one matches nothing, which is then in *bad. */
static unsigned read_types(char *text, const char **bad) {
    unsigned bits = 0;
    char *save = NULL;
    *bad = text;
    for (char *pattern = strtok_r(text, ",", &save); pattern; pattern = strtok_r(NULL, ",", &save)) {
        unsigned matched = event_types_matching(pattern);
        *bad = pattern;
        if (!matched)
            return 0;
        bits |= matched;
    }
    return bits;
}

/* Returns the types that the listener wants and may have, or 0: it was replied to. */
static unsigned choose_types(const struct api_events *a, const struct http_request *r) {
    char text[TYPES_BYTES];
    const char *bad = "";
    unsigned wanted = EVERY_TYPE, allowed = event_types_of_scopes(r->scopes);
    if (http_query_get(r, "types", text, sizeof text) == 0 && (wanted = read_types(text, &bad)) == 0) {
        http_problem(a->http, r->id, 400, "bad-field", "types",
                     "types: no event type matches \"%.64s\"; patterns like call.*,device.health are expected", bad);
        return 0;
    }
    if (!(wanted & allowed))
        http_problem(
            a->http, r->id, 403, "forbidden", "types",
            "the token \"%s\" may not hear of these: call.*, push.* and receipt need the scope calls, device.* "
            "needs devices",
            r->principal);
    return wanted & allowed;
}

static bool read_last_id(const struct api_events *a, const struct http_request *r, uint64_t *id) {
    bool number = decimal_parse(id, r->last_event_id);
    if (!r->last_event_id[0] || (number && *id <= events_last_id(a->events)))
        return true;
    if (number)
        http_problem(a->http, r->id, 400, "bad-field", "last-event-id",
                     "Last-Event-ID: there is no event %.20s yet; it is of another database", r->last_event_id);
    else
        http_problem(a->http, r->id, 400, "bad-field", "last-event-id",
                     "Last-Event-ID: the id of an event of this stream is expected, a number");
    return false;
}

static void get_events(const struct http_request *r, void *arg) {
    const struct api_events *a = arg;
    char hash[SECRET_HASH_BYTES];
    struct event_listener l = {.tenant = r->tenant,
                               .token_hash = secret_hash(hash, r->bearer),
                               .principal = r->principal,
                               .types = choose_types(a, r),
                               .resumes = r->last_event_id[0] != 0};
    if (!l.types || !read_last_id(a, r, &l.after))
        return;
    int err = event_streams_open(events_streams(a->events), r->id, &l);
    if (err == E_FULL)
        http_problem(a->http, r->id, 429, "too-many-listeners", "authorization",
                     "the token \"%s\" has %d streams open already; close one first", r->principal,
                     EVENT_STREAMS_TOKEN_MAX);
    else if (err == E_CLOSED)
        http_problem(a->http, r->id, 503, "draining", NULL, "this gateway goes down; ask again later");
    else if (err != 0)
        http_problem(a->http, r->id, 503, "memory", NULL, "out of memory");
}

const struct http_route api_events_routes[] = {
    {"GET", "/v1/events", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS | CONFIG_SCOPE_DEVICES, get_events},
};
const size_t api_events_route_count = sizeof api_events_routes / sizeof *api_events_routes;
