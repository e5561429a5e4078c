/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/stun_budget.h"

static const struct token_rate leg_rate = {STUN_LEG_CHECKS_PER_S, STUN_LEG_CHECKS_BURST};
static const struct token_rate source_rate = {STUN_SOURCE_FAILS_PER_S, STUN_SOURCE_FAILS_BURST};

bool stun_budget_take(struct stun_budget *b, struct budgets *s, const struct addr *src, bool vouched, uint64_t now_ms) {
    /* The source first: what it may not do any more is not to use up the leg's budget. */
    if (!vouched && b->failed >= STUN_LEG_FAILED_FREE &&
        !budgets_has(s, budgets_key_network(s, src), source_rate, now_ms))
        return false;
    return token_bucket_take(vouched ? &b->vouched : &b->others, leg_rate, now_ms);
}

void stun_budget_failed(struct stun_budget *b, struct budgets *s, const struct addr *src, uint64_t now_ms) {
    if (b->failed < STUN_LEG_FAILED_FREE)
        b->failed++;
    budgets_take(s, budgets_key_network(s, src), source_rate, now_ms);
}
