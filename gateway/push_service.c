/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "gateway/push_service_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define ALARM_SHOWN_MS (24ULL * 3600 * 1000)

static const char *const alarm_names[PUSH_ALARMS] = {"credential", "topic", "clock", "bad_tokens", "expiry", "bug"};

/* Alarms */

static void on_alarm(enum apns_alarm alarm, const char *credential, const char *sentence, void *arg) {
    struct push_service *p = arg;
    char labels[PUSH_NAME_BYTES + 64];
    struct push_entry *e;
    (void)sentence; /* the client has logged it */
    snprintf(labels, sizeof labels, "credential=\"%s\",alarm=\"%s\"", credential, alarm_names[alarm]);
    metric_add(metrics_counter(p->metrics, "wakegate_apns_alarms_total",
                               "What an operator must see to; the log says how.", labels),
               1);
    DL_FOREACH(p->entries, e) {
        if (strcmp(e->name, credential) == 0)
            e->alarmed_ms[alarm] = clock_wall_ms();
    }
}

json_t *push_service_alarms(const struct push_service *p) {
    char at[CLOCK_RFC3339_BYTES];
    uint64_t now_ms = clock_wall_ms();
    json_t *list = json_array();
    const struct push_entry *e;
    DL_FOREACH(p->entries, e) {
        for (int k = 0; k < PUSH_ALARMS; k++) {
            uint64_t at_ms = e->alarmed_ms[k];
            if (at_ms && now_ms - at_ms < ALARM_SHOWN_MS)
                json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "credential", e->name, "alarm", alarm_names[k],
                                                      "at", clock_rfc3339(at, at_ms)));
        }
    }
    return list;
}

/* Provider tokens */

static void on_minted(struct apns_credential *c, void *arg) {
    struct push_service *p = arg;
    char exported[APNS_TOKEN_EXPORT_MAX_BYTES], *closed;
    const struct push_entry *e;
    size_t len = p->seal ? apns_credential_token_export(c, exported) : 0;
    DL_SEARCH_SCALAR(p->entries, e, credential, c);
    if (len && e && seal_close(&closed, p->seal, exported, len, e->sealed_name) == 0) {
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
    const struct push_entry *e;
    DL_FOREACH(p->entries, e) {
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

struct push_entry *push_entry_find(const struct push_service *p, const char *app, bool sandbox) {
    struct push_entry *e;
    DL_FOREACH(p->entries, e) {
        if (strcmp(e->app, app) == 0 && e->sandbox == sandbox)
            return e;
    }
    return NULL;
}

void push_entry_free(struct push_entry *e) {
    free(e->host);
    free(e);
}

struct apns_credential *push_service_credential(const struct push_service *p, const char *app, bool sandbox) {
    const struct push_entry *e = push_entry_find(p, app, sandbox);
    return e ? e->credential : NULL;
}

bool push_service_is_sandbox(const struct push_service *p, const struct apns_credential *c) {
    const struct push_entry *e;
    DL_SEARCH_SCALAR(p->entries, e, credential, c);
    if (!e)
        DL_SEARCH_SCALAR(p->leaving, e, credential, c);
    return e && e->sandbox;
}

json_t *push_service_connections(const struct push_service *p) {
    json_t *o = json_object();
    const struct push_entry *e;
    DL_FOREACH(p->entries, e) {
        json_object_set_new(o, e->name,
                            json_string(apns_credential_ready(e->credential) ? "connected" : "not connected"));
    }
    return o;
}

bool push_service_ready(const struct push_service *p) {
    bool ready = p->entries == NULL;
    const struct push_entry *e;
    DL_FOREACH(p->entries, e) {
        ready = ready || apns_credential_ready(e->credential);
    }
    return ready;
}

/* Life */

static void free_entries(struct push_entry **list) {
    struct push_entry *e, *next;
    DL_FOREACH_SAFE(*list, e, next) {
        DL_DELETE(*list, e);
        push_entry_free(e);
    }
}

static void on_closed(void *arg) {
    struct push_service *p = arg;
    void (*done)(void *) = p->done;
    void *done_arg = p->done_arg;
    free_entries(&p->entries);
    free_entries(&p->leaving);
    free(p);
    done(done_arg);
}

int push_service_new(struct push_service **pp, uv_loop_t *loop, const struct config *cfg, struct metrics *m,
                     struct err_text *et) {
    struct push_service *p = calloc(1, sizeof *p);
    struct push_fault fault = {.app = ""};
    struct push_plan *plan;
    if (!p || apns_new(&p->apns, loop, m) != 0) {
        free(p);
        return err_say(et, E_NOMEM, "out of memory");
    }
    p->metrics = m;
    apns_set_alarm(p->apns, on_alarm, p);
    apns_set_minted(p->apns, on_minted, p);
    *pp = p; /* also when it fails: the client has handles to be closed */
    int err = push_service_plan(&plan, p, cfg, &fault);
    if (err != 0)
        return err_say(et, err, "%s (%s): %s", fault.key, fault.app, fault.why.s);
    push_service_carry_out(plan);
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
