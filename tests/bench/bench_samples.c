/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_samples.h"

#include <stdio.h>
#include <stdlib.h>

void bench_samples_add(struct bench_samples *s, uint64_t us) {
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->us = realloc(s->us, s->cap * sizeof *s->us);
    }
    if (!s->us) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    s->us[s->count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static int compare(const void *x, const void *y) {
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

uint32_t bench_samples_percentile(struct bench_samples *s, double p) {
    if (s->count == 0)
        return 0;
    qsort(s->us, s->count, sizeof *s->us, compare);
    return s->us[(unsigned)(p * (s->count - 1))];
}

void bench_samples_free(struct bench_samples *s) {
    free(s->us);
    *s = (struct bench_samples){0};
}
