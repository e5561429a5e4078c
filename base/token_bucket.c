/* SPDX-License-Identifier: Apache-2.0 */
#include "base/token_bucket.h"

#define ONE_MILLI 1000U

uint32_t token_bucket_spent_milli(struct token_bucket *b, struct token_rate rate, uint64_t now_ms) {
    uint64_t back = (uint64_t)((uint32_t)now_ms - b->at_ms) * rate.per_s; /* per_s thousandths in a millisecond */
    b->spent_milli = b->spent_milli > back ? b->spent_milli - (uint32_t)back : 0;
    b->at_ms = (uint32_t)now_ms;
    return b->spent_milli;
}

bool token_bucket_has(struct token_bucket *b, struct token_rate rate, uint64_t now_ms) {
    return token_bucket_spent_milli(b, rate, now_ms) + ONE_MILLI <= rate.burst * ONE_MILLI;
}

bool token_bucket_take(struct token_bucket *b, struct token_rate rate, uint64_t now_ms) {
    if (!token_bucket_has(b, rate, now_ms))
        return false;
    b->spent_milli += ONE_MILLI;
    return true;
}
