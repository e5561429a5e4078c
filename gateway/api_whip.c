/* SPDX-License-Identifier: Apache-2.0 */
/* WHIP (RFC 9725): a call whose caller brings its offer as application/sdp and speaks HTTP alone. */
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SDP_TYPE       "application/sdp"
#define FRAGMENT_TYPE  "application/trickle-ice-sdpfrag"
#define LOCATION_BYTES 64
#define ETAG_BYTES     24
#define CALLER_BYTES   1025 /* of a handle or name in the query; what a phone shows is cut further */

/* The entity tag is that of the ICE session (RFC 9725 4.3.1): strong, and never the same again in a call's life. */
static const char *etag_of(char out[static ETAG_BYTES], unsigned ice_session) {
    snprintf(out, ETAG_BYTES, "\"ice-%u\"", ice_session);
    return out;
}

/* POST on the endpoint */

static char *answer_body(const struct call *c, const char *answer) {
    (void)c;
    return strdup(answer);
}

static void reply_answer(struct calls *cs, http_id id, const char *call, const char *answer) {
    char location[LOCATION_BYTES], etag[ETAG_BYTES];
    snprintf(location, sizeof location, "/v1/whip/calls/%s", call);
    struct http_header headers[] = {{"location", location}, {"etag", etag_of(etag, 1)}};
    http_reply(cs->http, id, 201, SDP_TYPE, answer, strlen(answer), headers, 2);
}

static const struct call_created as_answer = {answer_body, reply_answer};

/* Returns 0, or it was replied to. */
static int check_offer(struct calls *cs, const struct http_request *r) {
    const char *callee = r->params[0];
    if (!http_content_is(r, SDP_TYPE)) {
        http_problem_media_type(cs->http, r->id, "accept-post", SDP_TYPE);
        return E_UNSUPPORTED;
    }
    if (strlen(callee) >= DEVICE_ID_BYTES || !utf8_valid(callee, strlen(callee))) {
        http_problem(cs->http, r->id, 400, "bad-field", "callee", "the callee in the path: 1 to %d bytes of UTF-8",
                     DEVICE_ID_BYTES - 1);
        return E_INVAL;
    }
    if (strlen(r->body) != r->body_len || !utf8_valid(r->body, r->body_len)) {
        http_problem(cs->http, r->id, 400, "bad-offer", "offer", "offer: bytes that are not UTF-8, or a NUL byte");
        return E_MALFORMED;
    }
    return 0;
}

static void post_whip(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    char handle[CALLER_BYTES], name[CALLER_BYTES];
    struct buf same = {0};
    if (check_offer(cs, r) != 0)
        return;
    if (http_query_get(r, "handle", handle, sizeof handle) != 0)
        snprintf(handle, sizeof handle, "%s", r->principal);
    http_query_get(r, "name", name, sizeof name);
    struct call_request rq = {.callee = r->params[0],
                              .handle = handle,
                              .name = name,
                              .offer = r->body,
                              .tenant = r->tenant,
                              .video_by_offer = true,
                              .unreadable_status = 400,
                              .received_us = r->received_us};
    buf_addf(&same, "whip\n%s\n%s\n%s\n%s", rq.callee, handle, name, rq.offer);
    if (same.oom)
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
    else
        api_create(cs, r, &rq, same.p, &as_answer);
    buf_free(&same);
}

/* The resource */

/* The call, while it lives; else it was replied to. */
static struct call *find_session(struct calls *cs, const struct http_request *r) {
    struct call *c = calls_find(cs, r->tenant, r->params[0]);
    if (c && c->offer && c->fsm.state != CALL_ENDED)
        return c;
    http_problem(cs->http, r->id, 404, "not-found", NULL, "no call of that id is live, with media");
    return NULL;
}

static void delete_whip(const struct http_request *r, void *arg) {
    struct call *c = find_session(arg, r);
    if (c)
        api_end_call(c, r->id, 200);
}

/* The form in quotes is how RFC 9725's example has it. */
static bool if_match_any(const struct http_request *r) {
    return strcmp(r->if_match, "*") == 0 || strcmp(r->if_match, "\"*\"") == 0;
}

/* Returns 0, or it was replied to. */
static int check_patch(const struct call *c, const struct http_request *r) {
    struct http *h = c->owner->http;
    char etag[ETAG_BYTES];
    if (!http_content_is(r, FRAGMENT_TYPE)) {
        http_problem_media_type(h, r->id, "accept-patch", FRAGMENT_TYPE);
        return E_UNSUPPORTED;
    }
    if (!sdp_has_ice(c->offer)) {
        http_problem(h, r->id, 422, "no-ice", NULL, "the caller's offer has no ICE: nothing to trickle, or to restart");
        return E_STATE;
    }
    if (!*r->if_match) {
        http_problem(h, r->id, 428, "precondition-required", "if-match",
                     "If-Match is needed: the ETag of the ICE session for candidates, * for an ICE restart");
        return E_STATE;
    }
    if (!if_match_any(r) && !http_etag_listed(r->if_match, etag_of(etag, c->ice_session), false)) {
        http_problem(h, r->id, 412, "precondition-failed", "if-match",
                     "this is not the present ICE session; its ETag came with the 201, or with the last restart's 200");
        return E_CONFLICT;
    }
    return 0;
}

