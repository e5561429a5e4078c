/* SPDX-License-Identifier: Apache-2.0 */
/* The webhooks of the configuration. */
#include "base/secret.h"
#include "gateway/webhooks_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void hook_free(struct hook *k) {
    struct flight *f, *next;
    DL_FOREACH_SAFE(k->flights, f, next) {
        webhook_flight_free(f);
    }
    secret_wipe(&k->secret, sizeof k->secret);
    free(k->name);
    free(k->url);
    free(k->ca_file);
    free(k->tenant);
    free(k->retry_s);
    free(k);
}

static int read_types(struct hook *k, const struct config_webhook *c, struct err_text *et) {
    k->types = c->events_count ? 0 : (1U << EVENT_TYPES) - 1;
    for (unsigned i = 0; i < c->events_count; i++) {
        unsigned matched = event_types_matching(c->events[i]);
        if (!matched)
            return err_say(et, E_INVAL, "events: \"%s\" matches no event type; e.g. call.*, push.*, receipt, device.*",
                           c->events[i]);
        k->types |= matched;
    }
    return 0;
}

static int hook_new(struct hook **kp, const struct config_webhook *c, struct err_text *et) {
    struct hook *k = calloc(1, sizeof *k);
    struct err_text why = {""};
    *kp = k;
    if (!k)
        return err_say(et, E_NOMEM, "out of memory");
    k->name = strdup(c->name);
    k->url = strdup(c->url);
    k->tenant = strdup(c->tenant);
    k->ca_file = c->ca_file[0] ? strdup(c->ca_file) : NULL;
    k->allow_private = c->allow_private;
    k->retry_count = c->retry_s_count;
    k->retry_s = calloc(c->retry_s_count + 1, sizeof *k->retry_s);
    if (!k->name || !k->url || !k->tenant || (c->ca_file[0] && !k->ca_file) || !k->retry_s)
        return err_say(et, E_NOMEM, "out of memory");
    for (unsigned i = 0; i < c->retry_s_count; i++)
        k->retry_s[i] = c->retry_s[i];
    int err = read_types(k, c, &why);
    if (err == 0)
        err = webhook_secret_read(&k->secret, c->secret_file, &why);
    return err == 0 ? 0 : err_say(et, err, "webhooks: %s: %s", c->name, why.s);
}

static int make_hooks(struct hook **list, const struct config *cfg, struct err_text *et) {
    int err = 0;
    for (unsigned i = 0; i < cfg->webhooks_count && err == 0; i++) {
        struct hook *k;
        err = hook_new(&k, &cfg->webhooks[i], et);
        if (k)
            DL_APPEND(*list, k);
    }
    return err;
}

void webhook_hooks_free(struct hook **list) {
    struct hook *k, *next;
    DL_FOREACH_SAFE(*list, k, next) {
        DL_DELETE(*list, k);
        hook_free(k);
    }
}

int webhooks_check(const struct config *cfg, struct err_text *et) {
    struct hook *list = NULL;
    int err = make_hooks(&list, cfg, et);
    webhook_hooks_free(&list);
    return err;
}

static struct metric *counter(struct webhooks *w, const char *webhook, const char *result) {
    char labels[320];
    snprintf(labels, sizeof labels, "webhook=\"%s\",result=\"%s\"", webhook, result);
    return metrics_counter(w->d.metrics, "wakegate_webhook_deliveries_total",
                           "Attempts to deliver an event, and events that were dropped, by result.", labels);
}

static void adopt(struct webhooks *w, struct hook *k) {
    const struct pending *p = w->pending;
    char name[256], labels[300];
    k->owner = w;
    metrics_escape(name, sizeof name, k->name);
    snprintf(labels, sizeof labels, "webhook=\"%s\"", name);
    k->m_delivered = counter(w, name, "delivered");
    k->m_failed = counter(w, name, "failed");
    k->m_dead = counter(w, name, "dead");
    k->m_dropped = counter(w, name, "dropped");
    k->m_pending = metrics_gauge(w->d.metrics, "wakegate_webhook_pending",
                                 "Events that a webhook has not got yet, dead letters aside.", labels);
    while (p && strcmp(p->name, k->name) != 0)
        p = p->next;
    k->pending = p ? p->count : 0;
    metric_set(k->m_pending, (int64_t)k->pending);
}

/* Are they the same to a receiver? */
static bool same(const struct hook *a, const struct hook *b) {
    bool files = a->ca_file && b->ca_file ? strcmp(a->ca_file, b->ca_file) == 0 : a->ca_file == b->ca_file;
    return files && strcmp(a->url, b->url) == 0 && strcmp(a->tenant, b->tenant) == 0 &&
           a->allow_private == b->allow_private && a->types == b->types && a->retry_count == b->retry_count &&
           memcmp(a->retry_s, b->retry_s, a->retry_count * sizeof *a->retry_s) == 0 &&
           secret_eq_bytes((const uint8_t *)&a->secret, (const uint8_t *)&b->secret, sizeof a->secret);
}

/* What the one before has on its way, and has asked the store. */
static void take_flights(struct hook *k, struct hook *old) {
    struct flight *f;
    k->flights = old->flights;
    k->count = old->count;
    k->active = old->active;
    k->asked = old->asked;
    k->more = old->more;
    DL_FOREACH(k->flights, f) {
        f->hook = k;
    }
    old->flights = NULL;
}

/* One that has not changed goes on in place of its new self; else the new one takes over what is on its way. */
static void carry_over(struct webhooks *w, struct hook **list) {
    struct hook *k, *next;
    DL_FOREACH_SAFE(*list, k, next) {
        struct hook *old = webhooks_find(w, k->name);
        if (!old)
            continue;
        if (same(old, k)) {
            DL_DELETE(w->hooks, old);
            DL_REPLACE_ELEM(*list, k, old);
            old->disabled = false;
            hook_free(k);
        } else {
            take_flights(k, old);
        }
    }
}

int webhooks_load(struct webhooks *w, const struct config *cfg, struct err_text *et) {
    struct hook *list = NULL, *k;
    int err = make_hooks(&list, cfg, et);
    if (err != 0) {
        webhook_hooks_free(&list);
        return err;
    }
    DL_FOREACH(w->hooks, k) {
        webhooks_note_pending(k->name, k->pending, w);
    }
    carry_over(w, &list);
    DL_FOREACH(list, k) {
        if (!k->owner)
            adopt(w, k);
    }
    webhook_hooks_free(&w->hooks);
    w->hooks = list;
    webhooks_run(w);
    return 0;
}
