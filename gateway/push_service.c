/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/push_service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "gateway/credential.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALARM_SHOWN_MS    (24ULL * 3600 * 1000)
#define ALARMS            (APNS_ALARM_BUG + 1)
#define SEALED_NAME_BYTES 64
#define NAME_BYTES        96

static const char *const alarm_names[ALARMS] = {"credential", "topic", "clock", "bad_tokens", "expiry", "bug"};

/* An app in one environment. */
struct entry {
    const struct config_app *app;
    bool sandbox;
    char name[NAME_BYTES];
    char sealed_name[SEALED_NAME_BYTES]; /* of its provider token; "": it has none */
    struct apns_credential *credential;
    uint64_t alarmed_ms[ALARMS]; /* Unix */
};

struct push_service {
    struct apns *apns;
    struct metrics *metrics;
    struct store *store;
    const struct seal *seal;
    struct entry *entries;
    size_t count;
    void (*done)(void *arg);
    void *done_arg;
};

/* Alarms */

static void on_alarm(enum apns_alarm alarm, const char *credential, const char *sentence, void *arg) {
    struct push_service *p = arg;
    char labels[NAME_BYTES + 64];
    (void)sentence; /* the client has logged it */
    snprintf(labels, sizeof labels, "credential=\"%s\",alarm=\"%s\"", credential, alarm_names[alarm]);
    metric_add(metrics_counter(p->metrics, "wakegate_apns_alarms_total",
                               "What an operator must see to; the log says how.", labels),
               1);
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->entries[i].name, credential) == 0)
            p->entries[i].alarmed_ms[alarm] = clock_wall_ms();
}

json_t *push_service_alarms(const struct push_service *p) {
    char at[CLOCK_RFC3339_BYTES];
    uint64_t now_ms = clock_wall_ms();
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++)
        for (int k = 0; k < ALARMS; k++) {
            uint64_t at_ms = p->entries[i].alarmed_ms[k];
            if (at_ms && now_ms - at_ms < ALARM_SHOWN_MS)
                json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "credential", p->entries[i].name, "alarm",
                                                      alarm_names[k], "at", clock_rfc3339(at, at_ms)));
        }
    return list;
}

/* Provider tokens */

static void on_minted(struct apns_credential *c, void *arg) {
    struct push_service *p = arg;
    char exported[APNS_TOKEN_EXPORT_MAX_BYTES], *closed;
    struct entry *e = p->entries;
    size_t len = p->seal ? apns_credential_token_export(c, exported) : 0;
    while (e < p->entries + p->count && e->credential != c)
        e++;
    if (len && e < p->entries + p->count && seal_close(&closed, p->seal, exported, len, e->sealed_name) == 0) {
        struct sealed_row row = {e->sealed_name, closed, clock_wall_ms()};
        store_sealed_put(p->store, &row, NULL, NULL);
        free(closed);
    }
    secret_wipe(exported, sizeof exported);
}

void push_service_keep_tokens(struct push_service *p, struct store *store, const struct seal *seal) {
    p->store = store;
    p->seal = seal;
}

void push_service_load(struct push_service *p, const struct sealed_row *row) {
    for (size_t i = 0; i < p->count; i++) {
        const struct entry *e = &p->entries[i];
        char *plain;
        size_t len;
        if (!p->seal || strcmp(row->name, e->sealed_name) != 0)
            continue;
        int err = seal_open(&plain, &len, p->seal, row->value, row->name);
        if (err == 0) {
            err = apns_credential_token_import(e->credential, plain, len);
            secret_free(plain, len);
        }
        /* E_STATE: apps that share a key share its token. */
        if (err != 0 && err != E_STATE)
            log_info("provider token not taken over", log_s("credential", e->name), log_s("error", err_str(err)),
                     log_s("then", "a new one is made"));
    }
}

/* Credentials */

