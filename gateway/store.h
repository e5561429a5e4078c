/* SPDX-License-Identifier: Apache-2.0 */
/* What lasts: SQLite in WAL mode behind one thread. Writes are grouped into transactions; a write's callback comes on
 * the loop after the commit, so that an answer which waits for it is durable. Requests of one caller are carried out in
 * order. Thread: loop for all functions; the database thread is inside. */
#ifndef GATEWAY_STORE_H
#define GATEWAY_STORE_H

#include "base/bytes.h"
#include "base/err.h"
#include "gateway/devices.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct store;

/* url: "sqlite:PATH" (parent folder must exist). Creates or migrates the schema, locks the database against a second
 * gateway. Returns 0 or E_IO, E_INVAL, E_CONFLICT with a sentence. */
int store_open(struct store **sp, uv_loop_t *loop, const char *url, struct err_text *et);
/* Blocks until all that was asked is answered: afterwards no callback of an earlier request is outstanding. For the end
 * of those who asked. */
void store_sync(struct store *s);
/* Commits what waits, joins the thread; done(arg) from the loop when the store is freed. */
void store_close(struct store *s, void (*done)(void *arg), void *arg);
/* False once the database refuses writes (disk full, read-only): new calls are then refused with 503. It is tried every
 * second, so that it becomes true by itself. */
bool store_ok(const struct store *s);

/* err: 0, or E_IO, E_FULL (disk), E_CONFLICT. All callbacks: from the loop, pointers live until they return. */
typedef void (*store_done_cb)(int err, void *arg);

/* What such an error says of the database, for whoever asked. Static storage. */
const char *store_err_str(int err);

int store_device_put(struct store *s, const struct device *dev, store_done_cb cb, void *arg);
int store_device_delete(struct store *s, const char *tenant, const char *id, store_done_cb cb, void *arg);
/* The attach tokens of the pushes that the device has got prove nothing any more. */
int store_device_forget_tokens(struct store *s, const char *tenant, const char *id);

/* A call as GET /v1/calls/{id} shows it. */
struct call_row {
    const char *id; /* UUID */
    const char *tenant, *callee;
    const char *state;             /* "ringing" ... "ended" */
    uint64_t created_ms, ended_ms; /* Unix; ended_ms 0 while it lives */
    const char *doc;               /* JSON of the resource */
    const char *timeline;          /* JSON array */
};

struct idempotency_row {
    const char *tenant, *key;
    const char *body_hash; /* SHA-256, hex */
    const char *call;      /* UUID */
    const char *response;  /* the 201's JSON body, given again */
    uint64_t created_ms;
};

/* How long a write that nobody waits for waits for another one: at hundreds of calls a second most find one. */
#define STORE_LATE_MS 20

/* Insert or replace; idem may be NULL and goes into the same transaction. */
int store_call_put(struct store *s, const struct call_row *row, const struct idempotency_row *idem, store_done_cb cb,
                   void *arg);
/* The same for a row that nobody waits for: committed with the next request, or STORE_LATE_MS later. */
int store_call_put_late(struct store *s, const struct call_row *row, store_done_cb cb, void *arg);
typedef void (*store_calls_cb)(int err, const struct call_row *rows, size_t count, void *arg);
/* One call, or count 0. */
int store_call_get(struct store *s, const char *tenant, const char *id, store_calls_cb cb, void *arg);
struct call_query {
    const char *tenant, *state, *callee; /* NULL: any (tenant is required) */
    uint64_t before_ms;                  /* created before this, 0: from the newest; with before_id the list's cursor */
    const char *before_id;
    unsigned limit; /* rows, at least 1 */
};
/* Newest first. */
int store_call_list(struct store *s, const struct call_query *q, store_calls_cb cb, void *arg);

