/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_mem.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_MIN_BYTES 64

struct apns_mem_block {
    struct apns_mem_block *next; /* while spare */
    size_t rank;                 /* APNS_MEM_CLASSES: too large for any */
    alignas(max_align_t) unsigned char p[];
};

static size_t bytes_of(size_t rank) {
    return (size_t)BLOCK_MIN_BYTES << rank;
}

static size_t rank_of(size_t size) {
    size_t rank = 0;
    while (rank < APNS_MEM_CLASSES && bytes_of(rank) < size)
        rank++;
    return rank;
}

static struct apns_mem_block *block_of(void *p) {
    return (struct apns_mem_block *)(void *)((unsigned char *)p - offsetof(struct apns_mem_block, p));
}

void *apns_mem_get(struct apns_mem *m, size_t size) {
    size_t rank = rank_of(size);
    struct apns_mem_block *b = rank < APNS_MEM_CLASSES ? m->spare[rank] : NULL;
    if (b) {
        m->spare[rank] = b->next;
        return b->p;
    }
    size_t room = rank < APNS_MEM_CLASSES ? bytes_of(rank) : size;
    if (room > SIZE_MAX - sizeof *b || !(b = malloc(sizeof *b + room)))
        return NULL;
    b->rank = rank;
    return b->p; /* cppcheck-suppress memleak ; it goes with its block */
}

void apns_mem_put(struct apns_mem *m, void *p) {
    if (!p)
        return;
    struct apns_mem_block *b = block_of(p);
    if (b->rank == APNS_MEM_CLASSES) {
        free(b);
        return;
    }
    b->next = m->spare[b->rank];
    m->spare[b->rank] = b;
}

void *apns_mem_zeroed(struct apns_mem *m, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *p = apns_mem_get(m, count * size);
    return p ? memset(p, 0, count * size) : NULL;
}

void *apns_mem_resize(struct apns_mem *m, void *p, size_t size) {
    if (!p)
        return apns_mem_get(m, size);
    struct apns_mem_block *b = block_of(p);
    if (b->rank == APNS_MEM_CLASSES) {
        struct apns_mem_block *moved = size <= SIZE_MAX - sizeof *b ? realloc(b, sizeof *b + size) : NULL;
        return moved ? moved->p : NULL;
    }
    if (size <= bytes_of(b->rank))
        return p;
    void *larger = apns_mem_get(m, size);
    if (larger) {
        memcpy(larger, p, bytes_of(b->rank));
        apns_mem_put(m, p);
    }
    return larger;
}

void apns_mem_free(struct apns_mem *m) {
    for (size_t i = 0; i < APNS_MEM_CLASSES; i++) {
        while (m->spare[i]) {
            struct apns_mem_block *b = m->spare[i];
            m->spare[i] = b->next;
            free(b);
        }
    }
}