static int add(struct push_service *p, struct entry *e, const struct config_apns *apns, struct err_text *et) {
    struct credential c;
    int err = credential_read(&c, apns, e->name, et);
    if (err == 0)
        err = apns_credential_add(p->apns, &e->credential, &c.apns, et);
    credential_wipe(&c);
    if (err == 0 && apns->key_id[0])
        snprintf(e->sealed_name, sizeof e->sealed_name, "provider-token/%s/%s", apns->team_id, apns->key_id);
    return err;
}

static int add_app(struct push_service *p, unsigned index, const struct config_app *app, struct err_text *et) {
    bool sandbox = app->environment == CONFIG_ENV_SANDBOX;
    struct entry *e = &p->entries[p->count++], *other;
    struct err_text why = {""};
    *e = (struct entry){.app = app, .sandbox = sandbox};
    snprintf(e->name, sizeof e->name, "%s", app->name);
    int err = add(p, e, &app->apns, &why);
    if (err != 0)
        return err_say(et, err, "apps[%u] (%s): apns: %s", index, app->name, why.s);
    if (!app->other_environment)
        return 0;
    other = &p->entries[p->count++];
    *other = (struct entry){.app = app, .sandbox = !sandbox};
    snprintf(other->name, sizeof other->name, "%s/%s", app->name, sandbox ? "production" : "sandbox");
    err = add(p, other, app->other_environment, &why);
    if (err != 0)
        return err_say(et, err, "apps[%u] (%s): other_environment: %s", index, app->name, why.s);
    apns_credential_pair(e->credential, other->credential);
    return 0;
}

struct apns_credential *push_service_credential(const struct push_service *p, const char *app, bool sandbox) {
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->entries[i].app->name, app) == 0 && p->entries[i].sandbox == sandbox)
            return p->entries[i].credential;
    return NULL;
}

bool push_service_is_sandbox(const struct push_service *p, const struct apns_credential *c) {
    for (size_t i = 0; i < p->count; i++)
        if (p->entries[i].credential == c)
            return p->entries[i].sandbox;
    return false;
}

json_t *push_service_connections(const struct push_service *p) {
    json_t *o = json_object();
    for (size_t i = 0; i < p->count; i++)
        json_object_set_new(
            o, p->entries[i].name,
            json_string(apns_credential_ready(p->entries[i].credential) ? "connected" : "not connected"));
    return o;
}

bool push_service_ready(const struct push_service *p) {
    bool ready = p->count == 0;
    for (size_t i = 0; i < p->count; i++)
        ready = ready || apns_credential_ready(p->entries[i].credential);
    return ready;
}

/* Life */

static void on_closed(void *arg) {
    struct push_service *p = arg;
    void (*done)(void *) = p->done;
    void *done_arg = p->done_arg;
    free(p->entries);
    free(p);
    done(done_arg);
}

int push_service_new(struct push_service **pp, uv_loop_t *loop, const struct config *cfg, struct metrics *m,
                     struct err_text *et) {
    struct push_service *p = calloc(1, sizeof *p);
    struct entry *entries = calloc(2 * (size_t)cfg->apps_count + 1, sizeof *entries);
    if (!p || !entries || apns_new(&p->apns, loop, m) != 0) {
        free(p);
        free(entries);
        return err_say(et, E_NOMEM, "out of memory");
    }
    p->entries = entries;
    p->metrics = m;
    apns_set_alarm(p->apns, on_alarm, p);
    apns_set_minted(p->apns, on_minted, p);
    *pp = p; /* also when it fails: the client has handles to be closed */
    for (unsigned i = 0; i < cfg->apps_count; i++) {
        int err = add_app(p, i, &cfg->apps[i], et);
        if (err != 0)
            return err;
    }
    return 0;
}

void push_service_drain(struct push_service *p, uint64_t limit_ms, void (*done)(void *arg), void *arg) {
    apns_drain(p->apns, limit_ms, done, arg);
}

void push_service_close(struct push_service *p, void (*done)(void *arg), void *arg) {
    p->done = done;
    p->done_arg = arg;
    apns_close(p->apns, on_closed, p);
}
