/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_check.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "base/seal.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_CONNECTIONS_MAX 4
#define RING_MAX_MS          (CONFIG_RING_TIMEOUT_MAX_S * 1000U)
#define ROTATE_MAX_S         (28U * 86400U) /* a generated certificate is good for 29 days */

#define WEBHOOK_NAME_MAX 200
#define RETRY_MAX_S      (24U * 3600U)
#define RATE_MAX_PER_S   100000U
#define RATE_MAX_BURST   1000000U

static int check_secret(const struct config_doc *d, const char *path, const char *file, struct err_text *et) {
    struct err_text why = {""};
    char *p = NULL;
    size_t len = 0;
    int err = secret_file_read(&p, &len, file, &why);
    secret_free(p, len);
    return err == 0 ? 0 : config_doc_say(d, et, err, path, "%s", why.s);
}

/* What a browser writes into Origin (RFC 6454 6.2). "*" would let any page in the world try. */
static bool is_origin(const char *s) {
    const char *host = strncmp(s, "https://", 8) == 0 ? s + 8 : strncmp(s, "http://", 7) == 0 ? s + 7 : "";
    return *host && host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]")] == 0;
}

static int check_origins(const struct config_listen *l, const struct config_doc *d, struct err_text *et) {
    char path[CONFIG_PATH_BYTES];
    for (unsigned i = 0; i < l->cors_origins_count; i++) {
        snprintf(path, sizeof path, "listen.cors_origins[%u]", i);
        if (!is_origin(l->cors_origins[i]))
            return config_doc_say(d, et, E_INVAL, path,
                                  "\"%s\" is not an origin as browsers write it: scheme, host and port in lower case, "
                                  "no slash at the end, e.g. \"https://console.example.com\"; \"*\" is not taken",
                                  l->cors_origins[i]);
    }
    return 0;
}

static int check_listen(const struct config *c, const struct config_doc *d, struct err_text *et) {
    struct addr a;
    if (addr_parse_hostport(&a, c->listen.api) != 0)
        return config_doc_say(d, et, E_INVAL, "listen.api",
                              "\"%s\" is not an address and a port, e.g. \"127.0.0.1:8080\"", c->listen.api);
    if (!c->listen.tls && !c->listen.behind_proxy && !addr_is_loopback(&a))
        return config_doc_say(
            d, et, E_INVAL, "listen.api",
            "plain HTTP on %s would show tokens and keys to the network; set listen.tls, or behind_proxy: true "
            "when a proxy in front does TLS",
            c->listen.api);
    if (c->listen.public_url[0] && strncmp(c->listen.public_url, "https://", 8) != 0 &&
        strncmp(c->listen.public_url, "http://", 7) != 0)
        return config_doc_say(d, et, E_INVAL, "listen.public_url", "\"%s\" does not begin with https:// (or http://)",
                              c->listen.public_url);
    int err = check_origins(&c->listen, d, et);
    if (err == 0 && c->listen.tls)
        err = check_secret(d, "listen.tls.key_file", c->listen.tls->key_file, et);
    return err;
}

static int check_dtls(const struct config_media *m, const struct config_doc *d, struct err_text *et) {
    if (!m->certificate_file[0] != !m->key_file[0])
        return config_doc_say(d, et, E_INVAL, m->key_file[0] ? "media.key_file" : "media.certificate_file",
                              "media.certificate_file and media.key_file belong together; without both a key is made");
    if (m->rotate_identity_s > ROTATE_MAX_S)
        return config_doc_say(d, et, E_INVAL, "media.rotate_identity_s",
                              "%u; at most %u, since a certificate that is made is good for 29 days",
                              m->rotate_identity_s, ROTATE_MAX_S);
    if (m->inactivity_s > 86400)
        return config_doc_say(d, et, E_INVAL, "media.inactivity_s", "%u; at most 86400", m->inactivity_s);
    for (unsigned i = 0; i < m->srtp_profiles_count; i++)
        for (unsigned k = 0; k < i; k++)
            if (m->srtp_profiles[i] == m->srtp_profiles[k])
                return config_doc_say(d, et, E_INVAL, "media.srtp_profiles", "names a profile twice; once is enough");
    return m->key_file[0] ? check_secret(d, "media.key_file", m->key_file, et) : 0;
}

