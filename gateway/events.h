/* SPDX-License-Identifier: Apache-2.0 */
/* What happens, for call servers: each event is in the store, in the transaction of what it tells about, and goes from
 * there to the listeners of GET /v1/events and to webhooks. Thread: loop. */
#ifndef GATEWAY_EVENTS_H
#define GATEWAY_EVENTS_H

#include "base/buf.h"
#include "base/metrics.h"
#include "gateway/http.h"
#include "gateway/store.h"

#include <jansson.h>

/* What their data holds is in openapi.yaml, EventData. */
enum event_type {
    EVENT_CALL_RINGING,
    EVENT_CALL_ANSWERED,
    EVENT_CALL_ACTIVE,
    EVENT_CALL_ENDED,
    EVENT_PUSH_ACCEPTED,
    EVENT_PUSH_REJECTED,
    EVENT_PUSH_OUTCOME,
    EVENT_PUSH_UNHEARD,
    EVENT_RECEIPT,
    EVENT_DEVICE_REGISTERED,
    EVENT_DEVICE_UPDATED,
    EVENT_DEVICE_HEALTH,
    EVENT_DEVICE_DELETED,
    EVENT_TYPES
};

const char *event_type_name(enum event_type t); /* "call.ringing" */
/* EVENT_TYPES when unknown. */
enum event_type event_type_by_name(const char *name);
/* The types, as bits, that a pattern with * and ? matches. */
unsigned event_types_matching(const char *pattern);
/* The types, as bits, that a token of these scopes may hear of. */
unsigned event_types_of_scopes(unsigned scopes);
/* {"id": ..., "type": ..., "timestamp": ..., "data": ...}: the same for listeners and webhooks. */
void event_write(struct buf *out, const struct event_row *row);

struct events;
struct webhooks;

/* Reads where the store's events end; nothing may have been submitted to it yet. Returns 0, or E_* with a sentence. */
int events_new(struct events **ep, uv_loop_t *loop, struct store *store, struct metrics *m, struct err_text *et);
/* Where events go to, beside the store. */
void events_attach_http(struct events *e, struct http *http);
void events_attach_webhooks(struct events *e, struct webhooks *w);
/* No further listeners; the streams end when they have what there is. */
void events_close(struct events *e);
/* The store and the loop are gone. Returns NULL. */
struct events *events_free(struct events *e);

/* Something happens. To be called before the write that it belongs to is asked of the store. data is stolen. e NULL:
 * nobody wants to know. */
void events_add(struct events *e, enum event_type type, const char *tenant, json_t *data);

/* The id of the latest event. */
uint64_t events_last_id(const struct events *e);
/* Tells this database's events from another's. */
const char *events_source(const struct events *e);
struct event_streams *events_streams(const struct events *e);

#endif
