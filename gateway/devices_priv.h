/* SPDX-License-Identifier: Apache-2.0 */
/* What changes the registry: used by api_devices.c and at start. Thread: loop. */
#ifndef GATEWAY_DEVICES_PRIV_H
#define GATEWAY_DEVICES_PRIV_H

#include "gateway/devices.h"
#include "gateway/events.h"
#include "gateway/store.h"

int devices_new(struct devices **dp, struct store *store);
/* Changes are told there from now on. */
void devices_attach_events(struct devices *d, struct events *events);
/* What the device could prove itself with is worth nothing from now on: its secret is another one, or it was deleted.
 * Called from devices_put and devices_delete, once memory says so; the store may still refuse, and the old secret is
 * good again then. The texts live until it returns. Do not change the registry inside. */
typedef void (*devices_revoked_cb)(const char *tenant, const char *id, bool deleted, void *arg);
void devices_attach_revoked(struct devices *d, devices_revoked_cb cb, void *arg);
struct devices *devices_free(struct devices *d);
/* From the store, at start. */
void devices_load(struct devices *d, const struct device *dev);
/* Insert or replace, in memory at once and in the store; cb comes when it is durable, or when the store refused and
 * memory has again what the store has. Returns 0, E_NOMEM. */
int devices_put(struct devices *d, const struct device *dev, store_done_cb cb, void *arg);
/* What the gateway learned about a phone: said in the log where it is about its health, and stored in the background.
 * Nothing happens when the device is not there, or is as dev says. */
void devices_learn(struct devices *d, const struct device *dev);
/* Returns 0, E_NOTFOUND, E_NOMEM; cb as above. */
int devices_delete(struct devices *d, const char *tenant, const char *id, store_done_cb cb, void *arg);
/* Which devices of a tenant. */
struct device_query {
    const char *tenant, *user, *app; /* user, app NULL or "": any */
    int health;                      /* enum device_health; -1: any */
    const char *after;               /* in the order of their ids; "": from the first */
};
/* In the order of their ids, at most max. Returns how many. */
size_t devices_list(const struct devices *d, const struct device_query *q, const struct device **out, size_t max);

#endif
