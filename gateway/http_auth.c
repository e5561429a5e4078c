/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"
#include "gateway/http_priv.h"

#include <stdio.h>
#include <string.h>

/* The tokens' hashes are all compared, so that the time tells nothing about which one was nearly right. */
static const struct config_token *find_token(const struct config *c, const char *bearer) {
    char hash[SECRET_HASH_BYTES];
    const struct config_token *found = NULL;
    secret_hash(hash, bearer);
    for (unsigned i = 0; i < c->auth.tokens_count; i++)
        if (secret_eq(hash, c->auth.tokens[i].sha256))
            found = &c->auth.tokens[i];
    return found;
}

bool http_authenticate(struct http *h, const struct http_route *route, struct http_request *r) {
    const char *header = r->raw->authorization;
    r->bearer = strncasecmp(header, "bearer ", 7) == 0 ? header + 7 + strspn(header + 7, " ") : "";
    if (route->auth == HTTP_AUTH_NONE)
        return true;
    if (!*r->bearer) {
        http_problem(h, r->id, 401, "unauthorized", "authorization", "Authorization: Bearer TOKEN is needed");
        return false;
    }
    const struct config_token *t = find_token(h->cfg.config, r->bearer);
    if (t) {
        r->tenant = t->tenant;
        r->principal = t->name;
        r->scopes = t->scopes;
    }
    if (route->auth == HTTP_AUTH_BEARER)
        return true;
    if (!t) {
        http_problem(h, r->id, 401, "unauthorized", "authorization",
                     "this token is not known; `wakegate token new` makes one");
        return false;
    }
    if (!(t->scopes & route->scope)) {
        char scopes[32] = "";
        for (unsigned bit = 1; bit <= route->scope; bit <<= 1)
            if (route->scope & bit)
                snprintf(scopes + strlen(scopes), sizeof scopes - strlen(scopes), "%s%s", *scopes ? " or " : "",
                         config_scope_name(bit));
        http_problem(h, r->id, 403, "forbidden", "authorization",
                     "the token \"%s\" does not have the scope %s, which this needs", t->name, scopes);
        return false;
    }
    return true;
}