static int check_media(const struct config *c, const struct config_doc *d, struct err_text *et) {
    char path[CONFIG_PATH_BYTES];
    struct addr a;
    if (addr_parse(&a, c->media.address, 0) != 0)
        return config_doc_say(d, et, E_INVAL, "media.address", "\"%s\" is not an IP address", c->media.address);
    if (c->media.workers > 64)
        return config_doc_say(d, et, E_INVAL, "media.workers", "%u; 1 to 64, best one a core", c->media.workers);
    if (c->media.port + c->media.workers - 1 > 65535)
        return config_doc_say(d, et, E_INVAL, "media.port", "%u and one port for each of %u workers pass 65535",
                              c->media.port, c->media.workers);
    if (c->media.calls_max > 1000000)
        return config_doc_say(d, et, E_INVAL, "media.calls_max", "%u; at most 1000000", c->media.calls_max);
    for (unsigned i = 0; i < c->media.announce_count; i++) {
        snprintf(path, sizeof path, "media.announce[%u]", i);
        if (addr_parse(&a, c->media.announce[i], 0) != 0)
            return config_doc_say(d, et, E_INVAL, path, "\"%s\" is not an IP address", c->media.announce[i]);
    }
    int err = check_dtls(&c->media, d, et);
    if (err != 0)
        return err;
    if (strncmp(c->store.url, "sqlite:", 7) != 0 || c->store.url[7] == 0)
        return config_doc_say(d, et, E_INVAL, "store.url", "\"%s\" is not of the form sqlite:PATH", c->store.url);
    return 0;
}

static int check_rate(const struct config_doc *d, const char *path, const struct config_rate *r, struct err_text *et) {
    if (r->per_s > RATE_MAX_PER_S || r->burst > RATE_MAX_BURST)
        return config_doc_say(d, et, E_INVAL, path, "per_s: %u, burst: %u; at most %u and %u; per_s: 0 is no limit",
                              r->per_s, r->burst, RATE_MAX_PER_S, RATE_MAX_BURST);
    return 0;
}

static int check_rates(const struct config_auth *a, const struct config_doc *d, struct err_text *et) {
    char path[CONFIG_PATH_BYTES];
    int err = check_rate(d, "auth.rate", a->rate, et);
    if (err == 0)
        err = check_rate(d, "auth.phone_rate", a->phone_rate, et);
    if (err == 0)
        err = check_rate(d, "auth.unknown_rate", a->unknown_rate, et);
    for (unsigned i = 0; i < a->tokens_count && err == 0; i++) {
        snprintf(path, sizeof path, "auth.tokens[%u].rate", i);
        if (a->tokens[i].rate)
            err = check_rate(d, path, a->tokens[i].rate, et);
    }
    return err;
}

static int check_tokens(const struct config *c, const struct config_doc *d, struct err_text *et) {
    char path[CONFIG_PATH_BYTES];
    uint8_t digest[32];
    for (unsigned i = 0; i < c->auth.tokens_count; i++) {
        const struct config_token *t = &c->auth.tokens[i];
        snprintf(path, sizeof path, "auth.tokens[%u].sha256", i);
        if (hex_decode(digest, sizeof digest, t->sha256) != (int)sizeof digest ||
            strspn(t->sha256, "0123456789abcdef") != 64)
            return config_doc_say(
                d, et, E_INVAL, path,
                "not the SHA-256 of a token in 64 lower-case hex digits; `wakegate token new` prints one");
        snprintf(path, sizeof path, "auth.tokens[%u].scopes", i);
        if (t->scopes == 0)
            return config_doc_say(d, et, E_INVAL, path, "a token without a scope is of no use; calls, devices, admin");
    }
    return check_rates(&c->auth, d, et);
}

/* Key or certificate, and all that goes with it. */
static int check_login(const struct config_apns *a, const struct config_doc *d, const char *at, struct err_text *et) {
    const struct {
        const char *key, *value, *what;
    } token[] = {{"team_id", a->team_id, "a team id has 10 characters; it is shown in the developer account"},
                 {"key_id", a->key_id, "a key id has 10 characters; it is in the .p8 file's name"},
                 {"key_file", a->key_file, NULL}};
    char path[CONFIG_PATH_BYTES];
    for (size_t i = 0; i < sizeof token / sizeof *token; i++) {
        snprintf(path, sizeof path, "%s.%s", at, token[i].key);
        if (a->certificate_file[0] && token[i].value[0])
            return config_doc_say(d, et, E_INVAL, path,
                                  "not together with certificate_file: APNs takes a key or a certificate");
        if (!a->certificate_file[0] && !token[i].value[0])
            return config_doc_say(d, et, E_INVAL, path,
                                  "this key is required (or certificate_file in place of team_id, key_id, key_file)");
        if (token[i].value[0] && token[i].what && strlen(token[i].value) != 10)
            return config_doc_say(d, et, E_INVAL, path, "%s", token[i].what);
    }
    snprintf(path, sizeof path, "%s.certificate_password_file", at);
    if (a->certificate_password_file[0] && !a->certificate_file[0])
        return config_doc_say(d, et, E_INVAL, path, "of no use without certificate_file");
    return 0;
}

