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

struct bench_callers_config {
    struct dtls_identity *identity;
    bool keep; /* associations are held and consent is kept up; else each is dropped silently once it is connected */
    unsigned nap_us; /* before they look at what came, so that all of a burst is there and the other side sleeps */
    int cpu;         /* to run on, or -1 */
};

/* Forks: before any thread is there. */
struct bench_callers *bench_callers_new(const struct bench_callers_config *cfg);
/* number: new for each call. */
void bench_callers_start(struct bench_callers *c, uint32_t number, const struct bench_target *target);
struct bench_callers_report bench_callers_report(struct bench_callers *c);
/* Ends the process. Returns NULL. */
struct bench_callers *bench_callers_free(struct bench_callers *c);

#endif
