/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include "base/bytes.h"
#include "config/config_check.h"
#include "config/config_doc.h"
#include "config/config_schema.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDOFF_DEFAULTS          4
#define DRAIN_DEFAULT_S           60
#define RETENTION_DEFAULT_H       24
#define HOLD_DEFAULT_MS           500
#define INACTIVITY_DEFAULT_S      60
#define ROTATE_DEFAULT_S          86400
#define HEDGE_DEFAULT_MS          300
#define EXPIRY_ALARM_DEFAULT_DAYS 30
#define RATE_DEFAULT_PER_S        5000 /* 1,000 calls a second, each placed, read a few times and ended */
#define PHONE_RATE_DEFAULT_PER_S  20
#define PHONE_RATE_DEFAULT_BURST  100 /* a phone that comes back sends what it has kept */
#define UNKNOWN_DEFAULT_PER_S     1
#define UNKNOWN_DEFAULT_BURST     60

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

static int number_ptr_default(unsigned **field, unsigned value) {
    if (*field)
        return 0;
    *field = malloc(sizeof **field);
    if (!*field)
        return E_NOMEM;
    **field = value;
    return 0;
}

static int complete_apns(struct config_apns *a, bool sandbox, const char *folder) {
    char **texts[] = {&a->team_id, &a->key_id,           &a->key_file,
                      &a->ca_file, &a->certificate_file, &a->certificate_password_file,
                      &a->proxy,   &a->proxy_user,       &a->proxy_password_file};
    char **paths[] = {&a->key_file, &a->ca_file, &a->certificate_file, &a->certificate_password_file,
                      &a->proxy_password_file};
    text_default(&a->host, sandbox ? "api.sandbox.push.apple.com" : "api.push.apple.com");
    number_default(&a->port, 443);
    number_default(&a->expiry_alarm_days, EXPIRY_ALARM_DEFAULT_DAYS);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        text_default(texts[i], "");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        resolve(paths[i], folder);
    return number_ptr_default(&a->hedge_ms, HEDGE_DEFAULT_MS);
}

static int complete_app(struct config_app *a, const char *folder) {
    bool sandbox = a->environment == CONFIG_ENV_SANDBOX;
    int err = complete_apns(&a->apns, sandbox, folder);
    if (err == 0 && a->other_environment)
        err = complete_apns(a->other_environment, !sandbox, folder);
    return err;
}

static void complete_must_report(struct config_must_report *m) {
    number_default(&m->receipt_after_ms, 2500);
    number_default(&m->suspect_after_ms, 6000);
    number_default(&m->second_path_after_ms, 8000);
    number_default(&m->suspect_silent, 2);
    number_default(&m->blocked_violations, 3);
    number_default(&m->blocked_silent, 2);
    number_default(&m->blocked_retry_h, 24);
}

