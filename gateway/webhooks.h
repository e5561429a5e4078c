/* SPDX-License-Identifier: Apache-2.0 */
/* Events to webhooks: each webhook that wants an event has a row in the store, in the event's transaction, and keeps it
 * until it answered with 2xx. At least once, in no promised order; what failed comes again later, at last it is a dead
 * letter. A webhook that answers 410 gets nothing more until the next webhooks_load. Thread: loop. */
#ifndef GATEWAY_WEBHOOKS_H
#define GATEWAY_WEBHOOKS_H

#include "base/metrics.h"
#include "config/config.h"
#include "gateway/events.h"
#include "gateway/store.h"

struct webhooks;

/* Can the webhooks of this configuration be used? Reads the secrets. Returns 0, or E_* with a sentence. Thread: any. */
int webhooks_check(const struct config *cfg, struct err_text *et);

struct webhooks_deps {
    uv_loop_t *loop;
    struct store *store;
    struct metrics *metrics;
    const char *source; /* events_source */
};
/* At start, before anything is submitted to the store. Returns 0 or E_NOMEM, E_IO. */
int webhooks_new(struct webhooks **wp, const struct webhooks_deps *deps);
/* Take the webhooks of this configuration in place of those before; of cfg nothing is kept. What is on its way to one
 * of the same name goes on, and comes again by the new words if it fails; to one that is gone it is cut off, and stays
 * in the store. Returns 0, or E_* with a sentence, and then nothing has changed. */
int webhooks_load(struct webhooks *w, const struct config *cfg, struct err_text *et);
/* No further attempt; what is on its way is cut off, and comes again after the next start. */
void webhooks_close(struct webhooks *w);
/* The store and the loop are gone. Returns NULL. */
struct webhooks *webhooks_free(struct webhooks *w);

/* For events.c, right after store_event_put: the event's deliveries go into its transaction. */
void webhooks_record(struct webhooks *w, const struct event_row *row, enum event_type type);
/* There is one of that name. */
bool webhooks_has(const struct webhooks *w, const char *name);
/* A dead letter of this webhook is due again. */
void webhooks_revived(struct webhooks *w, const char *name);

#endif
