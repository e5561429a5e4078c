/* SPDX-License-Identifier: Apache-2.0 */
/* The API on top of base/httpd: a table of routes, bearer tokens with scopes, and errors as problem+json (RFC 9457).
 * Handlers reply at once or later, by id. Thread: loop, for everything. */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "base/httpd.h"
#include "base/metrics.h"
#include "config/config.h"

#include <jansson.h>

#define HTTP_BODY_MAX_BYTES  131072 /* an SDP offer of SDP_MAX_BYTES, JSON-escaped, fits */
#define HTTP_JSON_DEPTH_MAX  32     /* nothing of ours is deeper than 4; the rest is for a call's data */
#define HTTP_PARAMS_MAX      2      /* {placeholders} of a route's pattern */
#define HTTP_PARAM_BYTES     256
#define WS_MESSAGE_MAX_BYTES 131072
#define WS_QUEUE_MAX_BYTES   262144 /* waiting for a slow phone; beyond it the connection is closed */
#define WS_QUEUE_MAX         512    /* messages; the same */
#define WS_ANSWER_MAX_MS     10000  /* a phone that was sent something and says nothing for so long is not there */

struct http;

enum http_auth {
    HTTP_AUTH_NONE,   /* public */
    HTTP_AUTH_TOKEN,  /* an API token with the route's scope; tenant and name are set */
    HTTP_AUTH_BEARER, /* any bearer string, judged by the handler (device secrets, attach tokens, API tokens) */
    HTTP_AUTH_EITHER /* an API token with the route's scope, or a phone's bearer, judged by the handler (scopes is 0) */
};

struct http_request {
    http_id id;
    const char *method, *path;
    const char *params[HTTP_PARAMS_MAX]; /* decoded, in the order of the pattern */
    const char *body;                    /* NUL behind the last byte */
    size_t body_len;
    /* "" when absent: */
    const char *content_type, *accept, *idempotency_key, *if_match, *if_none_match, *last_event_id;
    const char *bearer;              /* "" when absent */
    const char *tenant;              /* of the API token; "" otherwise */
    const char *principal;           /* the API token's name; "" otherwise */
    unsigned scopes;                 /* of the API token */
    uint64_t received_us;            /* monotonic: when the request's head was read */
    const struct httpd_request *raw; /* for http_query_get */
};
/* All pointers live until the handler returns. */

typedef void (*http_handler)(const struct http_request *r, void *arg);

struct http_route {
    const char *method;  /* "POST" */
    const char *pattern; /* "/v1/calls/{id}" */
    enum http_auth auth;
    unsigned scope; /* enum config_scope bits, one of which the token needs */
    http_handler fn;
};

/* A part of the API: its table, and what its handlers get. */
struct http_api {
    const struct http_route *routes;
    size_t count;
    void *arg;
};

struct http_config {
    uv_loop_t *loop;
    const struct config *config; /* listen.api, listen.tls, auth.tokens; lives until http_set_config */
    struct metrics *metrics;
    const struct http_api *apis; /* kept by reference */
    size_t api_count;
    struct ws_ops ws; /* GET /v1/attach, subprotocol wakegate.v1 */
    void *ws_arg;
};

/* Binds and listens. Returns 0 or E_IO, E_INVAL with a sentence (occupied port, unreadable certificate, ...). */
int http_start(struct http **hp, const struct http_config *hc, struct err_text *et);
/* Two steps: stop listening and close connections; done(arg) from the loop, when nothing is left and h is freed. */
void http_close(struct http *h, void (*done)(void *arg), void *arg);
/* Requests from now on are judged by the tokens of this one. */
void http_set_config(struct http *h, const struct config *cfg);
/* As httpd_certificate_use. */
bool http_use_certificate(struct http *h, struct httpd_certificate *c);
/* The address it listens on, with the real port. */
const struct addr *http_address(const struct http *h);

/* Replies. Exactly one for each request; headers may be NULL; a cache-control among them takes the place of no-store.
 * body of http_reply_json is stolen (decref'd), NULL: no body. */
void http_reply(struct http *h, http_id id, int status, const char *content_type, const void *body, size_t len,
                const struct http_header *headers, size_t header_count);