static int check_apns_secrets(const struct config_apns *a, const struct config_doc *d, const char *at,
                              struct err_text *et) {
    const struct {
        const char *key, *file;
    } secrets[] = {{"key_file", a->key_file},
                   {"certificate_file", a->certificate_file},
                   {"certificate_password_file", a->certificate_password_file},
                   {"proxy_password_file", a->proxy_password_file}};
    char path[CONFIG_PATH_BYTES];
    int err = 0;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets && err == 0; i++) {
        snprintf(path, sizeof path, "%s.%s", at, secrets[i].key);
        if (secrets[i].file[0])
            err = check_secret(d, path, secrets[i].file, et);
    }
    return err;
}

static int check_apns(const struct config_apns *a, const struct config_doc *d, const char *at, struct err_text *et) {
    char path[CONFIG_PATH_BYTES], host[ADDR_NAME_BYTES];
    uint16_t port;
    int err = check_login(a, d, at, et);
    if (err != 0)
        return err;
    snprintf(path, sizeof path, "%s.port", at);
    if (a->port > 65535)
        return config_doc_say(d, et, E_INVAL, path, "%u is not a port; Apple serves 443 and 2197", a->port);
    snprintf(path, sizeof path, "%s.ring_connections", at);
    if (a->ring_connections > RING_CONNECTIONS_MAX)
        return config_doc_say(d, et, E_INVAL, path, "%u; at most %d", a->ring_connections, RING_CONNECTIONS_MAX);
    snprintf(path, sizeof path, "%s.proxy", at);
    if (a->proxy[0] && (addr_split_hostport(host, sizeof host, &port, a->proxy) != 0 || port == 0))
        return config_doc_say(d, et, E_INVAL, path, "\"%s\" is not a host and a port, e.g. \"proxy.example.com:3128\"",
                              a->proxy);
    snprintf(path, sizeof path, "%s.proxy_user", at);
    if (a->proxy_user[0] && !a->proxy[0])
        return config_doc_say(d, et, E_INVAL, path, "of no use without proxy");
    snprintf(path, sizeof path, "%s.proxy_password_file", at);
    if (a->proxy_password_file[0] && !a->proxy_user[0])
        return config_doc_say(d, et, E_INVAL, path, "of no use without proxy_user");
    return check_apns_secrets(a, d, at, et);
}