/* One row of the must-report ledger (design.md, "must-report ledger"). Times are Unix milliseconds, 0: never. */
struct push_row {
    const char *id, *call, *device, *tenant, *app, *app_version, *os_version;
    bool predicted;            /* must_report that the gateway expected */
    const char *predicted_why; /* as ledger_why_name */
    int observed;              /* 1 true, 0 false, -1 null or no receipt */
    const char *reported;      /* "callkit", "lck", "none", "" before a receipt */
    const char *report_error;  /* "" when none */
    const char *outcome;       /* "" while open, else reported, exempt, violated, late, silent, filtered */
    int status;                /* of APNs; 0: no answer */
    const char *reason;
    uint64_t queued_ms, written_ms, answered_ms, received_ms, reported_ms, attached_ms;
    uint64_t receipt_ms; /* the first receipt's arrival at the gateway */
    const char *network; /* of the phone, as it said; "" when it did not */
    uint64_t ring_end_ms;
    const char *token_hash; /* of the attach token in the push; "" when it was not made */
};
/* Insert or replace. What a push began with stays: its call, device, tenant, app and queued_ms. */
int store_push_put(struct store *s, const struct push_row *row, store_done_cb cb, void *arg);
/* As store_call_put_late. */
int store_push_put_late(struct store *s, const struct push_row *row, store_done_cb cb, void *arg);
/* The same, in the transaction of the next write: that of the call which the push is made for. */
int store_push_plan(struct store *s, const struct push_row *row);
typedef void (*store_pushes_cb)(int err, const struct push_row *rows, size_t count, void *arg);
struct push_query {
    const char *tenant, *device; /* device NULL: of all */
    uint64_t before_ms;          /* queued before this, 0: from the newest; with before_id the list's cursor */
    const char *before_id;
    unsigned limit; /* rows, at least 1 */
};
/* Newest first. */
int store_push_list(struct store *s, const struct push_query *q, store_pushes_cb cb, void *arg);
/* All pushes of a call, in no order. */
int store_push_of_call(struct store *s, const char *call, store_pushes_cb cb, void *arg);

/* One push, or count 0. */
int store_push_get(struct store *s, const char *id, store_pushes_cb cb, void *arg);
/* The VoIP pushes to a device that were queued since, newest first. */
int store_push_recent(struct store *s, const char *tenant, const char *device, uint64_t since_ms, unsigned limit,
                      store_pushes_cb cb, void *arg);

/* What the ledger says as a whole, of VoIP pushes. */
enum store_group {
    STORE_BY_APP = 1,
    STORE_BY_APP_VERSION = 2,
    STORE_BY_OS_VERSION = 4,
    STORE_BY_DAY = 8,
    STORE_BY_NETWORK = 16
};
struct report_query {
    const char *tenant;                                            /* required */
    uint64_t from_ms, to_ms;                                       /* Unix; queued from, and before */
    const char *app, *app_version, *os_version, *device, *network; /* NULL: any */
    unsigned groups;                                               /* enum store_group, or-ed */
    unsigned limit;                                                /* rows */
};
struct report_row {
    const char *app, *app_version, *os_version, *day,
        *network; /* "" when not grouped by it; day in UTC, "2026-11-25" */
    uint64_t pushes, accepted, receipts;
    uint64_t must_report, must_not_report, must_report_absent;   /* as the receipts said */
    uint64_t reported, exempt, violated, late, silent, filtered; /* outcomes */
    uint64_t predicted_right;                                    /* of must_report and must_not_report */
    int64_t p50_ms, p95_ms, p99_ms;                              /* written to receipt; -1: there was none */
};
typedef void (*store_report_cb)(int err, const struct report_row *rows, size_t count, void *arg);
/* Latest day first. */
int store_push_report(struct store *s, const struct report_query *q, store_report_cb cb, void *arg);

/* A value that base/seal closed, by its name. Insert or replace. */
struct sealed_row {
    const char *name, *value;
    uint64_t updated_ms;
};
int store_sealed_put(struct store *s, const struct sealed_row *row, store_done_cb cb, void *arg);

/* Delete those whose names begin so and that are older. */
int store_sealed_prune(struct store *s, const char *prefix, uint64_t before_ms);

/* A part of what a live call needs to go on after a crash, sealed (calls_kept.h). */
struct kept_row {
    const char *call, *part, *value;
};
/* Insert or replace. */
int store_kept_put(struct store *s, const struct kept_row *row, store_done_cb cb, void *arg);
/* As store_call_put_late. */
int store_kept_put_late(struct store *s, const struct kept_row *row, store_done_cb cb, void *arg);
/* In the transaction of the next write, as events are: a part of the call's row, or what goes with it (part "": all).
 */
int store_kept_put_along(struct store *s, const struct kept_row *row);
int store_kept_delete_along(struct store *s, const char *call, const char *part);
/* Delete what belongs to no live call. */
int store_kept_prune(struct store *s);