static int complete_route(struct config_route *r) {
    static const enum config_handoff all[HANDOFF_DEFAULTS] = {CONFIG_HANDOFF_SEALED, CONFIG_HANDOFF_TRANSFER,
                                                              CONFIG_HANDOFF_SDES, CONFIG_HANDOFF_DTLS};
    char **patterns[] = {&r->match.callee, &r->match.caller, &r->match.tenant, &r->match.app};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        text_default(patterns[i], "*");
    text_default(&r->app, "");
    number_default(&r->ring_timeout_s, 40);
    complete_must_report(&r->must_report);
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

static int complete_media(struct config_media *m, const char *folder) {
    static const enum config_srtp all[CONFIG_SRTP_MAX] = {CONFIG_SRTP_AEAD_AES_128_GCM, CONFIG_SRTP_AEAD_AES_256_GCM,
                                                          CONFIG_SRTP_AES128_CM_SHA1_80};
    text_default(&m->address, "0.0.0.0");
    number_default(&m->port, 10000);
    number_default(&m->workers, 1);
    number_default(&m->calls_max, 10000);
    number_default(&m->inactivity_s, INACTIVITY_DEFAULT_S);
    number_default(&m->rotate_identity_s, ROTATE_DEFAULT_S);
    text_default(&m->certificate_file, "");
    text_default(&m->key_file, "");
    text_default(&m->ringback, "");
    resolve(&m->certificate_file, folder);
    resolve(&m->key_file, folder);
    resolve(&m->ringback, folder);
    if (!m->srtp_profiles) {
        m->srtp_profiles = malloc(sizeof all);
        if (!m->srtp_profiles)
            return E_NOMEM;
        memcpy(m->srtp_profiles, all, sizeof all);
        m->srtp_profiles_count = CONFIG_SRTP_MAX;
    }
    return number_ptr_default(&m->hold_ms, HOLD_DEFAULT_MS);
}

static int complete_webhook(struct config_webhook *w, const char *folder) {
    static const unsigned retry_s[] = {5, 30, 120, 600, 3600, 21600, 86400};
    text_default(&w->name, w->url);
    text_default(&w->tenant, "default");
    text_default(&w->ca_file, "");
    resolve(&w->ca_file, folder);
    resolve(&w->secret_file, folder);
    if (w->retry_s)
        return 0;
    w->retry_s = malloc(sizeof retry_s);
    if (!w->retry_s)
        return E_NOMEM;
    memcpy(w->retry_s, retry_s, sizeof retry_s);
    w->retry_s_count = sizeof retry_s / sizeof *retry_s;
    return 0;
}

static int rate_default(struct config_rate **r, unsigned per_s, unsigned burst) {
    if (!*r) {
        *r = malloc(sizeof **r);
        if (!*r)
            return E_NOMEM;
        **r = (struct config_rate){per_s, burst};
    }
    number_default(&(*r)->burst, 2 * (*r)->per_s);
    return 0;
}

static int complete_auth(struct config_auth *a) {
    int err = rate_default(&a->rate, RATE_DEFAULT_PER_S, 0);
    if (err == 0)
        err = rate_default(&a->phone_rate, PHONE_RATE_DEFAULT_PER_S, PHONE_RATE_DEFAULT_BURST);
    if (err == 0)
        err = rate_default(&a->unknown_rate, UNKNOWN_DEFAULT_PER_S, UNKNOWN_DEFAULT_BURST);
    for (unsigned i = 0; i < a->tokens_count; i++) {
        text_default(&a->tokens[i].tenant, "default");
        if (a->tokens[i].rate)
            number_default(&a->tokens[i].rate->burst, 2 * a->tokens[i].rate->per_s);
    }
    return err;
}

static int complete(struct config *c, const char *folder) {
    text_default(&c->listen.api, c->listen.tls ? "0.0.0.0:8443" : "127.0.0.1:8080");
    text_default(&c->listen.public_url, "");
    if (c->listen.tls) {
        resolve(&c->listen.tls->certificate_file, folder);
        resolve(&c->listen.tls->key_file, folder);
    }
    if (complete_media(&c->media, folder) != 0)
        return E_NOMEM;
    text_default(&c->store.url, "sqlite:/var/lib/wakegate/wakegate.db");
    text_default(&c->store.seal_key_file, "");
    resolve(&c->store.seal_key_file, folder);
    if (complete_auth(&c->auth) != 0)
        return E_NOMEM;
    for (unsigned i = 0; i < c->apps_count; i++)
        if (complete_app(&c->apps[i], folder) != 0)
            return E_NOMEM;
    for (unsigned i = 0; i < c->routes_count; i++)
        if (complete_route(&c->routes[i]) != 0)
            return E_NOMEM;
    for (unsigned i = 0; i < c->webhooks_count; i++)
        if (complete_webhook(&c->webhooks[i], folder) != 0)
            return E_NOMEM;
    text_default(&c->cluster.node, "a");
    text_default(&c->cluster.redis_url, "");
    text_default(&c->user, "");
    return 0;
}

/* Loading */

/* Apart from the configuration, which is const to all that hold it. */
struct config_life {
    unsigned refs;
    struct config *config;
};

static int fill(struct config **cp, const struct config_doc *d, struct err_text *et) {
    void *data = NULL;
    cyaml_err_t status =
        cyaml_load_data((const uint8_t *)d->text.p, d->text.len, &config_cyaml, &config_schema, &data, NULL);
    if (status != CYAML_OK || !data)
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
    if (!config_doc_has(d, "listen", "console"))
        c->listen.console = true;
    if (!config_doc_has(d, "store", "retention_h"))
        c->store.retention_h = RETENTION_DEFAULT_H;
    return config_check(c, d, et);
}

static int give_life(struct config *c, const struct config_doc *d, struct err_text *et) {
    c->life = calloc(1, sizeof *c->life);
    if (!c->life)
        return err_say(et, E_NOMEM, "%s: out of memory", d->file);
    *c->life = (struct config_life){1, c};
    return 0;
}

static struct config *config_free(struct config *c) {
    if (c) {
        free(c->life);
        cyaml_free(&config_cyaml, &config_schema, c, 0);
    }
    return NULL;
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
        err = give_life(c, &d, et);
    if (err == 0 && c)
        err = finish(c, &d, et);
    config_doc_free(&d);
    if (err != 0)
        c = config_free(c);
    *cp = c;
    return err;
}

int config_say(struct err_text *et, int err, const char *path, const char *key, const char *sentence) {
    struct err_text ignored = {""};
    struct config_doc d;
    config_doc_read(&d, path, &ignored); /* without it the line is 1 */
    config_doc_say(&d, et, err, key, "%s", sentence);
    config_doc_free(&d);
    return err;
}

const struct config *config_ref(const struct config *c) {
    c->life->refs++;
    return c;
}

const struct config *config_unref(const struct config *c) {
    if (c && --c->life->refs == 0)
        config_free(c->life->config);
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
