/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of other origins (Fetch, 3.3: the CORS protocol). Cookies play no part here: what a page has to bring is a
 * token, so Access-Control-Allow-Credentials is never sent. */
#include "gateway/http_priv.h"

#include <string.h>

#define ALLOWED "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID"
#define EXPOSED "Location, ETag, Retry-After, Allow, Accept-Post, Accept-Patch, WWW-Authenticate"
#define MAX_AGE "600" /* seconds that a browser need not ask again; a change of the configuration is seen by then */

static bool is_allowed(const struct config_listen *l, const char *origin) {
    for (unsigned i = 0; i < l->cors_origins_count; i++)
        if (strcmp(l->cors_origins[i], origin) == 0)
            return true;
    return false;
}

size_t http_cors_headers(const struct http *h, http_id id, const char *allow,
                         struct http_header out[static HTTP_CORS_HEADERS_MAX]) {
    const struct config_listen *l = &h->cfg.config->listen;
    const char *origin = httpd_origin(h->httpd, id);
    size_t n = 0;
    if (l->cors_origins_count == 0)
        return 0;
    out[n++] = (struct http_header){"vary", "Origin"}; /* in each reply: a cache must not mix them up */
    if (!is_allowed(l, origin))
        return n;
    out[n++] = (struct http_header){"access-control-allow-origin", origin};
    if (httpd_is_preflight(h->httpd, id) && allow) {
        out[n++] = (struct http_header){"access-control-allow-methods", allow};
        out[n++] = (struct http_header){"access-control-allow-headers", ALLOWED};
        out[n++] = (struct http_header){"access-control-max-age", MAX_AGE};
    } else {
        out[n++] = (struct http_header){"access-control-expose-headers", EXPOSED};
    }
    return n;
}