void http_reply_json(struct http *h, http_id id, int status, json_t *body, const struct http_header *headers,
                     size_t header_count);
/* RFC 9457. type is the last part of "urn:wakegate:problem:TYPE" and stable; title follows from the status;
 * field: JSON field or header at fault, NULL when none. */
void http_problem(struct http *h, http_id id, int status, const char *type, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* 415 with the media type that is expected, in `header` (accept-post, accept-patch) too. */
void http_problem_media_type(struct http *h, http_id id, const char *header, const char *expected);
/* Budgets (config: auth.rate, phone_rate, unknown_rate). API tokens, and the bearers of HTTP_AUTH_BEARER and EITHER,
 * are counted before the handler runs. A handler that finds a bearer to be nobody's says so here: true, the network has
 * presented too many, and it was replied to with 429. */
bool http_unknown_bearer(struct http *h, http_id id);
/* The same for a WebSocket's peer, without a reply. */
bool http_unknown_from(struct http *h, const struct addr *peer);
/* One thing more for a phone; false: it has asked for too many. */
bool http_phone_may(struct http *h, const char *bearer);

/* Entity tags and preconditions (RFC 9110 8.8.3, 13). */
#define HTTP_ETAG_BYTES 35 /* 32 hex digits, quotes, the NUL */
/* A strong tag of a text. Returns out. */
char *http_etag(char out[static HTTP_ETAG_BYTES], const char *text);
/* Is the tag in the list of If-Match or If-None-Match? "*" is not looked at. weak: W/ counts as nothing (13.1.2). */
bool http_etag_listed(const char *list, const char *tag, bool weak);
/* If-Match and If-None-Match of a request that changes something. tag: of what there is, NULL: there is nothing.
 * Returns 0, or E_CONFLICT: it was replied to with 412. */
int http_preconditions(struct http *h, const struct http_request *r, const char *tag);
/* 200 with an ETag of the body, or 304 by If-None-Match. body is stolen. */
void http_reply_tagged(struct http *h, http_id id, json_t *body);
/* The same of a text, with at most so many headers more. */
#define HTTP_TAGGED_HEADERS_MAX 4
void http_reply_text_tagged(struct http *h, http_id id, const char *content_type, const char *text,
                            const struct http_header *more, size_t more_count);

/* A reply without an end (httpd_stream), with the headers of every reply. Returns as httpd_stream. */
int http_stream(struct http *h, http_id id, const char *content_type, const struct httpd_stream_ops *ops, void *arg);
void http_stream_wake(struct http *h, http_id id);
void http_stream_end(struct http *h, http_id id);
void http_stream_check(struct http *h, http_id id);
void http_stream_cut(struct http *h, http_id id);

/* The body's media type is this one, parameters aside. */
bool http_content_is(const struct http_request *r, const char *media_type);

/* The body as a JSON object (json_decref it), at most HTTP_JSON_DEPTH_MAX levels deep, no key twice. Broken UTF-8 in
 * strings, \u0000 and halves of surrogate pairs are mended. NULL: it was replied to with 400 or 415. */
json_t *http_json_body(struct http *h, const struct http_request *r);

/* Queue one message. Returns 0, E_NOTFOUND for a stale id, E_FULL (the connection is then closed). */
int ws_send_text(struct http *h, ws_id id, const char *p, size_t len);
int ws_send_binary(struct http *h, ws_id id, const uint8_t *p, size_t len);
/* Close with a status code (RFC 6455 7.4) after what is queued has left. */
void ws_close(struct http *h, ws_id id, int code, const char *reason);
/* Has the phone got all that was sent to it? Also to be asked from inside `closed`. */
bool ws_delivered(const struct http *h, ws_id id);

/* A decoded query parameter; out is "" when absent. Returns 0 or E_NOTFOUND. Only inside the handler. */
int http_query_get(const struct http_request *r, const char *name, char *out, size_t cap);
/* A number from 1 to most. Returns whether it is one, or is absent: then *n stays. */
bool http_query_number(const struct http_request *r, const char *name, uint64_t most, uint64_t *n);

#endif
