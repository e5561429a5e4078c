/* SPDX-License-Identifier: Apache-2.0 */
/* Calls' packets through a relay: callers behind one socket, phones behind another, SRTP of 20 ms of PCMU each way,
 * at a rate or as fast as the relay takes them; what arrives is checked. Thread: one. */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "dtls/rtp_crypt.h"
#include "tests/bench/bench_socket.h"

#define BENCH_LOAD_CALLS_MAX 1024

/* One end of a call. */
struct bench_end {
    struct addr to;          /* the relay */
    struct rtp_crypt *crypt; /* as this end sees it */
    uint16_t seq;
};

/* The same packets through one relay or another. */
struct bench_load {
    struct bench_socket *sockets[2]; /* callers, phones */
    struct bench_end (*ends)[2];     /* by call */
    unsigned calls;                  /* a call's number is its peers' number behind both sockets */
    uint64_t (*cpu_ns)(void *arg);   /* of the relay */
    void (*also)(void *arg);         /* called for every millisecond of packets at a rate; may be NULL */
    void *arg;
    unsigned turn; /* whose packet is next */
};

/* What came of all slices so far; zeroed at first. */
struct bench_tally {
    uint64_t sent_pkts, relayed_pkts, cpu_ns, wall_ns;
    uint32_t *samples_ns; /* one way; of packets at a rate */
    unsigned samples;
};

/* A slice of time with packets at a rate, evenly spaced, so that the relay wakes up for each of them. Ends the program
 * when a packet comes back altered. */
void bench_load_paced(struct bench_load *l, unsigned per_s, unsigned ms, struct bench_tally *t);
/* A slice with as many as the relay takes. */
void bench_load_full(struct bench_load *l, unsigned ms, struct bench_tally *t);
/* p: 0..1. Sorts the samples. */
double bench_tally_percentile_us(struct bench_tally *t, double p);
void bench_tally_free(struct bench_tally *t);

#endif
