/* SPDX-License-Identifier: Apache-2.0 */
/* How a phone is, by its pushes: health.c judges, and what follows for a call is call_fsm's business. */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS 3600000ULL

/* A device whose rows are being read. */
struct review {
    struct calls *calls;
    char tenant[DEVICE_TENANT_BYTES], device[DEVICE_ID_BYTES];
    struct config_must_report rules;
};

static void on_rows(int err, const struct push_row *pushes, size_t count, void *arg) {
    struct review *v = arg;
    struct calls *cs = v->calls;
    const struct device *dev = devices_get(cs->d.devices, v->tenant, v->device);
    struct health_row rows[HEALTH_ROWS_MAX];
    struct health h;
    for (size_t i = 0; i < count && i < HEALTH_ROWS_MAX; i++)
        rows[i] = (struct health_row){.accepted = pushes[i].status == 200,
                                      .heard = pushes[i].receipt_ms > 0 || pushes[i].attached_ms > 0,
                                      .open = pushes[i].outcome[0] == 0,
                                      .violated = strcmp(pushes[i].outcome, "violated") == 0,
                                      .queued_ms = pushes[i].queued_ms};
    /* Why a phone was blocked stays as it was said then, with the violations that have left the window since. */
    if (err == 0 && dev && health_judge(&h, rows, count, &v->rules, dev->health_cause, clock_wall_ms()) &&
        (h.cause != HEALTH_BLOCKED || dev->health_cause != HEALTH_BLOCKED))
        devices_set_health(cs->d.devices, v->tenant, v->device, &h);
    free(v);
    cs->writes--;
    calls_close_when_stored(cs);
}

/* Without a call at hand: the rules of the route that would take one. */
static struct config_must_report rules_for(const struct calls *cs, const struct device *dev) {
    const struct config_query q = {.callee = dev->user, .caller = "", .tenant = dev->tenant};
    const struct config_route *r = config_route(cs->d.config, &q, NULL);
    return r ? r->must_report : cs->d.config->routes[0].must_report;
}

void calls_health_review(struct calls *cs, const char *tenant, const char *device,
                         const struct config_must_report *rules) {
    const struct device *dev = devices_get(cs->d.devices, tenant, device);
    struct review *v = dev && !cs->closing ? calloc(1, sizeof *v) : NULL;
    if (!v)
        return;
    v->calls = cs;
    v->rules = rules ? *rules : rules_for(cs, dev);
    snprintf(v->tenant, sizeof v->tenant, "%s", tenant);
    snprintf(v->device, sizeof v->device, "%s", device);
    if (store_push_recent(cs->d.store, tenant, device, dev->token_since_ms, HEALTH_ROWS_MAX, on_rows, v) != 0)
        free(v);
    else
        cs->writes++;
}

void call_health_heard(struct call *c, const struct call_device *d, const struct ledger *l) {
    const struct device *dev = devices_get(c->owner->d.devices, c->tenant, d->id);
    bool well = l->outcome == LEDGER_OPEN || l->outcome == LEDGER_REPORTED || l->outcome == LEDGER_EXEMPT ||
                l->outcome == LEDGER_FILTERED;
    /* A healthy phone that does well stays so: nothing is to be read. */
    if (l->why != LEDGER_ALERT && dev && (!well || dev->health_cause != HEALTH_FINE))
        calls_health_review(c->owner, c->tenant, d->id, &c->route->must_report);
}

enum call_way call_way_to(const struct call *c, const struct call_device *d, bool *suspect) {
    const struct calls *cs = c->owner;
    const struct device *dev = devices_get(cs->d.devices, c->tenant, d->id);
    enum device_health health = dev ? device_health(dev) : DEVICE_OK;
    struct ledger_known known = {0};
    *suspect = health == DEVICE_SUSPECT;
    phone_known(cs, c->tenant, d->id, &known);
    if (known.on_call && c->route->on_call == CONFIG_ON_CALL_BUSY)
        return CALL_WAY_BUSY;
    if (phone_awake(cs, c->tenant, d->id))
        return CALL_WAY_CONNECTION;
    if (health == DEVICE_BLOCKED)
        return clock_wall_ms() - dev->voip_ms < c->route->must_report.blocked_retry_h * HOUR_MS ? CALL_WAY_ALERT
                                                                                                : CALL_WAY_BOTH;
    /* An app that shows calls by itself would be ended by iOS for a VoIP push. */
    return dev && dev->ui == DEVICE_UI_ALERT ? CALL_WAY_ALERT : CALL_WAY_PUSH;
}

void call_note_overdue(struct call *c, unsigned device) {
    call_note_device(c, 0, "receipt_overdue", device);
}

void call_note_second_path(struct call *c, unsigned device) {
    const char *path = call_second_path_name(c->fsm.second), *id = c->devices[device].id;
    char labels[32];
    events_add(c->owner->d.events, EVENT_PUSH_UNHEARD, c->tenant,
               json_pack("{s:s,s:s,s:s,s:s}", "call", c->id, "device", id, "push", c->devices[device].pushes[0].id,
                         "second_path", path));
    call_note(c, 0, "second_path", json_pack("{s:s,s:s}", "device", id, "path", path));
    log_warn("no receipt", log_s("call", c->id), log_s("device", id), log_s("second_path", path));
    snprintf(labels, sizeof labels, "path=\"%s\"", path);
    metric_add(metrics_counter(c->owner->d.metrics, "wakegate_second_paths_total",
                               "Phones that were not heard of in time, by what was done then.", labels),
               1);
    call_store(c, NULL, NULL, NULL); /* what the event belongs to */
}
