/* SPDX-License-Identifier: Apache-2.0 */
/* The APNs client with the credentials of the configuration's apps, their alarms, and their provider tokens, which
 * outlive a restart. Thread: loop. */
#ifndef GATEWAY_PUSH_SERVICE_H
#define GATEWAY_PUSH_SERVICE_H

#include "apns/apns.h"
#include "base/seal.h"
#include "config/config.h"
#include "gateway/store.h"

#include <jansson.h>

struct push_service;

/* Reads the key files. Returns 0, or E_* with a sentence that names the app. Of cfg nothing is kept; m outlives it. */
int push_service_new(struct push_service **pp, uv_loop_t *loop, const struct config *cfg, struct metrics *m,
                     struct err_text *et);
/* A reload: the credentials of another configuration, whose files are read again. push_service_plan reads and checks
 * all of it; new ones connect already, nothing else changes. Returns 0, or E_* with a fault, and then nothing has
 * changed. push_service_carry_out cannot fail: one that goes on is untouched when nothing of it has changed, or renewed
 * with overlap; one that the configuration has no more takes the pushes of calls that know it until push_service_sweep.
 * Takes the plan. Returns how many are new or renewed. push_plan_free drops a plan (NULL: none). Between the two calls
 * cfg stays, and the loop does not turn. */
struct push_plan;
struct push_fault {
    char key[64];    /* "apps[1].apns": which part of the configuration */
    const char *app; /* its name; of cfg */
    struct err_text why;
};
int push_service_plan(struct push_plan **pp, struct push_service *p, const struct config *cfg,
                      struct push_fault *fault);
unsigned push_service_carry_out(struct push_plan *plan);
struct push_plan *push_plan_free(struct push_plan *plan);
/* Retire the credentials that the configuration has no more and that let_go says yes to: nobody has a pointer to such a
 * one afterwards. To be called now and then; without any it does nothing. */
void push_service_sweep(struct push_service *p, bool (*let_go)(const struct apns_credential *c, void *arg), void *arg);

/* From now on provider tokens are stored, sealed. Both outlive the service's use of the loop. */
void push_service_keep_tokens(struct push_service *p, struct store *store, const struct seal *seal);
/* A row of the store, before the loop runs; what is not a provider token, or not good any more, is left alone. */
void push_service_load(struct push_service *p, const struct sealed_row *row);

/* The credential of an app in an environment; NULL when the config has none. */
struct apns_credential *push_service_credential(const struct push_service *p, const char *app, bool sandbox);
/* Which environment a credential of push_service_credential is of. */
bool push_service_is_sandbox(const struct push_service *p, const struct apns_credential *c);

/* For GET /readyz: {"vcs": "connected", "vcs/sandbox": "not connected"}, and the latest alarm of each kind in the last
 * day, [{"credential", "alarm", "at"}]. */
json_t *push_service_connections(const struct push_service *p);
json_t *push_service_alarms(const struct push_service *p);
/* A connection is up, or there is no app. */
bool push_service_ready(const struct push_service *p);

/* No new pushes; done(arg) when the last one has its result, or after limit_ms. */
void push_service_drain(struct push_service *p, uint64_t limit_ms, void (*done)(void *arg), void *arg);
/* Closes the client; done(arg) from the loop when it is gone, and p with it. */
void push_service_close(struct push_service *p, void (*done)(void *arg), void *arg);

#endif
