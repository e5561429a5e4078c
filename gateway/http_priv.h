/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the API's server share: http.c (life, replies, routes), http_auth.c (tokens). Thread: loop. */
#ifndef GATEWAY_HTTP_PRIV_H
#define GATEWAY_HTTP_PRIV_H

#include "gateway/http.h"

struct http {
    struct httpd *httpd;
    struct http_config cfg;
    void (*done)(void *arg);
    void *done_arg;
};

/* Who asks, and may they? Fills bearer, tenant, principal and scopes of r. Returns whether the handler is to run; else
 * it was replied to. */
bool http_authenticate(struct http *h, const struct http_route *route, struct http_request *r);

#endif
