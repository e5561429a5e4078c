/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "config/config_doc.h"
#include "config/config_schema.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDOFF_DEFAULTS    4
#define DRAIN_DEFAULT_S     60
#define RETENTION_DEFAULT_H 24

/* Completing: what the file does not say */

static void text_default(char **field, const char *value) {
    if (!*field)
        *field = strdup(value);
}

static void number_default(unsigned *field, unsigned value) {
    if (*field == 0)
        *field = value;
}

/* A relative path is meant from the configuration's folder. */
static void resolve(char **path, const char *folder) {
    char joined[PATH_MAX];
    if (!*path || !**path || **path == '/')
        return;
    snprintf(joined, sizeof joined, "%s/%s", folder, *path);
    free(*path);
    *path = strdup(joined);
}

static void complete_app(struct config_app *a, const char *folder) {
    text_default(&a->apns.host,
                 a->environment == CONFIG_ENV_SANDBOX ? "api.sandbox.push.apple.com" : "api.push.apple.com");
    text_default(&a->apns.ca_file, "");
    number_default(&a->apns.port, 443);
    resolve(&a->apns.key_file, folder);
    resolve(&a->apns.ca_file, folder);
}

static int complete_route(struct config_route *r) {
    static const enum config_handoff all[HANDOFF_DEFAULTS] = {CONFIG_HANDOFF_SEALED, CONFIG_HANDOFF_TRANSFER,
                                                              CONFIG_HANDOFF_SDES, CONFIG_HANDOFF_DTLS};
    char **patterns[] = {&r->match.callee, &r->match.caller, &r->match.tenant, &r->match.app};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        text_default(patterns[i], "*");
    text_default(&r->app, "");
    number_default(&r->ring_timeout_s, 40);
    number_default(&r->must_report.suspect_after_ms, 6000);
    number_default(&r->must_report.second_path_after_ms, 8000);
    if (r->reject) {
        number_default(&r->reject->status, 404);
        text_default(&r->reject->detail, "nobody by that name");
    }
    if (!r->handoff) {
        r->handoff = malloc(sizeof all);
        if (!r->handoff)
            return E_NOMEM;
        memcpy(r->handoff, all, sizeof all);
        r->handoff_count = HANDOFF_DEFAULTS;
    }
    return 0;
}

static int complete(struct config *c, const char *folder) {
    text_default(&c->listen.api, c->listen.tls ? "0.0.0.0:8443" : "127.0.0.1:8080");
    text_default(&c->listen.public_url, "");
    if (c->listen.tls) {
        resolve(&c->listen.tls->certificate_file, folder);
        resolve(&c->listen.tls->key_file, folder);
    }
    text_default(&c->media.address, "0.0.0.0");
    number_default(&c->media.port, 10000);
    number_default(&c->media.workers, 1);
    number_default(&c->media.calls_max, 10000);
    if (!c->media.hold_ms) {
        if (!(c->media.hold_ms = malloc(sizeof *c->media.hold_ms)))
            return E_NOMEM;
        *c->media.hold_ms = 500;
    }
    text_default(&c->store.url, "sqlite:/var/lib/wakegate/wakegate.db");
    text_default(&c->store.seal_key_file, "");
    resolve(&c->store.seal_key_file, folder);
    for (unsigned i = 0; i < c->auth.tokens_count; i++)
        text_default(&c->auth.tokens[i].tenant, "default");
    for (unsigned i = 0; i < c->apps_count; i++)
        complete_app(&c->apps[i], folder);
    for (unsigned i = 0; i < c->routes_count; i++)
        if (complete_route(&c->routes[i]) != 0)
            return E_NOMEM;
    for (unsigned i = 0; i < c->webhooks_count; i++)
        resolve(&c->webhooks[i].secret_file, folder);
    text_default(&c->cluster.node, "a");
    text_default(&c->cluster.redis_url, "");
    text_default(&c->user, "");
    return 0;
}

/* Judging: what the schema cannot say */

static int check_secret(const struct config_doc *d, const char *path, const char *file, struct err_text *et) {
    struct err_text why = {""};
    char *p = NULL;
    size_t len = 0;
    int err = secret_file_read(&p, &len, file, &why);
    secret_free(p, len);
    return err == 0 ? 0 : config_doc_say(d, et, err, path, "%s", why.s);
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
    if (c->listen.tls)
        return check_secret(d, "listen.tls.key_file", c->listen.tls->key_file, et);
    return 0;
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
    if (strncmp(c->store.url, "sqlite:", 7) != 0 || c->store.url[7] == 0)
        return config_doc_say(d, et, E_INVAL, "store.url", "\"%s\" is not of the form sqlite:PATH", c->store.url);
    return 0;
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
    return 0;
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
        snprintf(path, sizeof path, "apps[%u].apns.team_id", i);
        if (strlen(a->apns.team_id) != 10)
            return config_doc_say(d, et, E_INVAL, path,
                                  "a team id has 10 characters; it is shown in the developer account");
        snprintf(path, sizeof path, "apps[%u].apns.key_id", i);
        if (strlen(a->apns.key_id) != 10)
            return config_doc_say(d, et, E_INVAL, path, "a key id has 10 characters; it is in the .p8 file's name");
        snprintf(path, sizeof path, "apps[%u].apns.port", i);
        if (a->apns.port > 65535)
            return config_doc_say(d, et, E_INVAL, path, "%u is not a port; Apple serves 443 and 2197", a->apns.port);
        snprintf(path, sizeof path, "apps[%u].apns.key_file", i);
        int err = check_secret(d, path, a->apns.key_file, et);
        if (err != 0)
            return err;
    }
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
        snprintf(path, sizeof path, "routes[%u].reject.status", i);
        if (r->reject && (r->reject->status < 400 || r->reject->status > 599))
            return config_doc_say(d, et, E_INVAL, path, "%u is not an HTTP error status (400 to 599)",
                                  r->reject->status);
    }
    return 0;
}

