/* SPDX-License-Identifier: Apache-2.0 */
/* The listeners of GET /v1/events (server-sent events, WHATWG HTML 9.2). One that resumes reads the store page by page
 * until it has all, and takes from then on what is published: in order, nothing twice, nothing left out. The latest
 * events are in memory once, for all listeners; each has its place among them. One that falls behind them is cut off,
 * and resumes from the store. Thread: loop. */
#ifndef GATEWAY_EVENT_STREAMS_H
#define GATEWAY_EVENT_STREAMS_H

#include "base/metrics.h"
#include "gateway/events.h"
#include "gateway/http.h"
#include "gateway/store.h"

#define EVENT_STREAMS_KEPT        2048 /* events in memory while somebody listens, some 400 bytes each */
#define EVENT_STREAMS_TOKEN_MAX   100  /* listeners of one token */
#define EVENT_STREAMS_KEEPALIVE_S 15

struct event_streams;

int event_streams_new(struct event_streams **sp, uv_loop_t *loop, struct store *store, struct metrics *m);
void event_streams_attach(struct event_streams *s, struct http *http);
/* The streams end when they have what is published. */
void event_streams_close(struct event_streams *s);
/* The loop is gone. Returns NULL. */
struct event_streams *event_streams_free(struct event_streams *s);

struct event_listener {
    const char *tenant, *token_hash, *principal; /* of the API token: whose events, SHA-256 in hex, its name */
    unsigned types;                              /* bits of enum event_type */
    bool resumes;                                /* after this id; else with the next event */
    uint64_t after;
};
/* Reply to a request with a stream. Returns 0, or E_FULL (the token has too many), E_CLOSED, E_NOMEM: reply otherwise.
 */
int event_streams_open(struct event_streams *s, http_id id, const struct event_listener *l);
/* The event is in the store. */
void event_streams_publish(struct event_streams *s, const struct event_row *row, enum event_type type);
/* The token is not good any more: its streams end at once. Returns how many there were. */
size_t event_streams_revoke(struct event_streams *s, const char *token_hash);

#endif
