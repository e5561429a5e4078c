/* SPDX-License-Identifier: Apache-2.0 */
/* Callers in a process of their own, of the lowest priority, so that neither their time nor their memory is counted. */
#ifndef TESTS_BENCH_CALLERS_H
#define TESTS_BENCH_CALLERS_H

#include "tests/bench/bench_peer.h"

struct bench_callers;

struct bench_callers_report {
    uint32_t connected; /* handshakes done */
    uint32_t closed;    /* close_notify received */
    uint32_t failed;    /* ended by an error, or not connected */
};

/* Forks: before any thread is there. keep: associations are held and consent is kept up; else each is dropped silently
 * as soon as it is connected. cpu: to run on, or -1. */
struct bench_callers *bench_callers_new(struct dtls_identity *identity, bool keep, int cpu);
/* number: new for each call. */
void bench_callers_start(struct bench_callers *c, uint32_t number, const struct bench_target *target);
struct bench_callers_report bench_callers_report(struct bench_callers *c);
/* Ends the process. Returns NULL. */
struct bench_callers *bench_callers_free(struct bench_callers *c);

#endif