static int check_apps(const struct config *c, const struct config_doc *d, struct err_text *et) {
    char path[CONFIG_PATH_BYTES];
    for (unsigned i = 0; i < c->apps_count; i++) {
        const struct config_app *a = &c->apps[i];
        snprintf(path, sizeof path, "apps[%u].name", i);
        if (!a->name[0] || strlen(a->name) > 64 ||
            a->name[strspn(a->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
            return config_doc_say(d, et, E_INVAL, path, "1 to 64 letters, digits, '.', '_' or '-' are needed");
        if (config_app(c, a->name) != a)
            return config_doc_say(d, et, E_CONFLICT, path, "another app has the name \"%s\"", a->name);
        snprintf(path, sizeof path, "apps[%u].apns", i);
        int err = check_apns(&a->apns, d, path, et);
        snprintf(path, sizeof path, "apps[%u].other_environment", i);
        if (err == 0 && a->other_environment)
            err = check_apns(a->other_environment, d, path, et);
        if (err != 0)
            return err;
    }
    return 0;
}

static int check_must_report(const struct config_must_report *m, unsigned route, const struct config_doc *d,
                             struct err_text *et) {
    const struct {
        const char *key;
        unsigned value, most;
    } bounds[] = {{"receipt_after_ms", m->receipt_after_ms, RING_MAX_MS},
                  {"suspect_after_ms", m->suspect_after_ms, RING_MAX_MS},
                  {"second_path_after_ms", m->second_path_after_ms, RING_MAX_MS},
                  {"suspect_silent", m->suspect_silent, CONFIG_LEDGER_ROWS},
                  {"blocked_violations", m->blocked_violations, CONFIG_LEDGER_ROWS},
                  {"blocked_silent", m->blocked_silent, CONFIG_LEDGER_ROWS},
                  {"blocked_retry_h", m->blocked_retry_h, 8760}};
    char path[CONFIG_PATH_BYTES];
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        snprintf(path, sizeof path, "routes[%u].must_report.%s", route, bounds[i].key);
        if (bounds[i].value > bounds[i].most)
            return config_doc_say(d, et, E_INVAL, path, "%u; at most %u", bounds[i].value, bounds[i].most);
    }
    snprintf(path, sizeof path, "routes[%u].must_report.blocked_silent", route);
    if (m->blocked_violations + m->blocked_silent > CONFIG_LEDGER_ROWS)
        return config_doc_say(
            d, et, E_INVAL, path,
            "%u, with blocked_violations: %u; together at most %u, since so many pushes are looked at",
            m->blocked_silent, m->blocked_violations, CONFIG_LEDGER_ROWS);
    return 0;
}

static int check_routes(const struct config *c, const struct config_doc *d, struct err_text *et) {
    char path[CONFIG_PATH_BYTES];
    for (unsigned i = 0; i < c->routes_count; i++) {
        const struct config_route *r = &c->routes[i];
        snprintf(path, sizeof path, "routes[%u].app", i);
        if (!r->reject && !r->app[0])
            return config_doc_say(d, et, E_INVAL, path, "route \"%s\" needs an app, or reject", r->name);
        if (!r->reject && !config_app(c, r->app))
            return config_doc_say(d, et, E_NOTFOUND, path, "no app has the name \"%s\"; the names under apps are meant",
                                  r->app);
        snprintf(path, sizeof path, "routes[%u].ring_timeout_s", i);
        if (r->ring_timeout_s > CONFIG_RING_TIMEOUT_MAX_S)
            return config_doc_say(d, et, E_INVAL, path, "%u; at most %d, since CallKit ends a ring after 30 to 60 s",
                                  r->ring_timeout_s, CONFIG_RING_TIMEOUT_MAX_S);
        int err = check_must_report(&r->must_report, i, d, et);
        if (err != 0)
            return err;
        snprintf(path, sizeof path, "routes[%u].reject.status", i);
        if (r->reject && (r->reject->status < 400 || r->reject->status > 599))
            return config_doc_say(d, et, E_INVAL, path, "%u is not an HTTP error status (400 to 599)",
                                  r->reject->status);
    }
    return 0;
}

static int check_seal(const struct config *c, const struct config_doc *d, struct err_text *et) {
    struct err_text why = {""};
    struct seal *s = NULL;
    int err = seal_new(&s, c->store.seal_key_file, &why);
    seal_free(s);
    return err == 0 ? 0 : config_doc_say(d, et, err, "store.seal_key_file", "%s", why.s);
}

static int check_webhooks(const struct config *c, const struct config_doc *d, struct err_text *et) {
    char path[CONFIG_PATH_BYTES];
    for (unsigned i = 0; i < c->webhooks_count; i++) {
        const struct config_webhook *w = &c->webhooks[i];
        snprintf(path, sizeof path, "webhooks[%u].url", i);
        if (strncmp(w->url, "https://", 8) != 0 || !w->url[8])
            return config_doc_say(d, et, E_INVAL, path, "\"%s\" does not begin with https://", w->url);
        snprintf(path, sizeof path, "webhooks[%u].name", i);
        if (!w->name[0] || strlen(w->name) > WEBHOOK_NAME_MAX)
            return config_doc_say(d, et, E_INVAL, path, "1 to %d characters are needed", WEBHOOK_NAME_MAX);
        for (unsigned k = 0; k < i; k++)
            if (strcmp(w->name, c->webhooks[k].name) == 0)
                return config_doc_say(d, et, E_CONFLICT, path,
                                      "another webhook has the name \"%s\" (the URL is the name when none is given)",
                                      w->name);
        snprintf(path, sizeof path, "webhooks[%u].retry_s", i);
        for (unsigned k = 0; k < w->retry_s_count; k++)
            if (w->retry_s[k] < 1 || w->retry_s[k] > RETRY_MAX_S)
                return config_doc_say(d, et, E_INVAL, path, "%u; seconds from 1 to %u are expected", w->retry_s[k],
                                      RETRY_MAX_S);
        snprintf(path, sizeof path, "webhooks[%u].secret_file", i);
        int err = check_secret(d, path, w->secret_file, et);
        if (err != 0)
            return err;
    }
    return 0;
}

int config_check(const struct config *c, const struct config_doc *d, struct err_text *et) {
    int (*const checks[])(const struct config *, const struct config_doc *, struct err_text *) = {
        check_listen, check_media, check_tokens, check_apps, check_routes, check_webhooks};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        int err = checks[i](c, d, et);
        if (err != 0)
            return err;
    }
    return c->store.seal_key_file[0] ? check_seal(c, d, et) : 0;
}
