/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/stun_budget.h"

#include "base/bytes.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4 /* places that a source may have */
#define SETS (STUN_SOURCES / WAYS)

struct source {
    uint64_t key; /* 0: free */
    struct token_bucket failed;
};

struct stun_sources {
    uint64_t secret[2]; /* so that nobody can choose addresses that share a set */
    struct source set[SETS][WAYS];
};

static const struct token_rate leg_rate = {STUN_LEG_CHECKS_PER_S, STUN_LEG_CHECKS_BURST};
static const struct token_rate source_rate = {STUN_SOURCE_FAILS_PER_S, STUN_SOURCE_FAILS_BURST};

int stun_sources_new(struct stun_sources **sp) {
    struct stun_sources *s = calloc(1, sizeof *s);
    if (!s)
        return E_NOMEM;
    random_bytes(s->secret, sizeof s->secret);
    *sp = s;
    return 0;
}

struct stun_sources *stun_sources_free(struct stun_sources *s) {
    free(s);
    return NULL;
}

/* The finalizer of SplitMix64. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

static uint64_t key_of(const struct stun_sources *s, const struct addr *src) {
    struct addr a = *src;
    uint64_t net;
    addr_network(&a);
    if (a.u.sa.sa_family == AF_INET6)
        memcpy(&net, &a.u.v6.sin6_addr, sizeof net);
    else
        net = ~0ULL << 32 | a.u.v4.sin_addr.s_addr; /* none of a global IPv6 address */
    return mix(mix(net ^ s->secret[0]) ^ s->secret[1]) | 1;
}

/* NULL: this source has not failed, or it was long ago. */
static struct source *find(struct stun_sources *s, uint64_t key) {
    struct source *set = s->set[key >> 32 & (SETS - 1)];
    for (int i = 0; i < WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

static struct source *find_or_add(struct stun_sources *s, uint64_t key, uint64_t now_ms) {
    struct source *set = s->set[key >> 32 & (SETS - 1)], *found = find(s, key), *least = &set[0];
    if (found)
        return found;
    for (int i = 0; i < WAYS; i++)
        if (token_bucket_spent_milli(&set[i].failed, source_rate, now_ms) <
            token_bucket_spent_milli(&least->failed, source_rate, now_ms))
            least = &set[i];
    *least = (struct source){.key = key};
    return least;
}

static bool source_is_spent(struct stun_sources *s, const struct addr *src, uint64_t now_ms) {
    struct source *of = find(s, key_of(s, src));
    return of && !token_bucket_has(&of->failed, source_rate, now_ms);
}

bool stun_budget_take(struct stun_budget *b, struct stun_sources *s, const struct addr *src, bool vouched,
                      uint64_t now_ms) {
    /* The source first: what it may not do any more is not to use up the leg's budget. */
    if (!vouched && b->failed >= STUN_LEG_FAILED_FREE && source_is_spent(s, src, now_ms))
        return false;
    return token_bucket_take(vouched ? &b->vouched : &b->others, leg_rate, now_ms);
}

void stun_budget_failed(struct stun_budget *b, struct stun_sources *s, const struct addr *src, uint64_t now_ms) {
    struct source *of = find_or_add(s, key_of(s, src), now_ms);
    if (b->failed < STUN_LEG_FAILED_FREE)
        b->failed++;
    token_bucket_take(&of->failed, source_rate, now_ms);
}
