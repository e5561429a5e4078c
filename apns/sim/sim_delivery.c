/* SPDX-License-Identifier: Apache-2.0 */
/* Behind the 200: what is best effort about APNs. Loss, delay, another order, twice; one kept for each app and device.
 */
#include "apns/sim/sim_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A push between its 200 and the phone. */
struct sim_delivery {
    struct sim_delivery *prev, *next;
    char token[APNS_TOKEN_MAX_CHARS + 1], bundle[SIM_BUNDLE_BYTES];
    char collapse_id[APNS_COLLAPSE_ID_MAX_BYTES + 1];
    json_t *push, *entry; /* the message, and its place in the journal */
    bool stored_when_away, collapsed;
};

static void count(struct sim *s, const char *what) {
    char labels[64];
    snprintf(labels, sizeof labels, "result=\"%s\"", what);
    metric_add(
        metrics_counter(s->metrics, "apns_sim_deliveries_total", "Accepted pushes by what became of them.", labels), 1);
}

static void send_push(struct sim *s, ws_id phone, const json_t *push) {
    char *text = json_dumps(push, JSON_COMPACT);
    if (text)
        httpd_ws_send(s->control, phone, text, strlen(text), false);
    free(text);
}

/* A push that was kept until its apns-expiration has passed is gone. */
static bool expired(const struct sim *s, const json_t *push) {
    json_int_t expiration = json_integer_value(json_object_get(push, "expiration"));
    return expiration > 0 && (uint64_t)expiration * 1000 < sim_now_ms(s);
}

void sim_device_connected(struct sim *s, struct sim_device *d, ws_id phone) {
    d->phone = phone;
    if (d->stored && !expired(s, d->stored))
        send_push(s, phone, d->stored);
    json_decref(d->stored);
    d->stored = NULL;
}

static void delivery_end(struct sim *s, struct sim_delivery *v, const char *what) {
    json_object_set_new(v->entry, "delivered", json_string(what));
    if (s->metrics)
        count(s, what);
    DL_DELETE(s->deliveries, v);
    json_decref(v->push);
    json_decref(v->entry);
    free(v);
}

static void on_delivery(struct sim *s, void *arg, bool cancelled) {
    struct sim_delivery *v = arg;
    struct sim_device *d = cancelled ? NULL : sim_device_find(s, v->token);
    if (cancelled) {
        delivery_end(s, v, "no");
    } else if (v->collapsed) {
        delivery_end(s, v, "collapsed");
    } else if (d && d->phone) {
        send_push(s, d->phone, v->push);
        delivery_end(s, v, "yes");
    } else if (d && v->stored_when_away && s->b.delivery_store) {
        /* One stored notification per app and device: the newer takes the older's place. */
        json_decref(d->stored);
        d->stored = json_incref(v->push);
        delivery_end(s, v, "stored");
    } else {
        delivery_end(s, v, "no phone");
    }
}

static json_t *push_message(const struct sim *s, const struct sim_request *r, const char *apns_id) {
    json_error_t why;
    json_t *payload = json_loadb(r->body, r->body_len, 0, &why);
    /* A phone must report a call for each of these to the system at once, or gets no more of them. */
    bool must_report = strcmp(r->value[SIM_PUSH_TYPE], "voip") == 0;
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:I,s:I,s:b,s:o}", "type", "push", "apns_id", apns_id, "topic",
                     r->value[SIM_TOPIC], "push_type", r->value[SIM_PUSH_TYPE], "priority",
                     r->seen[SIM_PRIORITY] ? atoi(r->value[SIM_PRIORITY]) : 10, "expiration",
                     (json_int_t)strtoll(r->value[SIM_EXPIRATION], NULL, 10), "accepted_at", (json_int_t)sim_now_ms(s),
                     "must_report", must_report, "payload", payload ? payload : json_null());
}

/* Those on their way to the same device under this collapse id give way. */
static void collapse(struct sim *s, const struct sim_delivery *newer) {
    struct sim_delivery *v;
    DL_FOREACH(s->deliveries, v) {
        if (v != newer && strcmp(v->token, newer->token) == 0 && strcmp(v->bundle, newer->bundle) == 0 &&
            strcmp(v->collapse_id, newer->collapse_id) == 0)
            v->collapsed = true;
    }
}

static void start(struct sim *s, const struct sim_request *r, const char *apns_id, json_t *entry, int64_t delay_ms) {
    struct sim_delivery *v = calloc(1, sizeof *v);
    if (!v)
        return;
    v->push = push_message(s, r, apns_id);
    v->entry = json_incref(entry);
    v->stored_when_away = strcmp(r->value[SIM_EXPIRATION], "0") != 0;
    snprintf(v->token, sizeof v->token, "%s", sim_path_token(r->value[SIM_PATH]));
    snprintf(v->bundle, sizeof v->bundle, "%.255s", r->value[SIM_TOPIC]);
    snprintf(v->collapse_id, sizeof v->collapse_id, "%.64s", r->value[SIM_COLLAPSE_ID]);
    DL_APPEND(s->deliveries, v);
    if (v->collapse_id[0] && s->b.delivery_collapse)
        collapse(s, v);
    if (sim_later(s, (uint64_t)delay_ms, on_delivery, v) != 0)
        delivery_end(s, v, "no");
}

void sim_deliver(struct sim *s, const struct sim_request *r, const char *apns_id, json_t *entry) {
    const struct sim_behaviour *b = &s->b;
    int64_t delay_ms = b->delivery_delay_ms;
    if (b->delivery_drop || sim_chance(s, b->delivery_drop_percent)) {
        json_object_set_new(entry, "delivered", json_string("dropped"));
        count(s, "dropped");
        return;
    }
    if (sim_chance(s, b->delivery_reorder_percent))
        delay_ms += b->delivery_reorder_ms;
    start(s, r, apns_id, entry, delay_ms);
    if (sim_chance(s, b->delivery_duplicate_percent))
        start(s, r, apns_id, entry, delay_ms);
}
