/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budgets.h"

#include "base/bytes.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4 /* places that one may have */

struct entry {
    uint64_t key; /* 0: free */
    struct token_bucket spent;
};

struct budgets {
    uint64_t secret[2];
    uint32_t sets;
    struct entry set[][WAYS];
};

int budgets_new(struct budgets **bp, uint32_t most) {
    struct budgets *b = calloc(1, sizeof *b + (size_t)most * sizeof(struct entry));
    if (!b)
        return E_NOMEM;
    random_bytes(b->secret, sizeof b->secret);
    b->sets = most / WAYS;
    *bp = b;
    return 0;
}

struct budgets *budgets_free(struct budgets *b) {
    free(b);
    return NULL;
}

/* The finalizer of SplitMix64. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

uint64_t budgets_key(const struct budgets *b, uint64_t who) {
    return mix(mix(who ^ b->secret[0]) ^ b->secret[1]) | 1;
}

uint64_t budgets_key_network(const struct budgets *b, const struct addr *a) {
    struct addr of = *a;
    uint64_t net;
    addr_network(&of);
    if (of.u.sa.sa_family == AF_INET6)
        memcpy(&net, &of.u.v6.sin6_addr, sizeof net);
    else
        net = ~0ULL << 32 | of.u.v4.sin_addr.s_addr; /* none of a global IPv6 address */
    return budgets_key(b, net);
}

/* NULL: it has spent nothing, or it was long ago. */
static struct entry *find(struct budgets *b, uint64_t key) {
    struct entry *set = b->set[key >> 32 & (b->sets - 1)];
    for (int i = 0; i < WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

static struct entry *find_or_add(struct budgets *b, uint64_t key, struct token_rate rate, uint64_t now_ms) {
    struct entry *set = b->set[key >> 32 & (b->sets - 1)], *found = find(b, key), *least = &set[0];
    if (found)
        return found;
    for (int i = 0; i < WAYS; i++)
        if (token_bucket_spent_milli(&set[i].spent, rate, now_ms) <
            token_bucket_spent_milli(&least->spent, rate, now_ms))
            least = &set[i];
    *least = (struct entry){.key = key, .spent = {.at_ms = (uint32_t)now_ms}};
    return least;
}

bool budgets_has(struct budgets *b, uint64_t key, struct token_rate rate, uint64_t now_ms) {
    struct entry *e = find(b, key);
    return !e || token_bucket_has(&e->spent, rate, now_ms);
}

bool budgets_take(struct budgets *b, uint64_t key, struct token_rate rate, uint64_t now_ms) {
    return token_bucket_take(&find_or_add(b, key, rate, now_ms)->spent, rate, now_ms);
}
