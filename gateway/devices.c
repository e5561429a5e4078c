/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/devices.h"

#include "base/log.h"
#include "gateway/devices_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define KEY_BYTES (DEVICE_TENANT_BYTES + DEVICE_ID_BYTES)

struct entry {
    char key[KEY_BYTES]; /* "tenant/id": a tenant has no slash */
    struct device dev;
    UT_hash_handle hh;
};

struct devices {
    struct store *store;
    struct entry *entries;
};

static const char *const ui_names[] = {"callkit", "lck", "alert"};
static const char *const health_names[] = {"ok", "suspect", "blocked", "invalid"};
static const char *const mode_names[] = {"none", "transfer", "sealed", "sdes", "dtls"};

const char *device_ui_name(enum device_ui ui) {
    return ui_names[ui];
}

const char *device_health_name(enum device_health h) {
    return health_names[h];
}

const char *media_mode_name(enum media_mode m) {
    return mode_names[m];
}

enum media_mode media_mode_by_name(const char *name) {
    for (int i = MEDIA_MODE_TRANSFER; i <= MEDIA_MODE_DTLS; i++)
        if (strcmp(mode_names[i], name) == 0)
            return (enum media_mode)i;
    return MEDIA_MODE_NONE;
}

int devices_new(struct devices **dp, struct store *store) {
    struct devices *d = calloc(1, sizeof *d);
    if (!d)
        return E_NOMEM;
    d->store = store;
    *dp = d;
    return 0;
}

struct devices *devices_free(struct devices *d) {
    struct entry *e, *next;
    if (!d)
        return NULL;
    HASH_ITER(hh, d->entries, e, next) {
        HASH_DEL(d->entries, e);
        free(e);
    }
    free(d);
    return NULL;
}

static struct entry *find(const struct devices *d, const char *tenant, const char *id) {
    char key[KEY_BYTES];
    struct entry *e;
    snprintf(key, sizeof key, "%s/%s", tenant, id);
    HASH_FIND_STR(d->entries, key, e);
    return e;
}

static struct entry *put(struct devices *d, const struct device *dev) {
    struct entry *e = find(d, dev->tenant, dev->id);
    if (!e) {
        e = calloc(1, sizeof *e);
        if (!e)
            return NULL;
        snprintf(e->key, sizeof e->key, "%s/%s", dev->tenant, dev->id);
        HASH_ADD_STR(d->entries, key, e);
    }
    e->dev = *dev;
    return e;
}

void devices_load(struct devices *d, const struct device *dev) {
    put(d, dev);
}

int devices_put(struct devices *d, const struct device *dev, store_done_cb cb, void *arg) {
    return put(d, dev) ? store_device_put(d->store, dev, cb, arg) : E_NOMEM;
}

int devices_delete(struct devices *d, const char *tenant, const char *id, store_done_cb cb, void *arg) {
    struct entry *e = find(d, tenant, id);
    if (!e)
        return E_NOTFOUND;
    HASH_DEL(d->entries, e);
    free(e);
    return store_device_delete(d->store, tenant, id, cb, arg);
}

const struct device *devices_get(const struct devices *d, const char *tenant, const char *id) {
    const struct entry *e = find(d, tenant, id);
    return e ? &e->dev : NULL;
}

const struct device *devices_find(const struct devices *d, const char *id) {
    const struct device *found = NULL;
    for (const struct entry *e = d->entries; e; e = e->hh.next) {
        if (strcmp(e->dev.id, id) != 0)
            continue;
        if (found)
            return NULL;
        found = &e->dev;
    }
    return found;
}

size_t devices_of_user(const struct devices *d, const char *tenant, const char *user, const char *app,
                       const struct device *out[static DEVICES_PER_USER_MAX]) {
    size_t n = 0;
    for (const struct entry *e = d->entries; e && n < DEVICES_PER_USER_MAX; e = e->hh.next)
        if (strcmp(e->dev.user, user) == 0 && strcmp(e->dev.tenant, tenant) == 0 && strcmp(e->dev.app, app) == 0)
            out[n++] = &e->dev;
    return n;
}

static int by_id(const void *a, const void *b) {
    return strcmp((*(const struct device *const *)a)->id, (*(const struct device *const *)b)->id);
}

size_t devices_list(const struct devices *d, const char *tenant, const char *after, const struct device **out,
                    size_t max) {
    size_t count = HASH_COUNT(d->entries), n = 0;
    const struct device **all = calloc(count + 1, sizeof *all);
    if (!all)
        return 0;
    for (const struct entry *e = d->entries; e; e = e->hh.next)
        if (strcmp(e->dev.tenant, tenant) == 0 && strcmp(e->dev.id, after) > 0)
            all[n++] = &e->dev;
    qsort(all, n, sizeof *all, by_id);
    n = n < max ? n : max;
    memcpy(out, all, n * sizeof *out);
    free(all);
    return n;
}

bool device_secret_ok(const struct device *dev, const char *secret) {
    char hash[SECRET_HASH_BYTES];
    return *secret && secret_eq(secret_hash(hash, secret), dev->secret_hash);
}

void devices_set_health(struct devices *d, const char *tenant, const char *id, enum device_health h,
                        const char *reason) {
    struct entry *e = find(d, tenant, id);
    if (!e || (e->dev.health == h && strcmp(e->dev.health_reason, reason) == 0))
        return;
    e->dev.health = h;
    snprintf(e->dev.health_reason, sizeof e->dev.health_reason, "%s", reason);
    log_info("device health", log_s("device", id), log_s("health", health_names[h]), log_s("reason", reason));
    store_device_put(d->store, &e->dev, NULL, NULL);
}

void devices_set_os_version(struct devices *d, const char *tenant, const char *id, const char *os_version) {
    struct entry *e = find(d, tenant, id);
    if (!e || strlen(os_version) >= sizeof e->dev.os_version || strcmp(e->dev.os_version, os_version) == 0)
        return;
    snprintf(e->dev.os_version, sizeof e->dev.os_version, "%s", os_version);
    store_device_put(d->store, &e->dev, NULL, NULL);
}
