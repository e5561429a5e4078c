/* SPDX-License-Identifier: Apache-2.0 */
/* The API's server: HTTP/1.1 and WebSocket by libwebsockets on the gateway's libuv loop. The only file pair that includes
 * libwebsockets. Requests are matched against a table of routes, authenticated, and handed over whole (body read); the handler
 * replies at once or later, by id. Thread: loop, for everything. */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "base/addr.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/slots.h"
#include "config/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define HTTP_BODY_MAX_BYTES  131072 /* an SDP offer of SDP_MAX_BYTES, JSON-escaped, fits */
#define HTTP_PARAMS_MAX      2      /* {placeholders} of a route's pattern */
#define HTTP_PARAM_BYTES     256
#define WS_MESSAGE_MAX_BYTES 131072
#define WS_QUEUE_MAX_BYTES   262144 /* waiting for a slow phone; beyond it the connection is closed */

struct http;
typedef slot_id http_id; /* a request waiting for its reply; a stale id (client gone) is harmless */
typedef slot_id ws_id;   /* an open WebSocket */

enum http_auth {
    HTTP_AUTH_NONE,  /* public */
    HTTP_AUTH_TOKEN, /* an API token with the route's scope; tenant and name are set */
    HTTP_AUTH_BEARER /* any bearer string, judged by the handler (device secrets, attach tokens, API tokens) */
};

struct http_request {
    http_id id;
    const char *method, *path;
    const char *params[HTTP_PARAMS_MAX]; /* decoded, in the order of the pattern */
    const char *query;                   /* raw, without '?'; "" when absent */
    const char *body;                    /* NUL behind the last byte */
    size_t body_len;
    const char *content_type, *accept, *idempotency_key, *if_match, *last_event_id; /* "" when absent */
    const char *bearer;       /* "" when absent; HTTP_AUTH_BEARER only */
    const char *tenant;       /* of the API token; "" otherwise */
    const char *principal;    /* the API token's name; "" otherwise */
    unsigned scopes;          /* of the API token */
    uint64_t received_us;     /* monotonic: when the request's head was read */
};
/* All pointers live until the handler returns. */

typedef void (*http_handler)(const struct http_request *r, void *arg);

struct http_route {
    const char *method;  /* "POST" */
    const char *pattern; /* "/v1/calls/{id}" */
    enum http_auth auth;
    unsigned scope;      /* enum config_scope bit that a token needs */
    http_handler fn;
};

struct http_header {
    const char *name; /* lower case with the colon left out, e.g. "location" */
    const char *value;
};

struct ws_ops {
    void (*open)(ws_id id, const struct addr *peer, void *arg);
    void (*text)(ws_id id, const char *p, size_t len, void *arg); /* one whole message, NUL behind it */
    void (*binary)(ws_id id, const uint8_t *p, size_t len, void *arg);
    void (*closed)(ws_id id, void *arg); /* once, also after ws_close */
};

/* Binds and listens. routes: the tables of all API files, joined by the caller; kept by reference. ws: for GET /v1/attach with
 * the subprotocol wakegate.v1. Returns 0 or E_IO, E_INVAL with a sentence (occupied port, unreadable certificate, ...). */
struct http_config {
    uv_loop_t *loop;
    const struct config *config; /* listen.api, listen.tls, auth.tokens; see http_reload */
    struct metrics *metrics;
    const struct http_route *routes;
    size_t route_count;
    void *route_arg;
    struct ws_ops ws;
    void *ws_arg;
};
int http_start(struct http **hp, const struct http_config *hc, struct err_text *et);
/* Two steps: stop listening and close connections; done(arg) from the loop, when nothing is left. */
void http_close(struct http *h, void (*done)(void *arg), void *arg);
/* The address it listens on, with the real port. */
const struct addr *http_address(const struct http *h);

/* Replies. Exactly one for each request; headers may be NULL. body of http_reply_json is stolen (decref'd), NULL: no body. */
void http_reply(struct http *h, http_id id, int status, const char *content_type, const void *body, size_t len,
                const struct http_header *headers, size_t header_count);
void http_reply_json(struct http *h, http_id id, int status, json_t *body, const struct http_header *headers,
                     size_t header_count);
/* RFC 9457. type is the last part of "https://wakegate.dev/problems/TYPE" and stable; title follows from the status;
 * field: JSON field or header at fault, NULL when none. */
void http_problem(struct http *h, http_id id, int status, const char *type, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* Queue one message. Returns 0, E_NOTFOUND for a stale id, E_FULL (the connection is then closed). */
int ws_send_text(struct http *h, ws_id id, const char *p, size_t len);
int ws_send_binary(struct http *h, ws_id id, const uint8_t *p, size_t len);
/* Close with a status code (RFC 6455 7.4) after what is queued has left. */
void ws_close(struct http *h, ws_id id, int code, const char *reason);

/* A decoded query parameter; out is "" when absent. Returns 0 or E_NOTFOUND, E_MALFORMED. */
int http_query_get(const struct http_request *r, const char *name, char *out, size_t cap);

#endif
