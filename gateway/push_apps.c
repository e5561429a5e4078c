/* SPDX-License-Identifier: Apache-2.0 */
/* The credentials of the configuration's apps: at start, and in place of those before. */
#include "base/log.h"
#include "gateway/push_service_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* One credential of the next configuration. */
struct planned {
    struct push_entry *entry; /* with a credential when that is a new one */
    struct push_entry *was;   /* whose credential goes on; NULL: there is none */
    bool renew;               /* with what was read */
    struct credential read;
    struct planned *next;
};

struct push_plan {
    struct push_service *owner;
    struct planned *list;
};

/* Reading and checking */

static int entry_new(struct push_entry **ep, const struct config_app *app, const struct config_apns *apns, bool other) {
    struct push_entry *e = calloc(1, sizeof *e);
    *ep = e;
    if (!e || !(e->host = strdup(apns->host)))
        return E_NOMEM;
    e->sandbox = (app->environment == CONFIG_ENV_SANDBOX) != other;
    e->port = apns->port;
    snprintf(e->app, sizeof e->app, "%s", app->name);
    snprintf(e->name, sizeof e->name, "%s%s", app->name, !other ? "" : e->sandbox ? "/sandbox" : "/production");
    if (apns->key_id[0])
        snprintf(e->sealed_name, sizeof e->sealed_name, "provider-token/%s/%s", apns->team_id, apns->key_id);
    return 0;
}

static int judge(struct push_plan *plan, struct planned *n, struct err_text *et) {
    struct push_entry *e = n->entry;
    struct push_entry *was = push_entry_find(plan->owner, e->app, e->sandbox);
    credential_print(e->print, &n->read);
    if (was && strcmp(was->name, e->name) == 0 && strcmp(was->host, e->host) == 0 && was->port == e->port)
        n->was = was;
    if (!n->was)
        return apns_credential_add(plan->owner->apns, &e->credential, &n->read.apns, et);
    n->renew = memcmp(n->was->print, e->print, sizeof e->print) != 0;
    return n->renew ? apns_credential_check(&n->read.apns, et) : 0;
}

static int plan_one(struct push_plan *plan, const struct config_app *app, bool other, struct err_text *et) {
    const struct config_apns *apns = other ? app->other_environment : &app->apns;
    struct planned *n = calloc(1, sizeof *n);
    if (!n)
        return err_say(et, E_NOMEM, "out of memory");
    LL_APPEND(plan->list, n);
    if (entry_new(&n->entry, app, apns, other) != 0)
        return err_say(et, E_NOMEM, "out of memory");
    int err = credential_read(&n->read, apns, n->entry->name, et);
    return err == 0 ? judge(plan, n, et) : err;
}

int push_service_plan(struct push_plan **pp, struct push_service *p, const struct config *cfg,
                      struct push_fault *fault) {
    struct push_plan *plan = calloc(1, sizeof *plan);
    int err = 0;
    *pp = NULL;
    if (!plan)
        return err_say(&fault->why, E_NOMEM, "out of memory");
    plan->owner = p;
    for (unsigned i = 0; i < cfg->apps_count && err == 0; i++) {
        fault->app = cfg->apps[i].name;
        snprintf(fault->key, sizeof fault->key, "apps[%u].apns", i);
        err = plan_one(plan, &cfg->apps[i], false, &fault->why);
        if (err == 0 && cfg->apps[i].other_environment) {
            snprintf(fault->key, sizeof fault->key, "apps[%u].other_environment", i);
            err = plan_one(plan, &cfg->apps[i], true, &fault->why);
        }
    }
    if (err != 0)
        plan = push_plan_free(plan);
    *pp = plan;
    return err;
}

struct push_plan *push_plan_free(struct push_plan *plan) {
    struct planned *n, *next;
    if (!plan)
        return NULL;
    LL_FOREACH_SAFE(plan->list, n, next) {
        if (n->entry && n->entry->credential)
            apns_credential_retire(n->entry->credential);
        if (n->entry)
            push_entry_free(n->entry);
        credential_wipe(&n->read);
        free(n);
    }
    free(plan);
    return NULL;
}

/* Carrying it out */

/* What it had goes on, and what is told of it. */
static void take_over(struct planned *n) {
    struct err_text et = {""};
    struct push_entry *e = n->entry;
    e->credential = n->was->credential;
    n->was->credential = NULL;
    memcpy(e->alarmed_ms, n->was->alarmed_ms, sizeof e->alarmed_ms);
    if (!n->renew)
        return;
    if (apns_credential_reload(e->credential, &n->read.apns, &et) == 0) {
        log_info("apns credential renewed", log_s("credential", e->name));
        return;
    }
    memcpy(e->print, n->was->print, sizeof e->print); /* so that the next reload tries again */
    log_error("apns credential not renewed", log_s("credential", e->name), log_s("detail", et.s),
              log_s("then", "the one before goes on; reload again"));
}

static void leave(struct push_service *p) {
    struct push_entry *e, *next;
    DL_FOREACH_SAFE(p->entries, e, next) {
        DL_DELETE(p->entries, e);
        if (e->credential)
            DL_APPEND(p->leaving, e);
        else
            push_entry_free(e);
    }
}

static void pair(struct push_service *p) {
    struct push_entry *e;
    DL_FOREACH(p->entries, e) {
        const struct push_entry *other = push_entry_find(p, e->app, !e->sandbox);
        apns_credential_pair(e->credential, other ? other->credential : NULL);
    }
}

unsigned push_service_carry_out(struct push_plan *plan) {
    struct push_service *p = plan->owner;
    struct planned *n;
    struct push_entry *e;
    unsigned changed = 0;
    LL_FOREACH(plan->list, n) {
        changed += n->renew || !n->was;
        if (n->was)
            take_over(n);
    }
    leave(p);
    LL_FOREACH(plan->list, n) {
        DL_APPEND(p->entries, n->entry);
        n->entry = NULL;
    }
    pair(p);
    DL_FOREACH(p->leaving, e) {
        apns_credential_pair(e->credential, NULL);
    }
    push_plan_free(plan);
    return changed;
}

void push_service_sweep(struct push_service *p, bool (*let_go)(const struct apns_credential *c, void *arg), void *arg) {
    struct push_entry *e, *next;
    DL_FOREACH_SAFE(p->leaving, e, next) {
        if (!let_go(e->credential, arg))
            continue;
        log_info("apns credential retired", log_s("credential", e->name), log_s("host", e->host));
        apns_credential_retire(e->credential);
        DL_DELETE(p->leaving, e);
        push_entry_free(e);
    }
}
