/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of items by (key, seq), the smallest first, from which an item can be taken out of the middle: the item
 * keeps its place. O(log n); allocates only when it grows beyond what it ever held. Thread: one. */
#ifndef APNS_APNS_HEAP_H
#define APNS_APNS_HEAP_H

#include <stdint.h>

struct apns_heap_entry {
    uint64_t key, seq;
    void *item;
    uint32_t *place; /* in the item: 1 + index here; 0: not in the heap */
};

/* Zeroed: empty. */
struct apns_heap {
    struct apns_heap_entry *entries;
    uint32_t count, cap;
};

/* Place must be 0. Returns 0 or E_NOMEM. */
int apns_heap_put(struct apns_heap *h, const struct apns_heap_entry *e);
/* An item that is not in the heap is left alone. */
void apns_heap_remove(struct apns_heap *h, uint32_t *place);
/* The first entry, valid until the next change; NULL when empty. */
const struct apns_heap_entry *apns_heap_top(const struct apns_heap *h);
/* Release the memory; items keep stale places. */
void apns_heap_free(struct apns_heap *h);

#endif
