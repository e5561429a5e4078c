/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/devices.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/devices_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#define KEY_BYTES (DEVICE_TENANT_BYTES + DEVICE_ID_BYTES)

struct entry;

/* Place of a device in a group. */
struct member {
    struct entry *entry;
    struct member *prev, *next;
};

/* Devices that are looked for together: of one user, or of one id in several tenants. */
struct group {
    char key[KEY_BYTES];
    struct member *list; /* oldest first */
    UT_hash_handle hh;
};

struct entry {
    char key[KEY_BYTES]; /* "tenant/id": a tenant has no slash */
    struct device dev;
    bool gone;            /* deleted, and the store does not know yet */
    unsigned writes;      /* on their way to the store */
    struct device *saved; /* while there are: what the store has; NULL: nothing */
    struct member by_user, by_id;
    UT_hash_handle hh;
};

struct devices {
    struct store *store;
    struct events *events; /* NULL: nobody wants to know */
    struct entry *entries;
    struct group *users, *ids;
    devices_revoked_cb revoked; /* NULL: nobody wants to know */
    void *revoked_arg;
};

/* A change on its way to the store. */
struct change {
    struct devices *devices;
    char key[KEY_BYTES];
    struct device *dev; /* NULL: deleted */
    store_done_cb cb;
    void *arg;
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

void devices_attach_events(struct devices *d, struct events *events) {
    d->events = events;
}

void devices_attach_revoked(struct devices *d, devices_revoked_cb cb, void *arg) {
    d->revoked = cb;
    d->revoked_arg = arg;
}

static void tell_revoked(const struct devices *d, const struct entry *e, bool deleted) {
    if (d->revoked)
        d->revoked(e->dev.tenant, e->dev.id, deleted, d->revoked_arg);
}

/* Groups */

static char *user_key(char out[static KEY_BYTES], const struct device *dev) {
    snprintf(out, KEY_BYTES, "%s/%s", dev->tenant, dev->user);
    return out;
}

static int join(struct group **groups, const char *key, struct member *m) {
    struct group *g;
    HASH_FIND_STR(*groups, key, g);
    if (!g) {
        g = calloc(1, sizeof *g);
        if (!g)
            return E_NOMEM;
        snprintf(g->key, sizeof g->key, "%s", key);
        HASH_ADD_STR(*groups, key, g);
    }
    DL_APPEND(g->list, m);
    return 0;
}

static void leave(struct group **groups, const char *key, struct member *m) {
    struct group *g;
    HASH_FIND_STR(*groups, key, g);
    if (!g || !m->prev)
        return;
    DL_DELETE(g->list, m);
    m->prev = m->next = NULL;
    if (!g->list) {
        HASH_DEL(*groups, g);
        free(g);
    }
}

static const struct member *group_list(struct group *const *groups, const char *key) {
    struct group *g;
    HASH_FIND_STR(*groups, key, g);
    return g ? g->list : NULL;
}

/* Entries */

static void entry_free(struct devices *d, struct entry *e) {
    char key[KEY_BYTES];
    leave(&d->users, user_key(key, &e->dev), &e->by_user);
    leave(&d->ids, e->dev.id, &e->by_id);
    HASH_DEL(d->entries, e);
    free(e->saved);
    free(e);
}

struct devices *devices_free(struct devices *d) {
    struct entry *e, *next;
    if (!d)
        return NULL;
    HASH_ITER(hh, d->entries, e, next) {
        entry_free(d, e);
    }
    free(d);
    return NULL;
}

static struct entry *find_by_key(const struct devices *d, const char *key) {
    struct entry *e;
    HASH_FIND_STR(d->entries, key, e);
    return e;
}

/* One that was deleted is not there, although its entry may be. */
static struct entry *find(const struct devices *d, const char *tenant, const char *id) {
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%s/%s", tenant, id);
    struct entry *e = find_by_key(d, key);
    return e && !e->gone ? e : NULL;
}

static struct entry *entry_new(struct devices *d, const struct device *dev) {
    char key[KEY_BYTES];
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    snprintf(e->key, sizeof e->key, "%s/%s", dev->tenant, dev->id);
    e->dev = *dev;
    e->by_user.entry = e->by_id.entry = e;
    HASH_ADD_STR(d->entries, key, e);
    if (join(&d->ids, dev->id, &e->by_id) != 0 || join(&d->users, user_key(key, dev), &e->by_user) != 0) {
        entry_free(d, e);
        return NULL;
    }
    return e;
}

/* In memory. Returns 0 or E_NOMEM, and then nothing has changed. */
static int put(struct devices *d, struct entry *e, const struct device *dev) {
    char old[KEY_BYTES], new[KEY_BYTES];
    if (strcmp(user_key(old, &e->dev), user_key(new, dev)) != 0) {
        leave(&d->users, old, &e->by_user);
        if (join(&d->users, new, &e->by_user) != 0) {
            join(&d->users, old, &e->by_user);
            return E_NOMEM;
        }
    }
    e->dev = *dev;
    e->gone = false;
    return 0;
}

/* Changes: seen at once, undone when the store refuses them */

static void settle(struct devices *d, struct entry *e, bool refused) {
    if (refused && e->saved)
        put(d, e, e->saved);
    else if (refused)
        e->gone = true;
    free(e->saved);
    e->saved = NULL;
    if (e->gone)
        entry_free(d, e);
}

static void on_stored(int err, void *arg) {
    struct change *k = arg;
    struct entry *e = find_by_key(k->devices, k->key);
    if (err == 0) {
        free(e->saved);
        e->saved = k->dev;
        k->dev = NULL;
    }
    if (--e->writes == 0)
        settle(k->devices, e, err != 0);
    if (k->cb)
        k->cb(err, k->arg);
    free(k->dev);
    free(k);
}

static struct device *copy_of(const struct device *dev) {
    struct device *copy = malloc(sizeof *copy);
    if (copy)
        *copy = *dev;
    return copy;
}

/* dev: NULL deletes. before: what the store has, NULL: nothing. */
static int submit(struct devices *d, struct entry *e, const struct device *dev, const struct device *before,
                  const struct change *done) {
    bool keeps = before && e->writes == 0;
    struct change *k = calloc(1, sizeof *k);
    struct device *saved = keeps ? copy_of(before) : NULL, *copy = dev ? copy_of(dev) : NULL;
    int err = !k || (keeps && !saved) || (dev && !copy) ? E_NOMEM : 0;
    if (err == 0) {
        *k = (struct change){.devices = d, .dev = copy, .cb = done->cb, .arg = done->arg};
        snprintf(k->key, sizeof k->key, "%s", e->key);
        err = dev ? store_device_put(d->store, dev, on_stored, k)
                  : store_device_delete(d->store, e->dev.tenant, e->dev.id, on_stored, k);
    }
    if (err != 0) {
        free(k);
        free(saved);
        free(copy);
        return err;
    }
    e->writes++;
    if (keeps)
        e->saved = saved;
    return 0;
}

static void tell_one(struct devices *d, enum event_type type, const struct device *dev) {
    events_add(d->events, type, dev->tenant,
               json_pack("{s:s,s:s,s:s,s:s,s:s}", "device", dev->id, "user", dev->user, "app", dev->app, "health",
                         device_health_name(device_health(dev)), "health_reason", dev->health_reason));
}

/* Before the change is asked of the store. was NULL: it is new. */
static void tell(struct devices *d, const struct device *dev, const struct device *was) {
    if (!was)
        tell_one(d, EVENT_DEVICE_REGISTERED, dev);
    else if (dev->updated_ms != was->updated_ms)
        tell_one(d, EVENT_DEVICE_UPDATED, dev);
    if (was && device_health(dev) != device_health(was))
        tell_one(d, EVENT_DEVICE_HEALTH, dev);
}

static int change(struct devices *d, struct entry *e, const struct device *dev, const struct change *done) {
    struct device before = e->dev;
    bool gone = e->gone;
    int err = put(d, e, dev);
    if (err == 0)
        tell(d, dev, gone ? NULL : &before);
    if (err == 0 && (err = submit(d, e, dev, &before, done)) != 0) {
        put(d, e, &before);
        e->gone = gone;
    }
    if (err == 0 && !gone && !secret_eq(before.secret_hash, dev->secret_hash))
        tell_revoked(d, e, false);
    return err;
}

void devices_load(struct devices *d, const struct device *dev) {
    struct entry *e = entry_new(d, dev);
    if (!e)
        log_error("device not loaded", log_s("device", dev->id), log_s("error", err_str(E_NOMEM)));
}

int devices_put(struct devices *d, const struct device *dev, store_done_cb cb, void *arg) {
    char key[KEY_BYTES];
    const struct change done = {.cb = cb, .arg = arg};
    snprintf(key, sizeof key, "%s/%s", dev->tenant, dev->id);
    struct entry *e = find_by_key(d, key);
    if (e)
        return change(d, e, dev, &done);
    e = entry_new(d, dev);
    if (e)
        tell(d, dev, NULL);
    int err = e ? submit(d, e, dev, NULL, &done) : E_NOMEM;
    if (e && err != 0)
        entry_free(d, e);
    return err;
}

int devices_delete(struct devices *d, const char *tenant, const char *id, store_done_cb cb, void *arg) {
    struct entry *e = find(d, tenant, id);
    const struct change done = {.cb = cb, .arg = arg};
    if (e)
        tell_one(d, EVENT_DEVICE_DELETED, &e->dev);
    int err = e ? submit(d, e, NULL, &e->dev, &done) : E_NOTFOUND;
    if (err != 0)
        return err;
    e->gone = true;
    tell_revoked(d, e, true);
    return 0;
}

const struct device *devices_get(const struct devices *d, const char *tenant, const char *id) {
    const struct entry *e = find(d, tenant, id);
    return e ? &e->dev : NULL;
}

const struct device *devices_by_secret(const struct devices *d, const char *id, const char *secret) {
    const struct device *found = NULL;
    const struct member *m;
    DL_FOREACH(group_list(&d->ids, id), m) {
        if (!m->entry->gone && device_secret_ok(&m->entry->dev, secret))
            found = &m->entry->dev;
    }
    return found;
}

size_t devices_of_user(const struct devices *d, const char *tenant, const char *user, const char *app,
                       const struct device *out[static DEVICES_PER_USER_MAX]) {
    char key[KEY_BYTES];
    size_t n = 0;
    const struct member *m;
    snprintf(key, sizeof key, "%s/%s", tenant, user);
    DL_FOREACH(group_list(&d->users, key), m) {
        if (m->entry->gone || strcmp(m->entry->dev.app, app) != 0)
            continue;
        /* Phones are replaced and rarely signed off: the oldest gives way. */
        if (n == DEVICES_PER_USER_MAX)
            memmove(out, out + 1, --n * sizeof *out);
        out[n++] = &m->entry->dev;
    }
    return n;
}

static int by_id(const void *a, const void *b) {
    return strcmp((*(const struct device *const *)a)->id, (*(const struct device *const *)b)->id);
}

static bool is_or_any(const char *wanted, const char *value) {
    return !wanted || !*wanted || strcmp(wanted, value) == 0;
}

static bool is_asked_for(const struct device *dev, const struct device_query *q) {
    return strcmp(dev->tenant, q->tenant) == 0 && strcmp(dev->id, q->after) > 0 && is_or_any(q->user, dev->user) &&
           is_or_any(q->app, dev->app) && (q->health < 0 || (int)device_health(dev) == q->health);
}

size_t devices_list(const struct devices *d, const struct device_query *q, const struct device **out, size_t max) {
    size_t count = HASH_COUNT(d->entries), n = 0;
    const struct device **all = calloc(count + 1, sizeof *all);
    if (!all)
        return 0;
    for (const struct entry *e = d->entries; e; e = e->hh.next)
        if (!e->gone && is_asked_for(&e->dev, q))
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

enum device_health device_health(const struct device *dev) {
    return health_of_cause(dev->health_cause);
}

static const struct change nobody_waits = {0};

static bool same(const struct device *a, const struct device *b) {
    return a->health_cause == b->health_cause && strcmp(a->health_reason, b->health_reason) == 0 &&
           a->sandbox == b->sandbox && a->token_refused == b->token_refused &&
           a->token_accepted_ms == b->token_accepted_ms && a->throttled_until_ms == b->throttled_until_ms &&
           strcmp(a->os_version, b->os_version) == 0;
}

void devices_learn(struct devices *d, const struct device *dev) {
    struct entry *e = find(d, dev->tenant, dev->id);
    if (!e || same(&e->dev, dev))
        return;
    if (e->dev.health_cause != dev->health_cause)
        log_info("device health", log_s("device", dev->id), log_s("tenant", dev->tenant),
                 log_s("health", health_names[device_health(dev)]), log_s("reason", dev->health_reason));
    if (change(d, e, dev, &nobody_waits) != 0)
        log_error("device not stored", log_s("device", dev->id), log_s("error", err_str(E_NOMEM)));
}

void devices_set_health(struct devices *d, const char *tenant, const char *id, const struct health *h) {
    const struct device *known = devices_get(d, tenant, id);
    if (!known || health_is_of_token(known->health_cause))
        return;
    struct device dev = *known;
    dev.health_cause = h->cause;
    snprintf(dev.health_reason, sizeof dev.health_reason, "%s", h->reason);
    devices_learn(d, &dev);
}

void devices_note_voip(struct devices *d, const char *tenant, const char *id, uint64_t now_ms) {
    struct entry *e = find(d, tenant, id);
    if (e)
        e->dev.voip_ms = now_ms;
}

void devices_set_os_version(struct devices *d, const char *tenant, const char *id, const char *os_version) {
    const struct device *known = devices_get(d, tenant, id);
    if (!known || strlen(os_version) >= sizeof known->os_version)
        return;
    struct device dev = *known;
    snprintf(dev.os_version, sizeof dev.os_version, "%s", os_version);
    devices_learn(d, &dev);
}
