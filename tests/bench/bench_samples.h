/* SPDX-License-Identifier: Apache-2.0 */
/* Times in microseconds, and their percentiles. Thread: one. */
#ifndef TESTS_BENCH_SAMPLES_H
#define TESTS_BENCH_SAMPLES_H

#include <stdint.h>

struct bench_samples { /* zeroed at first */
    uint32_t *us;
    unsigned count, cap;
};

/* Ends the program when there is no memory. */
void bench_samples_add(struct bench_samples *s, uint64_t us);
/* p: 0..1; 0 without samples. Sorts them. */
uint32_t bench_samples_percentile(struct bench_samples *s, double p);
void bench_samples_free(struct bench_samples *s);

#endif
