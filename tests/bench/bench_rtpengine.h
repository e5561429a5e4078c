/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on a running rtpengine, by its ng protocol: DTLS-SRTP on the caller's side, SDES on the phone's, AES-CM both.
 * Thread: one. */
#ifndef TESTS_BENCH_RTPENGINE_H
#define TESTS_BENCH_RTPENGINE_H

#include "tests/bench/bench_load.h"
#include "tests/bench/bench_peer.h"

struct bench_rtpengine {
    int fd; /* connected to its ng port */
    struct bench_socket *sockets[2];
    const char *callers; /* the callers' fingerprint */
};

/* Sockets and fingerprint are set. Ends the program when nobody answers. */
void bench_rtpengine_open(struct bench_rtpengine *r, uint16_t ng_port);
/* A call: targets for its caller (DTLS without ICE) and its phone, and the phone's keys as it sees them. */
void bench_rtpengine_call(struct bench_rtpengine *r, uint32_t number, struct bench_target *caller,
                          struct bench_target *phone, struct media_keys *phone_keys);
void bench_rtpengine_delete(struct bench_rtpengine *r, uint32_t number);
/* As bench_media_calls. */
void bench_rtpengine_calls(struct bench_rtpengine *r, struct bench_load *l, unsigned calls,
                           struct dtls_identity *callers);

#endif
