/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/secret.h"
#include "gateway/http_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define TOKENS_MAX   2048 /* remembered; a configuration has at most half as many */
#define PHONES_MAX   16384
#define UNKNOWNS_MAX 4096
#define RETRY_S      "1" /* no rate is below one a second */

/* What an API token has spent. */
struct token_spent {
    char sha256[SECRET_HASH_BYTES];
    struct token_bucket spent;
    UT_hash_handle hh;
};

int http_auth_start(struct http *h) {
    return budgets_new(&h->phones, PHONES_MAX) == 0 && budgets_new(&h->unknowns, UNKNOWNS_MAX) == 0 ? 0 : E_NOMEM;
}

static void forget_tokens(struct http *h) {
    struct token_spent *t, *next;
    HASH_ITER(hh, h->tokens, t, next) {
        HASH_DEL(h->tokens, t); /* NOLINT(clang-analyzer-*): what a uthash macro does */
        free(t);
    }
}

void http_auth_end(struct http *h) {
    forget_tokens(h);
    h->phones = budgets_free(h->phones);
    h->unknowns = budgets_free(h->unknowns);
}

/* Budgets */

static struct token_rate rate_of(const struct config_rate *r) {
    return r ? (struct token_rate){r->per_s, r->burst} : (struct token_rate){0, 0};
}

static void count_refused(struct http *h, const char *who) {
    char labels[32];
    snprintf(labels, sizeof labels, "who=\"%s\"", who);
    metric_add(metrics_counter(h->cfg.metrics, "wakegate_http_over_rate_total",
                               "Requests refused as too many, of an API token, of a phone, or with unknown tokens.",
                               labels),
               1);
}

static void reply_over_rate(struct http *h, http_id id, const char *detail) {
    static const struct http_header retry = {"retry-after", RETRY_S};
    http_reply_problem(h, id, 429, &(struct problem){"too-many-requests", "authorization", detail, &retry});
}

/* Exact for each token of the configuration. Known by its hash, so that a token keeps what it has spent whatever its
 * place in the file. Without memory nobody is held up. */
static bool token_may(struct http *h, const struct config_token *t) {
    struct token_rate rate = rate_of(t->rate ? t->rate : h->cfg.config->auth.rate);
    struct token_spent *s;
    if (rate.per_s == 0)
        return true;
    HASH_FIND_STR(h->tokens, t->sha256, s);
    if (!s) {
        if (HASH_COUNT(h->tokens) >= TOKENS_MAX)
            forget_tokens(h);
        s = calloc(1, sizeof *s);
        if (!s)
            return true;
        snprintf(s->sha256, sizeof s->sha256, "%s", t->sha256);
        HASH_ADD_STR(h->tokens, sha256, s); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    }
    return token_bucket_take(&s->spent, rate, clock_mono_ms());
}

bool http_phone_may(struct http *h, const char *bearer) {
    struct token_rate rate = rate_of(h->cfg.config->auth.phone_rate);
    char hash[SECRET_HASH_BYTES];
    uint64_t who;
    secret_hash(hash, bearer);
    hash[2 * sizeof who] = 0;
    hex_decode((uint8_t *)&who, sizeof who, hash);
    if (rate.per_s == 0 || budgets_take(h->phones, budgets_key(h->phones, who), rate, clock_mono_ms()))
        return true;
    count_refused(h, "phone");
    return false;
}

bool http_unknown_from(struct http *h, const struct addr *peer) {
    struct token_rate rate = rate_of(h->cfg.config->auth.unknown_rate);
    if (rate.per_s == 0 || !addr_is_set(peer) ||
        budgets_take(h->unknowns, budgets_key_network(h->unknowns, peer), rate, clock_mono_ms()))
        return false;
    count_refused(h, "unknown");
    return true;
}

bool http_unknown_bearer(struct http *h, http_id id) {
    struct addr peer = httpd_peer(h->httpd, id);
    if (!http_unknown_from(h, &peer))
        return false;
    reply_over_rate(h, id, "too many unknown tokens came from this network");
    return true;
}

/* Authentication */

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

static bool is_phones(const char *bearer) {
    return strncmp(bearer, SECRET_DEVICE_PREFIX "_", 3) == 0 || strncmp(bearer, SECRET_ATTACH_PREFIX "_", 3) == 0;
}

static bool check_phone(struct http *h, const struct http_request *r) {
    if (http_phone_may(h, r->bearer))
        return true;
    reply_over_rate(h, r->id, "this phone asks for too much");
    return false;
}

static bool check_scope(struct http *h, const struct http_route *route, const struct http_request *r) {
    char scopes[32] = "";
    if (r->scopes & route->scope)
        return true;
    for (unsigned bit = 1; bit <= route->scope; bit <<= 1)
        if (route->scope & bit)
            snprintf(scopes + strlen(scopes), sizeof scopes - strlen(scopes), "%s%s", *scopes ? " or " : "",
                     config_scope_name(bit));
    http_problem(h, r->id, 403, "forbidden", "authorization",
                 "the token \"%s\" does not have the scope %s, which this needs", r->principal, scopes);
    return false;
}

bool http_authenticate(struct http *h, const struct http_route *route, struct http_request *r) {
    const char *header = r->raw->authorization;
    char detail[ERR_TEXT_BYTES];
    r->bearer = strncasecmp(header, "bearer ", 7) == 0 ? header + 7 + strspn(header + 7, " ") : "";
    if (route->auth == HTTP_AUTH_NONE)
        return true;
    if (!*r->bearer) {
        http_problem(h, r->id, 401, "unauthorized", "authorization", "Authorization: Bearer TOKEN is needed");
        return false;
    }
    const struct config_token *t = find_token(h->cfg.config, r->bearer);
    if (!t && (route->auth == HTTP_AUTH_BEARER || (route->auth == HTTP_AUTH_EITHER && is_phones(r->bearer))))
        return check_phone(h, r);
    if (!t) {
        if (!http_unknown_bearer(h, r->id))
            http_problem(h, r->id, 401, "unauthorized", "authorization",
                         "this token is not known; `wakegate token new` makes one");
        return false;
    }
    r->tenant = t->tenant;
    r->principal = t->name;
    r->scopes = t->scopes;
    if (!token_may(h, t)) {
        count_refused(h, "token");
        snprintf(detail, sizeof detail, "the token \"%s\" asks for more than its rate; see auth.rate", t->name);
        reply_over_rate(h, r->id, detail);
        return false;
    }
    return route->auth == HTTP_AUTH_BEARER || check_scope(h, route, r);
}
