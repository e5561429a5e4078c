/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets of many, each by a key, in a table of fixed size: of those in a newcomer's way, the one that has spent
 * least gives its place, so that nobody is made forgotten by a crowd of others. All are judged by one rate. Thread:
 * one. No allocation after the start. */
#ifndef BASE_BUDGETS_H
#define BASE_BUDGETS_H

#include "base/addr.h"
#include "base/token_bucket.h"

struct budgets;

/* most: how many are remembered, 16 bytes each; a power of two, 4 to 2^31. Returns 0 or E_NOMEM. */
int budgets_new(struct budgets **bp, uint32_t most);
struct budgets *budgets_free(struct budgets *b);

/* The key of whoever has this number, and of a network (addr_network). Nobody outside can choose who shares a place. */
uint64_t budgets_key(const struct budgets *b, uint64_t who);
uint64_t budgets_key_network(const struct budgets *b, const struct addr *a);

/* Has it one left? */
bool budgets_has(struct budgets *b, uint64_t key, struct token_rate rate, uint64_t now_ms);
/* Take one. Returns false when there is none. */
bool budgets_take(struct budgets *b, uint64_t key, struct token_rate rate, uint64_t now_ms);

#endif
