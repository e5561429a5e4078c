/* SPDX-License-Identifier: Apache-2.0 */
/* What gateway.c (life) and gateway_reload.c (another configuration) share. */
#ifndef GATEWAY_GATEWAY_PRIV_H
#define GATEWAY_GATEWAY_PRIV_H

#include "gateway/api_console.h"
#include "gateway/api_devices.h"
#include "gateway/api_events.h"
#include "gateway/api_reports.h"
#include "gateway/api_system.h"
#include "gateway/api_webhooks.h"
#include "gateway/calls.h"
#include "gateway/gateway.h"
#include "gateway/push_service.h"
#include "gateway/webhooks.h"

enum { API_CALLS, API_WHIP, API_DEVICES, API_REPORTS, API_EVENTS, API_WEBHOOKS, API_SYSTEM, API_CONSOLE, APIS };

struct gateway {
    const struct config *cfg; /* a reference; parts that have this pointer get the next one by gateway_reload */
    const char *config_file;
    uv_loop_t loop;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t drain, prune, rotate;
    char srtp_profiles[128]; /* in OpenSSL's list syntax */
    char *dtls_certificate_file,
        *dtls_key_file; /* NULL: made ones. The media plane keeps them, not the configuration's */
    struct metrics *metrics;
    struct store *store;
    struct events *events;
    struct webhooks *webhooks;
    struct devices *devices;
    struct ringback *ringback; /* NULL: none */
    struct media *media;
    struct push_service *pushes;
    struct seal *seal; /* NULL: the config has no key */
    struct calls *calls;
    struct http *http;
    struct http_api apis[APIS];
    struct api_devices api_devices;
    struct api_reports api_reports;
    struct api_events api_events;
    struct api_webhooks api_webhooks;
    struct api_system api_system;
    struct api_console api_console;
    uint64_t drain_until_ms;
    bool ending;
    struct metric *m_reloaded, *m_refused;
};

/* gateway.c: the DTLS identity is changed for the first time when this configuration's time for it has passed. */
void gateway_rotate_from_now(struct gateway *g);

/* gateway_reload.c: read the file again, and go by it, or say why not and go on as before. */
void gateway_reload(struct gateway *g);
void gateway_reload_metrics(struct gateway *g);

#endif
