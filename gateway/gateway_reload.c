/* SPDX-License-Identifier: Apache-2.0 */
/* Another configuration while the gateway runs. First all of it is read and judged; then it is applied, which cannot
 * fail. Calls keep the configuration that they began with; what takes a restart stays as it is. */
#include "base/log.h"
#include "config/config_reload.h"
#include "gateway/event_streams.h"
#include "gateway/gateway_priv.h"

#include <stdio.h>
#include <string.h>

struct reload {
    struct gateway *g;
    struct config *next;
    struct httpd_certificate *certificate; /* NULL: there is none to be read */
    struct push_plan *plan;
    struct buf fixed; /* names of keys that take a restart */
    struct err_text why;
};

/* Judging */

static int load_file(struct reload *r) {
    return config_load(&r->next, r->g->config_file, &r->why);
}

/* As the file has it, which may have it no more: TLS itself is turned on and off by a restart. */
static int read_certificate(struct reload *r) {
    const struct config_tls *tls = r->next->listen.tls;
    struct err_text why = {""};
    if (!tls || !r->g->cfg->listen.tls)
        return 0;
    int err = httpd_certificate_read(&r->certificate, tls->certificate_file, tls->key_file, &why);
    bool of_key = strncmp(why.s, tls->key_file, strlen(tls->key_file)) == 0;
    return err == 0 ? 0
                    : config_say(&r->why, err, r->g->config_file,
                                 of_key ? "listen.tls.key_file" : "listen.tls.certificate_file", why.s);
}

static int keep_fixed(struct reload *r) {
    int err = config_keep_fixed(r->next, r->g->cfg, &r->fixed);
    return err == 0 ? 0 : err_say(&r->why, err, "%s: out of memory", r->g->config_file);
}

static int plan_pushes(struct reload *r) {
    struct push_fault fault = {.app = ""};
    int err = push_service_plan(&r->plan, r->g->pushes, r->next, &fault);
    return err == 0 ? 0 : config_say(&r->why, err, r->g->config_file, fault.key, fault.why.s);
}

/* "webhooks: NAME: what": which of them is meant. */
static unsigned webhook_at_fault(const struct config *c, const char *sentence) {
    const char *name = sentence + strcspn(sentence, " ") + 1;
    for (unsigned i = 0; i < c->webhooks_count; i++)
        if (strncmp(name, c->webhooks[i].name, strlen(c->webhooks[i].name)) == 0 &&
            name[strlen(c->webhooks[i].name)] == ':')
            return i;
    return 0;
}

/* The last of these: it applies them, unless it refuses. */
static int load_webhooks(struct reload *r) {
    char key[32];
    struct err_text why = {""};
    int err = webhooks_load(r->g->webhooks, r->next, &why);
    if (err == 0)
        return 0;
    snprintf(key, sizeof key, "webhooks[%u]", webhook_at_fault(r->next, why.s));
    return config_say(&r->why, err, r->g->config_file, key, why.s);
}

static int judge(struct reload *r) {
    int (*const steps[])(struct reload *) = {load_file, read_certificate, keep_fixed, plan_pushes, load_webhooks};
    int err = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && err == 0; i++)
        err = steps[i](r);
    return err;
}

/* Applying */

/* What a bearer of this hash may do; the last one counts, as it does for requests. */
static const struct config_token *token_of(const struct config *c, const char *sha256) {
    const struct config_token *found = NULL;
    for (unsigned i = 0; i < c->auth.tokens_count; i++)
        if (strcmp(c->auth.tokens[i].sha256, sha256) == 0)
            found = &c->auth.tokens[i];
    return found;
}

/* Streams are judged when they are opened: those of a token that may do less than it could are cut off. */
static size_t end_streams(struct event_streams *streams, const struct config *was, const struct config *now) {
    size_t n = 0;
    for (unsigned i = 0; i < was->auth.tokens_count; i++) {
        const char *sha256 = was->auth.tokens[i].sha256;
        const struct config_token *before = token_of(was, sha256), *after = token_of(now, sha256);
        if (!after || (before->scopes & ~after->scopes) || strcmp(before->tenant, after->tenant) != 0)
            n += event_streams_revoke(streams, sha256);
    }
    return n;
}

static void give_out(struct gateway *g, const struct config *next) {
    http_set_config(g->http, next);
    calls_set_config(g->calls, next);
    g->api_devices.config = next;
    g->api_console.config = next;
}

struct changes {
    struct buf tokens, apps, routes, webhooks, settings;
};

static void compare(struct changes *c, const struct config *was, const struct config *now) {
    config_list_changes(&c->tokens, was, now, "auth.tokens");
    config_list_changes(&c->apps, was, now, "apps");
    config_list_changes(&c->routes, was, now, "routes");
    config_list_changes(&c->webhooks, was, now, "webhooks");
    config_setting_changes(&c->settings, was, now);
}

static void changes_free(struct changes *c) {
    struct buf *all[] = {&c->tokens, &c->apps, &c->routes, &c->webhooks, &c->settings};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
}

static const char *or_same(const struct buf *b) {
    return b->len ? b->p : "same";
}

static void warn_of_fixed(char *names) {
    char *save = NULL;
    for (const char *name = strtok_r(names, "\n", &save); name; name = strtok_r(NULL, "\n", &save))
        log_warn("not reloaded", log_s("key", name),
                 log_s("detail", "it has changed in the file, and takes a restart; until then it stays as it is"));
}

static void apply(struct reload *r) {
    struct gateway *g = r->g;
    const struct config *was = g->cfg, *now = r->next;
    struct changes c = {0};
    bool certificate = r->certificate && http_use_certificate(g->http, r->certificate);
    unsigned credentials = push_service_carry_out(r->plan);
    give_out(g, now);
    g->cfg = now;
    size_t streams = end_streams(events_streams(g->events), was, now);
    if (was->media.rotate_identity_s != now->media.rotate_identity_s)
        gateway_rotate_from_now(g);
    compare(&c, was, now);
    /* Who makes the log quieter hears of that, too. */
    log_setup(was->log.level < now->log.level ? was->log.level : now->log.level, now->log.format);
    log_info("reloaded", log_s("tokens", or_same(&c.tokens)), log_s("apps", or_same(&c.apps)),
             log_s("routes", or_same(&c.routes)), log_s("webhooks", or_same(&c.webhooks)),
             log_s("settings", or_same(&c.settings)), log_s("certificate", certificate ? "changed" : "same"),
             log_i("credentials_changed", credentials), log_i("streams_ended", (int64_t)streams));
    if (r->fixed.p)
        warn_of_fixed(r->fixed.p);
    log_setup(now->log.level, now->log.format);
    changes_free(&c);
    config_unref(was);
}

void gateway_reload(struct gateway *g) {
    struct reload r = {.g = g};
    if (judge(&r) == 0) {
        apply(&r);
        metric_add(g->m_reloaded, 1);
    } else {
        log_error("reload refused", log_s("detail", r.why.s), log_s("then", "nothing has changed"));
        metric_add(g->m_refused, 1);
        httpd_certificate_free(r.certificate);
        push_plan_free(r.plan);
        config_unref(r.next);
    }
    buf_free(&r.fixed);
}

void gateway_reload_metrics(struct gateway *g) {
    static const char name[] = "wakegate_reloads_total", help[] = "Reloads of the configuration (SIGHUP), by result.";
    g->m_reloaded = metrics_counter(g->metrics, name, help, "result=\"applied\"");
    g->m_refused = metrics_counter(g->metrics, name, help, "result=\"refused\"");
}
