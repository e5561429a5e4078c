/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slots.h"

#include "base/err.h"

#include <openssl/crypto.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_ITEMS 256

struct slot {
    uint32_t generation; /* counts up at each use; never 0 in an id */
    uint32_t next_free;  /* 1 + index; 0: none */
    bool used;
    alignas(max_align_t) unsigned char item[];
};

struct slots {
    size_t item_bytes, slot_bytes;
    uint32_t max, count, used, first_free;
    unsigned char **chunks;
};

int slots_new(struct slots **sp, size_t item_bytes, uint32_t max) {
    if (item_bytes == 0 || max == 0 || max > 1U << 24)
        return E_INVAL;
    struct slots *s = calloc(1, sizeof *s);
    if (!s)
        return E_NOMEM;
    s->item_bytes = item_bytes;
    s->slot_bytes =
        (sizeof(struct slot) + item_bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    s->max = max;
    s->chunks = calloc((max + CHUNK_ITEMS - 1) / CHUNK_ITEMS, sizeof *s->chunks);
    if (!s->chunks) {
        free(s);
        return E_NOMEM;
    }
    *sp = s;
    return 0;
}

struct slots *slots_free(struct slots *s) {
    if (!s)
        return NULL;
    for (uint32_t i = 0; i * CHUNK_ITEMS < s->count; i++)
        free(s->chunks[i]);
    free(s->chunks);
    free(s);
    return NULL;
}

static struct slot *slot_at(const struct slots *s, uint32_t i) {
    return (struct slot *)(void *)(s->chunks[i / CHUNK_ITEMS] + (size_t)(i % CHUNK_ITEMS) * s->slot_bytes);
}

/* The index of a slot that was never used, or max when there is none. */
static uint32_t fresh_slot(struct slots *s) {
    if (s->count == s->max)
        return s->max;
    if (s->count % CHUNK_ITEMS == 0) {
        unsigned char *chunk = calloc(CHUNK_ITEMS, s->slot_bytes);
        if (!chunk)
            return s->max;
        s->chunks[s->count / CHUNK_ITEMS] = chunk;
    }
    return s->count++;
}

void *slots_alloc(struct slots *s, slot_id *id) {
    uint32_t i = s->first_free ? s->first_free - 1 : fresh_slot(s);
    if (i == s->max)
        return NULL;
    struct slot *slot = slot_at(s, i);
    if (s->first_free)
        s->first_free = slot->next_free;
    if (++slot->generation == 0)
        slot->generation = 1;
    slot->used = true;
    s->used++;
    *id = (slot_id)slot->generation << 32 | i;
    return slot->item;
}

static struct slot *find(const struct slots *s, slot_id id) {
    uint32_t i = (uint32_t)id;
    if (i >= s->count)
        return NULL;
    struct slot *slot = slot_at(s, i);
    return slot->used && slot->generation == id >> 32 ? slot : NULL;
}

void *slots_get(const struct slots *s, slot_id id) {
    struct slot *slot = find(s, id);
    return slot ? slot->item : NULL;
}

void slots_release(struct slots *s, slot_id id) {
    struct slot *slot = find(s, id);
    if (!slot)
        return;
    OPENSSL_cleanse(slot->item, s->item_bytes);
    slot->used = false;
    slot->next_free = s->first_free;
    s->first_free = (uint32_t)id + 1;
    s->used--;
}

uint32_t slots_used(const struct slots *s) {
    return s->used;
}

void *slots_next(const struct slots *s, uint32_t *cursor, slot_id *id) {
    while (*cursor < s->count) {
        uint32_t i = (*cursor)++;
        struct slot *slot = slot_at(s, i);
        if (slot->used) {
            *id = (slot_id)slot->generation << 32 | i;
            return slot->item;
        }
    }
    return NULL;
}
