/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/calls_priv.h"

#include <stdlib.h>
#include <string.h>

static char *make_key(const char *tenant, const char *key) {
    struct buf b = {0};
    buf_addf(&b, "%s\n%s", tenant, key);
    return buf_take(&b);
}

struct idempotency *idempotency_find(const struct calls *cs, const char *tenant, const char *key) {
    struct idempotency *i = NULL;
    char *full = make_key(tenant, key);
    if (full)
        HASH_FIND_STR(cs->keys, full, i);
    free(full);
    return i;
}

/* The oldest key gives way: better a repetition that is not known for one than a call that is refused. */
static bool make_room(struct calls *cs) {
    struct idempotency *oldest = cs->keys;
    if (HASH_COUNT(cs->keys) < IDEMPOTENCY_MAX)
        return true;
    if (!oldest->response) /* its call is on its way to the store */
        return false;
    idempotency_remove(cs, oldest);
    return true;
}

struct idempotency *idempotency_add(struct calls *cs, const char *tenant, const char *key) {
    if (!make_room(cs))
        return NULL;
    struct idempotency *i = calloc(1, sizeof *i);
    if (!i || !(i->key = make_key(tenant, key))) {
        free(i);
        return NULL;
    }
    i->created_ms = clock_wall_ms();
    HASH_ADD_KEYPTR(hh, cs->keys, i->key, strlen(i->key), i); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    return i;
}

int idempotency_wait(struct idempotency *i, http_id id) {
    http_id *more = realloc(i->waiting, (i->waiting_count + 1) * sizeof *more);
    if (!more)
        return E_NOMEM;
    i->waiting = more;
    i->waiting[i->waiting_count++] = id;
    return 0;
}

void idempotency_remove(struct calls *cs, struct idempotency *i) {
    HASH_DEL(cs->keys, i);
    free(i->key);
    free(i->response);
    free(i->waiting);
    free(i);
}

void idempotency_sweep(struct calls *cs, uint64_t wall_ms) {
    struct idempotency *i, *next;
    /* The table keeps the order of insertion, and that is the order of age. */
    HASH_ITER(hh, cs->keys, i, next) {
        if (wall_ms < i->created_ms + IDEMPOTENCY_MS || i->waiting_count)
            return;
        idempotency_remove(cs, i);
    }
}

void idempotency_free(struct calls *cs) {
    struct idempotency *i, *next;
    HASH_ITER(hh, cs->keys, i, next) {
        idempotency_remove(cs, i);
    }
}

void calls_load_idempotency(struct calls *cs, const struct idempotency_row *row) {
    struct idempotency *i = idempotency_add(cs, row->tenant, row->key);
    if (!i)
        return;
    snprintf(i->body_hash, sizeof i->body_hash, "%s", row->body_hash);
    snprintf(i->call, sizeof i->call, "%s", row->call);
    i->created_ms = row->created_ms;
    i->response = strdup(row->response);
    if (!i->response)
        idempotency_remove(cs, i);
}
