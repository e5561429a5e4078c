/* SPDX-License-Identifier: Apache-2.0 */
/* So many a second, and so many at once: what somebody may cost. Zeroed: nothing is spent. Thread: one. */
#ifndef BASE_TOKEN_BUCKET_H
#define BASE_TOKEN_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds modulo 2^32: one that nobody looked at for 49 days may count as spent for a moment. */
struct token_bucket {
    uint32_t spent_milli, at_ms;
};

struct token_rate {
    unsigned per_s, burst;
};

/* Take one. Returns false when there is none. */
bool token_bucket_take(struct token_bucket *b, struct token_rate rate, uint64_t now_ms);
/* Would it give one? */
bool token_bucket_has(struct token_bucket *b, struct token_rate rate, uint64_t now_ms);
/* Thousandths that are spent and have not come back. */
uint32_t token_bucket_spent_milli(struct token_bucket *b, struct token_rate rate, uint64_t now_ms);

#endif
