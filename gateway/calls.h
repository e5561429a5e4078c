/* SPDX-License-Identifier: Apache-2.0 */
/* All calls of this gateway: each is a state machine (call_fsm) with its push, its media and its phones around it.
 * Thread: loop. */
#ifndef GATEWAY_CALLS_H
#define GATEWAY_CALLS_H

#include "apns/apns.h"
#include "base/metrics.h"
#include "base/seal.h"
#include "config/config.h"
#include "dtls/media.h"
#include "gateway/devices.h"
#include "gateway/events.h"
#include "gateway/http.h"
#include "gateway/push_service.h"
#include "gateway/store.h"

#include <uv.h>

struct calls;

/* Everything a call needs; all outlive the calls, config until calls_set_config. http is set by calls_attach_http,
 * since both need each other. */
struct calls_deps {
    uv_loop_t *loop;
    const struct config *config;
    struct store *store;
    struct devices *devices;
    struct media *media;
    struct metrics *metrics;
    struct push_service *pushes;
    struct events *events;   /* NULL: nobody wants to know */
    const struct seal *seal; /* what lies on the disk for a crash is closed with it; NULL: nothing does */
};

int calls_new(struct calls **cp, const struct calls_deps *deps);
void calls_attach_http(struct calls *c, struct http *h);
/* New calls go by this configuration from now on; those that there are keep a reference to theirs. */
void calls_set_config(struct calls *c, const struct config *cfg);
/* For push_service_sweep: no call will push by it any more, and none points to it. */
bool calls_let_go(const struct apns_credential *credential, void *calls);
/* What the store knew at start: calls that a crash left open go on where all parts of them were kept, and else end with
 * reason "error"; keys go on answering. */
void calls_load_kept(struct calls *c, const struct kept_row *row);
void calls_load_call(struct calls *c, const struct call_row *row);
void calls_load_push(struct calls *c, const struct push_row *row);
void calls_load_idempotency(struct calls *c, const struct idempotency_row *row);

/* All is loaded, and the API is there: phones of calls that go on are called as the loss of their connections asks. */
void calls_loaded(struct calls *c);

/* The REST handlers of calls, receipts and timelines; arg is a struct calls. */
extern const struct http_route calls_routes[];
extern const size_t calls_route_count;
/* WHIP; arg is a struct calls. */
extern const struct http_route whip_routes[];
extern const size_t whip_route_count;
/* The phones' side; arg is a struct calls. */
extern const struct ws_ops calls_ws_ops;

/* The device's secret is another one, or (deleted) it is not registered any more: its connections are ended, its attach
 * tokens are worth nothing, and a deleted device is out of its calls. arg is a struct calls; a devices_revoked_cb. */
void calls_device_revoked(const char *tenant, const char *device, bool deleted, void *arg);

/* Refuse new calls with 503 from now on. */
void calls_drain(struct calls *c);
/* Calls not ended. */
size_t calls_live(const struct calls *c);
/* End every call that is left (reason "error"), tell the phones, give the media back. done(arg) when all is stored. */
void calls_close(struct calls *c, void (*done)(void *arg), void *arg);
struct calls *calls_free(struct calls *c);

#endif
