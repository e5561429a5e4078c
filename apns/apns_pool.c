/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_core_priv.h"
#include "base/secret.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_ITEMS 64

static struct apns_item *at(const struct apns_pool *pool, uint32_t i) {
    return &pool->chunks[i / CHUNK_ITEMS][i % CHUNK_ITEMS];
}

static struct apns_item *fresh(struct apns_pool *pool) {
    if (pool->count == APNS_UNDER_WAY_MAX)
        return NULL;
    if (!pool->chunks && !(pool->chunks = calloc(APNS_UNDER_WAY_MAX / CHUNK_ITEMS, sizeof *pool->chunks)))
        return NULL;
    if (pool->count % CHUNK_ITEMS == 0) {
        struct apns_item *chunk = calloc(CHUNK_ITEMS, sizeof *chunk);
        if (!chunk)
            return NULL;
        pool->chunks[pool->count / CHUNK_ITEMS] = chunk;
    }
    struct apns_item *p = at(pool, pool->count);
    p->index = pool->count++;
    return p;
}

struct apns_item *apns_pool_take(struct apns_pool *pool) {
    struct apns_item *p = pool->first_free ? at(pool, pool->first_free - 1) : fresh(pool);
    if (!p)
        return NULL;
    if (pool->first_free)
        pool->first_free = p->next_free;
    memset((char *)p + offsetof(struct apns_item, id), 0,
           offsetof(struct apns_item, token) - offsetof(struct apns_item, id));
    if (++p->generation == 0)
        p->generation = 1;
    p->used = true;
    p->id = (apns_push_id)p->generation << 32 | p->index;
    pool->used++;
    return p;
}

struct apns_item *apns_pool_get(const struct apns_pool *pool, apns_push_id id) {
    uint32_t i = (uint32_t)id;
    struct apns_item *p = i < pool->count ? at(pool, i) : NULL;
    return p && p->used && p->id == id ? p : NULL;
}

void apns_pool_give(struct apns_pool *pool, struct apns_item *p) {
    secret_wipe(p->token, strlen(p->token));
    secret_wipe(p->payload, p->req.payload_len);
    p->used = false;
    p->next_free = pool->first_free;
    pool->first_free = p->index + 1;
    pool->used--;
}

struct apns_item *apns_pool_next(const struct apns_pool *pool, uint32_t *cursor) {
    while (*cursor < pool->count) {
        struct apns_item *p = at(pool, (*cursor)++);
        if (p->used)
            return p;
    }
    return NULL;
}

void apns_pool_free(struct apns_pool *pool) {
    for (uint32_t i = 0; i * CHUNK_ITEMS < pool->count; i++)
        free(pool->chunks[i]);
    free(pool->chunks);
    *pool = (struct apns_pool){0};
}