/* An event (gateway/events.h). Its id is the writer's, greater than all before it. */
struct event_row {
    uint64_t id;
    const char *tenant, *type;
    uint64_t at_ms;   /* Unix */
    const char *data; /* JSON object */
};
/* Written in one transaction with the next write that is asked for: the one that the event tells about. Where none
 * comes before the loop waits again, by itself. Callbacks come in the order of the requests. */
int store_event_put(struct store *s, const struct event_row *row, store_done_cb cb, void *arg);
typedef void (*store_events_cb)(int err, const struct event_row *rows, size_t count, void *arg);
/* A tenant's events after this id, in their order, at most limit. */
int store_event_list(struct store *s, const char *tenant, uint64_t after, unsigned limit, store_events_cb cb,
                     void *arg);
#define STORE_SOURCE_BYTES 16
struct store_event_state {
    char source[STORE_SOURCE_BYTES]; /* tells this database's ids from another's */
    uint64_t last, first;            /* ids: of the latest event there ever was, and of the oldest that is left */
};
/* At start, before the loop runs. Blocks. */
int store_event_state(struct store *s, struct store_event_state *state, struct err_text *et);
/* The same while it runs: one row, with the oldest id that is left. */
int store_event_first(struct store *s, store_events_cb cb, void *arg);

/* An event that a webhook has not got yet, or (dead) did not get in all its attempts. */
struct delivery_row {
    uint64_t id;
    const char *webhook;
    struct event_row event;
    unsigned attempts;
    uint64_t tried_ms; /* Unix; 0: never */
    int status;        /* of the last answer; 0: none */
    const char *detail;
};
#define STORE_DELIVERY_KEEP_MS (14ULL * 24 * 3600 * 1000) /* dead or not, one that is older goes */
/* With the event, and in its transaction. */
int store_delivery_put(struct store *s, const char *webhook, uint64_t event, uint64_t now_ms, store_done_cb cb,
                       void *arg);
typedef void (*store_deliveries_cb)(int err, const struct delivery_row *rows, size_t count, void *arg);
/* What is due, the longest waiting first. */
int store_delivery_due(struct store *s, const char *webhook, uint64_t now_ms, unsigned limit, store_deliveries_cb cb,
                       void *arg);
int store_delivery_done(struct store *s, uint64_t id, store_done_cb cb, void *arg);
/* id, attempts, tried_ms, status and detail of row are taken; dead: no further attempt, else at next_ms. */
int store_delivery_failed(struct store *s, const struct delivery_row *row, bool dead, uint64_t next_ms,
                          store_done_cb cb, void *arg);
/* At start, before the loop runs: how many of each webhook are not dead. Blocks. */
int store_delivery_counts(struct store *s, void (*each)(const char *webhook, uint64_t count, void *arg), void *arg);
/* Dead ones of a tenant, the latest first: those before this id (0: all), or this one alone (id not 0). */
int store_dead_list(struct store *s, const char *tenant, uint64_t before, uint64_t id, unsigned limit,
                    store_deliveries_cb cb, void *arg);
int store_dead_retry(struct store *s, uint64_t id, uint64_t now_ms, store_done_cb cb, void *arg);
int store_dead_delete(struct store *s, uint64_t id, store_done_cb cb, void *arg);

#define STORE_KEY_KEEP_MS (24ULL * 3600 * 1000) /* idempotency keys */
#define STORE_PRUNE_ROWS  500                   /* of a kind, in one transaction: a few milliseconds */
/* Delete calls that ended before this, their pushes, events from before then that no webhook waits for, deliveries and
 * idempotency keys that are too old; in as many transactions as it takes, other requests in between. cb: after the last
 * of them, or when the store is ending. */
int store_prune(struct store *s, uint64_t ended_before_ms, uint64_t now_ms, store_done_cb cb, void *arg);

/* At start, before the loop runs: everything that lives in memory, in the order sealed, kept, devices, calls, pushes,
 * idempotency. Blocks. */
struct store_load_ops {
    void (*device)(const struct device *dev, void *arg);
    void (*call)(const struct call_row *row, void *arg); /* only those not ended */
    void (*push)(const struct push_row *row, void *arg); /* those that APNs accepted and that have no outcome, and all
                                                            of calls that have not ended */
    void (*idempotency)(const struct idempotency_row *row, void *arg);
    void (*sealed)(const struct sealed_row *row, void *arg);
    void (*kept)(const struct kept_row *row, void *arg);
};
int store_load(struct store *s, const struct store_load_ops *ops, void *arg, struct err_text *et);

#endif
