/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_heap.h"

#include "base/err.h"

#include <stdbool.h>
#include <stdlib.h>

#define CAP_MIN 64

static bool before(const struct apns_heap_entry *a, const struct apns_heap_entry *b) {
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void set(struct apns_heap *h, uint32_t i, struct apns_heap_entry e) {
    h->entries[i] = e;
    *e.place = i + 1;
}

static void rise(struct apns_heap *h, uint32_t i, struct apns_heap_entry e) {
    while (i > 0 && before(&e, &h->entries[(i - 1) / 2])) {
        set(h, i, h->entries[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(h, i, e);
}

static void sink(struct apns_heap *h, uint32_t i, struct apns_heap_entry e) {
    for (uint32_t child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && before(&h->entries[child + 1], &h->entries[child]))
            child++;
        if (!before(&h->entries[child], &e))
            break;
        set(h, i, h->entries[child]);
    }
    set(h, i, e);
}

int apns_heap_put(struct apns_heap *h, const struct apns_heap_entry *e) {
    if (h->count == h->cap) {
        uint32_t cap = h->cap ? h->cap * 2 : CAP_MIN;
        struct apns_heap_entry *entries = realloc(h->entries, cap * sizeof *entries);
        if (!entries)
            return E_NOMEM;
        h->entries = entries;
        h->cap = cap;
    }
    rise(h, h->count++, *e);
    return 0;
}

void apns_heap_remove(struct apns_heap *h, uint32_t *place) {
    uint32_t i = *place;
    if (i-- == 0)
        return;
    *place = 0;
    struct apns_heap_entry last = h->entries[--h->count];
    if (i == h->count)
        return;
    if (i > 0 && before(&last, &h->entries[(i - 1) / 2]))
        rise(h, i, last);
    else
        sink(h, i, last);
}

const struct apns_heap_entry *apns_heap_top(const struct apns_heap *h) {
    return h->count ? h->entries : NULL;
}

void apns_heap_free(struct apns_heap *h) {
    free(h->entries);
    *h = (struct apns_heap){0};
}
