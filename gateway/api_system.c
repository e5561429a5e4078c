/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/api_system.h"

#include <stdio.h>
#include <string.h>

/* gateway/openapi.yaml, as a NUL-terminated text inside the program. */
extern const char openapi_yaml[];
__asm__(".pushsection .rodata\n"
        "openapi_yaml:\n"
        ".incbin \"" OPENAPI_YAML "\"\n"
        ".byte 0\n"
        ".popsection\n");

static void get_health(const struct http_request *r, void *arg) {
    const struct api_system *a = arg;
    http_reply_json(a->http, r->id, 200, json_pack("{s:s,s:s}", "status", "ok", "version", WAKEGATE_VERSION), NULL, 0);
}

/* Ready: the database takes writes, no drain, and one APNs connection is up where there are any. */
static void get_ready(const struct http_request *r, void *arg) {
    const struct api_system *a = arg;
    bool store = store_ok(a->store), ready = store && push_service_ready(a->pushes) && !a->draining;
    http_reply_json(a->http, r->id, ready ? 200 : 503,
                    json_pack("{s:s,s:s,s:b,s:o,s:o}", "status", ready ? "ready" : "not ready", "store",
                              store ? "ok" : "takes no writes", "draining", a->draining, "apns",
                              push_service_connections(a->pushes), "alarms", push_service_alarms(a->pushes)),
                    NULL, 0);
}

/* A worker counts by itself; what it counted since the last time is added here. */
static void take_worker_totals(const struct api_system *a, unsigned worker) {
    struct media_totals t;
    char label[32];
    media_worker_totals(a->media, worker, &t);
    snprintf(label, sizeof label, "worker=\"%u\"", worker);
    const struct {
        const char *name, *help;
        uint64_t value;
    } counters[] = {
        {"wakegate_media_received_packets_total", "Datagrams received by the media workers.", t.rx_pkts},
        {"wakegate_media_sent_packets_total", "Datagrams sent by the media workers.", t.tx_pkts},
        {"wakegate_stun_requests_total", "STUN messages received.", t.stun_requests},
        {"wakegate_stun_rejected_total", "STUN messages of no known leg, or that failed their check.", t.stun_rejected},
        {"wakegate_stun_checked_total", "STUN messages of a known leg whose integrity was checked.", t.stun_checked},
        {"wakegate_stun_over_budget_total", "STUN messages of a known leg refused unchecked, as too many.",
         t.stun_over_budget},
        {"wakegate_dtls_handshakes_total", "DTLS handshakes done.", t.dtls_handshakes},
        {"wakegate_dtls_failed_total", "DTLS associations that failed.", t.dtls_failed},
        {"wakegate_media_unknown_source_packets_total", "Datagrams from addresses that no check vouches for.",
         t.unknown_source_pkts},
        {"wakegate_media_malformed_packets_total", "Datagrams of no known protocol.", t.malformed_pkts},
        {"wakegate_media_auth_failed_packets_total", "SRTP packets that failed authentication.", t.auth_failed_pkts},
        {"wakegate_media_held_packets_total", "Packets that waited for the phone's path after the answer.",
         t.held_pkts},
        {"wakegate_media_ringback_packets_total", "Packets of the ringback tone sent to callers.", t.ringback_pkts},
        {"wakegate_media_events_lost_total", "Events that a worker could not hand over.", t.events_lost},
    };
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
        struct metric *m = metrics_counter(a->metrics, counters[i].name, counters[i].help, label);
        metric_add(m, counters[i].value - metric_value(m));
    }
    metric_set(metrics_gauge(a->metrics, "wakegate_media_calls", "Calls that hold media.", label), (int64_t)t.calls);
}

static void get_metrics(const struct http_request *r, void *arg) {
    const struct api_system *a = arg;
    struct buf out = {0};
    for (unsigned i = 0; i < media_workers(a->media); i++)
        take_worker_totals(a, i);
    metrics_render(a->metrics, &out);
    http_reply(a->http, r->id, 200, "text/plain; version=0.0.4; charset=utf-8", out.p ? out.p : "", out.len, NULL, 0);
    buf_free(&out);
}

static void get_openapi(const struct http_request *r, void *arg) {
    const struct api_system *a = arg;
    http_reply(a->http, r->id, 200, "application/yaml", openapi_yaml, strlen(openapi_yaml), NULL, 0);
}

const struct http_route api_system_routes[] = {
    {"GET", "/healthz", HTTP_AUTH_NONE, 0, get_health},
    {"GET", "/readyz", HTTP_AUTH_NONE, 0, get_ready},
    {"GET", "/metrics", HTTP_AUTH_NONE, 0, get_metrics},
    {"GET", "/v1/openapi.yaml", HTTP_AUTH_NONE, 0, get_openapi},
};
const size_t api_system_route_count = sizeof api_system_routes / sizeof *api_system_routes;
