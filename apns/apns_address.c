/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_address.h"

#include <stdbool.h>
#include <stddef.h>

#define KNOWN_MAX (2 * APNS_ADDRESS_MAX)

static struct apns_address *find(struct apns_addresses *a, const struct addr *addr) {
    for (unsigned i = 0; i < a->count; i++)
        if (addr_eq(&a->known[i].addr, addr))
            return &a->known[i];
    return NULL;
}

/* The entry; the one that was not dialled for the longest time makes room. */
static struct apns_address *get(struct apns_addresses *a, const struct addr *addr) {
    struct apns_address *e = find(a, addr);
    if (e)
        return e;
    if (a->count < KNOWN_MAX) {
        e = &a->known[a->count++];
    } else {
        e = a->known;
        for (unsigned i = 1; i < KNOWN_MAX; i++)
            if (a->known[i].dial_ms < e->dial_ms)
                e = &a->known[i];
    }
    *e = (struct apns_address){.addr = *addr};
    return e;
}

struct candidate {
    bool banned;
    unsigned in_use;
    uint64_t dial_ms;
};

static bool better(const struct candidate *a, const struct candidate *b) {
    if (a->banned != b->banned)
        return b->banned;
    if (a->in_use != b->in_use)
        return a->in_use < b->in_use;
    return a->dial_ms < b->dial_ms;
}

unsigned apns_address_choose(struct apns_addresses *a, const struct addr *list, const unsigned *in_use, unsigned count,
                             uint64_t now_ms, uint64_t *wait_ms) {
    struct candidate best = {0};
    unsigned chosen = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct apns_address *e = find(a, &list[i]);
        struct candidate c = {e && e->banned_until_ms > now_ms, in_use[i], e ? e->dial_ms : 0};
        if (i == 0 || better(&c, &best)) {
            best = c;
            chosen = i;
        }
    }
    struct apns_address *e = get(a, &list[chosen]);
    uint64_t from = e->dial_ms ? e->dial_ms + APNS_CONNECT_MIN_MS : now_ms;
    *wait_ms = from > now_ms ? from - now_ms : 0;
    e->dial_ms = now_ms + *wait_ms;
    return chosen;
}

void apns_address_failed(struct apns_addresses *a, const struct addr *addr, uint64_t now_ms) {
    struct apns_address *e = get(a, addr);
    uint64_t ban_ms = APNS_ADDRESS_BAN_MS;
    for (unsigned i = 0; i < e->failures && ban_ms < APNS_ADDRESS_LAME_MS; i++)
        ban_ms *= 2;
    e->failures++;
    e->banned_until_ms = now_ms + (ban_ms < APNS_ADDRESS_LAME_MS ? ban_ms : APNS_ADDRESS_LAME_MS);
}

void apns_address_worked(struct apns_addresses *a, const struct addr *addr) {
    struct apns_address *e = find(a, addr);
    if (e) {
        e->failures = 0;
        e->banned_until_ms = 0;
    }
}
