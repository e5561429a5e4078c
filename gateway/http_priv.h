/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the API's server share: http.c (life, replies, routes), http_auth.c (tokens and their budgets),
 * http_cors.c (other origins), http_etag.c (preconditions), http_json.c (bodies). Thread: loop. */
#ifndef GATEWAY_HTTP_PRIV_H
#define GATEWAY_HTTP_PRIV_H

#include "base/budgets.h"
#include "gateway/http.h"

struct token_spent;

struct http {
    struct httpd *httpd;
    struct http_config cfg;
    struct token_spent *tokens;        /* a hash table by sha256: API tokens that were used */
    struct budgets *phones, *unknowns; /* by bearer; by network */
    void (*done)(void *arg);
    void *done_arg;
};

/* http.c. header: one more of the reply's, or NULL. */
struct problem {
    const char *type, *field, *detail;
    const struct http_header *header;
};
void http_reply_problem(struct http *h, http_id id, int status, const struct problem *p);

/* http_auth.c. Returns 0 or E_NOMEM; http_auth_end it in any case. */
int http_auth_start(struct http *h);
void http_auth_end(struct http *h);
/* Who asks, and may they? Fills bearer, tenant, principal and scopes of r. Returns whether the handler is to run; else
 * it was replied to. */
bool http_authenticate(struct http *h, const struct http_route *route, struct http_request *r);

/* http_cors.c. Headers for a page of another origin (Fetch 3.3) into out; allow: the reply's Allow, or NULL. Returns
 * how many. Values live as long as the request and the configuration. */
#define HTTP_CORS_HEADERS_MAX 5
size_t http_cors_headers(const struct http *h, http_id id, const char *allow,
                         struct http_header out[static HTTP_CORS_HEADERS_MAX]);

#endif