static int judge(const struct config *c, const struct config_doc *d, struct err_text *et) {
    int (*const checks[])(const struct config *, const struct config_doc *,
                          struct err_text *) = {check_listen, check_media, check_tokens, check_apps, check_routes};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        int err = checks[i](c, d, et);
        if (err != 0)
            return err;
    }
    if (c->store.seal_key_file[0])
        return check_secret(d, "store.seal_key_file", c->store.seal_key_file, et);
    return 0;
}

/* Loading */

static const cyaml_config_t cyaml = {.log_level = CYAML_LOG_ERROR, .mem_fn = cyaml_mem, .flags = CYAML_CFG_NO_ALIAS};

static int fill(struct config **cp, const struct config_doc *d, struct err_text *et) {
    void *data = NULL;
    cyaml_err_t status = cyaml_load_data((const uint8_t *)d->text.p, d->text.len, &cyaml, &config_schema, &data, NULL);
    if (status != CYAML_OK)
        return err_say(et, E_INVAL, "%s:1: cannot be loaded: %s", d->file, cyaml_strerror(status));
    *cp = data;
    return 0;
}

/* c as the file has it: defaults, then judgement. */
static int finish(struct config *c, const struct config_doc *d, struct err_text *et) {
    char *folder = strdup(d->file);
    int err = folder ? complete(c, dirname(folder)) : E_NOMEM;
    free(folder);
    if (err != 0)
        return err_say(et, err, "%s: out of memory", d->file);
    /* Zero means something here. */
    if (!config_doc_has(d, "log", "level"))
        c->log.level = LOG_LEVEL_INFO;
    if (!config_doc_has(d, "listen", "drain_s"))
        c->listen.drain_s = DRAIN_DEFAULT_S;
    if (!config_doc_has(d, "store", "retention_h"))
        c->store.retention_h = RETENTION_DEFAULT_H;
    return judge(c, d, et);
}

int config_load(struct config **cp, const char *path, struct err_text *et) {
    struct config_doc d;
    struct config *c = NULL;
    int err = config_doc_read(&d, path, et);
    if (err == 0)
        err = config_doc_check(&d, &config_schema, et);
    if (err == 0)
        err = fill(&c, &d, et);
    if (err == 0 && c)
        err = finish(c, &d, et);
    config_doc_free(&d);
    if (err != 0)
        c = config_free(c);
    *cp = c;
    return err;
}

struct config *config_free(struct config *c) {
    if (c)
        cyaml_free(&cyaml, &config_schema, c, 0);
    return NULL;
}

const struct config_app *config_app(const struct config *c, const char *name) {
    for (unsigned i = 0; i < c->apps_count; i++)
        if (strcmp(c->apps[i].name, name) == 0)
            return &c->apps[i];
    return NULL;
}

const char *config_handoff_name(enum config_handoff h) {
    static const char *const names[] = {"transfer", "sealed", "sdes", "dtls"};
    return names[h];
}

static const char *const scope_names[] = {"calls", "devices", "admin"};

unsigned config_scope_by_name(const char *name) {
    for (unsigned i = 0; i < sizeof scope_names / sizeof *scope_names; i++)
        if (strcmp(scope_names[i], name) == 0)
            return 1U << i;
    return 0;
}

const char *config_scope_name(unsigned scope) {
    for (unsigned i = 0; i < sizeof scope_names / sizeof *scope_names; i++)
        if (scope == 1U << i)
            return scope_names[i];
    return "";
}

const struct config_route *config_route(const struct config *c, const struct config_query *q, struct buf *explain) {
    for (unsigned i = 0; i < c->routes_count; i++) {
        const struct config_route *r = &c->routes[i];
        const struct {
            const char *name, *pattern, *value;
        } tests[] = {{"callee", r->match.callee, q->callee},
                     {"caller", r->match.caller, q->caller},
                     {"tenant", r->match.tenant, q->tenant},
                     {"app", r->match.app, r->app}};
        size_t k = 0;
        while (k < sizeof tests / sizeof *tests && glob_match(tests[k].pattern, tests[k].value))
            k++;
        bool taken = k == sizeof tests / sizeof *tests;
        if (explain && !taken)
            buf_addf(explain, "  %s: no, %s \"%s\" is not \"%s\"\n", r->name, tests[k].name, tests[k].value,
                     tests[k].pattern);
        if (explain && taken)
            buf_addf(explain, "  %s: yes\n", r->name);
        if (taken)
            return r;
    }
    return NULL;
}