static void reply_fragment(const struct call *c, http_id id, const struct buf *fragment) {
    char etag[ETAG_BYTES];
    struct http_header header = {"etag", etag_of(etag, c->ice_session)};
    http_reply(c->owner->http, id, 200, FRAGMENT_TYPE, fragment->p, fragment->len, &header, 1);
}

/* again: the same restart, whose answer got lost. */
static void restart(struct call *c, http_id id, const struct sdp *fragment, bool again) {
    struct err_text et = {""};
    struct buf out = {0};
    int err = again ? call_ice_fragment(c, &out, &et) : call_ice_restart(c, fragment, &out, &et);
    if (err == 0)
        reply_fragment(c, id, &out);
    else
        http_problem(c->owner->http, id, 503, "no-media", NULL, "%s", et.s);
    buf_wipe(&out);
}

/* RFC 8839 4.4.1.1: a restart changes both credentials. RFC 9725 4.3: one that names a session's tag belongs to it. */
static int check_credentials(const struct call *c, const struct sdp *fragment, bool any, struct err_text *et) {
    bool ufrag = strcmp(fragment->ice_ufrag, c->offer->ice_ufrag) == 0;
    bool pwd = secret_eq(fragment->ice_pwd, c->offer->ice_pwd);
    if (!fragment->ice_ufrag[0] || (ufrag && pwd))
        return 0;
    if (!any)
        return err_say(et, E_MALFORMED, "these are not this ICE session's credentials; a restart needs If-Match: *");
    if (ufrag || pwd)
        return err_say(et, E_MALFORMED, "an ICE restart changes both a=ice-ufrag and a=ice-pwd");
    return 0;
}

static void patch_whip(const struct http_request *r, void *arg) {
    struct calls *cs = arg;
    struct call *c = find_session(cs, r);
    struct err_text et = {""};
    struct sdp *fragment = NULL;
    if (!c || check_patch(c, r) != 0)
        return;
    bool any = if_match_any(r);
    int err = sdp_parse_fragment(&fragment, r->body, r->body_len, &et);
    if (err == 0)
        err = sdp_check_fragment(fragment, c->offer, &et);
    if (err == 0)
        err = check_credentials(c, fragment, any, &et);
    if (err == E_NOMEM) {
        http_problem(cs->http, r->id, 503, "memory", NULL, "out of memory");
    } else if (err != 0) {
        http_problem(cs->http, r->id, 400, "bad-fragment", NULL, "%s", et.s);
    } else if (fragment->ice_ufrag[0] && strcmp(fragment->ice_ufrag, c->offer->ice_ufrag) != 0) {
        restart(c, r->id, fragment, false);
    } else if (any && fragment->ice_ufrag[0] && c->ice_session > 1) {
        restart(c, r->id, fragment, true);
    } else { /* a lite agent answers checks from anywhere: it has no use for candidates */
        http_reply(cs->http, r->id, 204, NULL, NULL, 0, NULL, 0);
    }
    sdp_free(fragment);
}

/* RFC 9725 4.2, RFC 5789 3.1. */

static void reply_options(struct calls *cs, http_id id, const char *allow, struct http_header accept) {
    struct http_header headers[] = {{"allow", allow}, accept};
    http_reply(cs->http, id, 200, NULL, NULL, 0, headers, 2);
}

static void endpoint_options(const struct http_request *r, void *arg) {
    reply_options(arg, r->id, "POST, OPTIONS", (struct http_header){"accept-post", SDP_TYPE});
}

static void session_options(const struct http_request *r, void *arg) {
    reply_options(arg, r->id, "PATCH, DELETE, OPTIONS", (struct http_header){"accept-patch", FRAGMENT_TYPE});
}

const struct http_route whip_routes[] = {
    {"POST", "/v1/whip/{callee}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, post_whip},
    {"OPTIONS", "/v1/whip/{callee}", HTTP_AUTH_NONE, 0, endpoint_options},
    {"PATCH", "/v1/whip/calls/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, patch_whip},
    {"DELETE", "/v1/whip/calls/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, delete_whip},
    {"OPTIONS", "/v1/whip/calls/{id}", HTTP_AUTH_NONE, 0, session_options},
};
const size_t whip_route_count = sizeof whip_routes / sizeof *whip_routes;
