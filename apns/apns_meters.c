/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_core_priv.h"

#include <stdio.h>
#include <utlist.h>

#define PRESSURE_MS 60000
#define GAUGES_MS   1000

static const char pushes[] = "wakegate_apns_pushes_total";
static const char pushes_help[] = "Pushes by result and APNs' reason.";
static const char retries[] = "wakegate_apns_retries_total";
static const char retries_help[] =
    "Pushes sent again: refused (not processed), unknown (no answer), answered (APNs asked for it).";

void apns_meters_init(struct apns_core *k) {
    k->queue_wait = metrics_histogram(k->metrics, "wakegate_apns_queue_seconds", "From taken to written.", "");
    k->answer_time = metrics_histogram(k->metrics, "wakegate_apns_answer_seconds", "From written to answered.", "");
}

static struct metric *result_meter(const struct apns_credential *c, const char *result, const char *reason) {
    char labels[APNS_LABELS_BYTES], app[96], why[96];
    snprintf(labels, sizeof labels, "app=\"%s\",result=\"%s\",reason=\"%s\"", metrics_escape(app, sizeof app, c->name),
             result, metrics_escape(why, sizeof why, reason));
    return metrics_counter(c->core->metrics, pushes, pushes_help, labels);
}

static struct metric *retry_meter(const struct apns_credential *c, const char *class) {
    char labels[APNS_LABELS_BYTES], app[96];
    snprintf(labels, sizeof labels, "app=\"%s\",class=\"%s\"", metrics_escape(app, sizeof app, c->name), class);
    return metrics_counter(c->core->metrics, retries, retries_help, labels);
}

void apns_meters_add(struct apns_credential *c) {
    struct apns_meters *m = &c->meters;
    char labels[APNS_LABELS_BYTES], app[96];
    snprintf(labels, sizeof labels, "app=\"%s\"", metrics_escape(app, sizeof app, c->name));
    m->accepted = result_meter(c, "accepted", "");
    m->withdrawn = result_meter(c, "withdrawn", "");
    m->expired = result_meter(c, "expired", "");
    m->refused = retry_meter(c, "refused");
    m->unknown = retry_meter(c, "unknown");
    m->answered = retry_meter(c, "answered");
    m->hedged = metrics_counter(c->core->metrics, "wakegate_apns_hedged_total",
                                "Pushes sent on a second connection because the first did not answer.", labels);
    m->pressure = metrics_gauge(c->core->metrics, "wakegate_apns_error_pressure",
                                "Refusals in the last whole minute; APNs slows down who makes many.", labels);
    m->connects = metrics_counter(c->core->metrics, "wakegate_apns_connects_total", "Connections begun.", labels);
}

void apns_meters_result(struct apns_credential *c, const struct apns_result *r) {
    struct apns_meters *m = &c->meters;
    if (r->verdict == APNS_ACCEPTED)
        metric_add(m->accepted, 1);
    else if (r->verdict == APNS_NOT_SENT && r->err == E_CLOSED)
        metric_add(m->withdrawn, 1);
    else if (r->verdict == APNS_NOT_SENT && r->err == E_EXPIRED)
        metric_add(m->expired, 1);
    else if (c->core->metrics)
        metric_add(result_meter(c, r->status ? "rejected" : "failed", r->status ? r->reason : err_str(r->err)), 1);
}

static void gauge(const struct apns_link *l, const char *name, const char *help, int64_t value) {
    static const char *const lanes[APNS_LANES] = {"ring", "probe", "bulk"};
    char labels[APNS_LABELS_BYTES], app[96];
    snprintf(labels, sizeof labels, "app=\"%s\",lane=\"%s\",connection=\"%u\"",
             metrics_escape(app, sizeof app, l->credential->name), lanes[l->lane], l->slot);
    metric_set(metrics_gauge(l->credential->core->metrics, name, help, labels), value);
}

void apns_meters_link(const struct apns_link *l) {
    const struct apns_core *k = l->credential->core;
    if (!k->metrics)
        return;
    bool up = l->state >= APNS_LINK_UP && l->session;
    gauge(l, "wakegate_apns_connection_streams", "Requests under way.", up ? apns_session_open(l->session) : 0);
    gauge(l, "wakegate_apns_connection_streams_max", "Streams that APNs allows.",
          up ? apns_session_limit(l->session) : 0);
    gauge(l, "wakegate_apns_connection_window_bytes", "Send window.", up ? apns_session_window(l->session) : 0);
    gauge(l, "wakegate_apns_connection_age_seconds", "Since the connection began; 0: not up.",
          up ? (int64_t)(apns_now_ms(k) - l->dialled_ms) / 1000 : 0);
    gauge(l, "wakegate_apns_connection_token_age_seconds", "Of its provider token.",
          up && l->token ? apns_token_age_ms(l->token, &l->use, &k->now) / 1000 : 0);
}

void apns_meters_gauges(struct apns_core *k) {
    uint64_t now_ms = apns_now_ms(k);
    struct apns_credential *c;
    struct apns_link *l;
    if (!k->metrics || now_ms < k->gauges_ms)
        return;
    k->gauges_ms = now_ms + GAUGES_MS;
    LL_FOREACH(k->credentials, c) {
        if (now_ms - c->meters.pressure_ms >= PRESSURE_MS) {
            metric_set(c->meters.pressure, c->meters.rejected);
            c->meters.rejected = 0;
            c->meters.pressure_ms = now_ms;
        }
        DL_FOREACH(c->links, l) {
            apns_meters_link(l);
        }
    }
}
