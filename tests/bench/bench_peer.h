/* SPDX-License-Identifier: Apache-2.0 */
/* One peer behind a bench_socket: ICE checks, DTLS as the client, SRTP keys. Thread: the socket's. */
#ifndef TESTS_BENCH_PEER_H
#define TESTS_BENCH_PEER_H

#include "dtls/dtls_session.h"
#include "dtls/rtp_crypt.h"
#include "dtls/stun_msg.h"
#include "tests/bench/bench_socket.h"

#define BENCH_NAME_BYTES 64

/* Where a peer goes, and as whom. Plain value; goes through a pipe. */
struct bench_target {
    struct addr to;
    bool ice;                                            /* checks first */
    char ufrag[BENCH_NAME_BYTES], pwd[BENCH_NAME_BYTES]; /* of the other side */
    char own_ufrag[BENCH_NAME_BYTES];
    bool dtls;
    struct sdp_fingerprint fingerprint; /* of the other side */
};

struct bench_peer {
    struct bench_socket *socket;
    uint32_t number; /* address behind the socket */
    struct bench_target target;
    struct dtls_identity *identity;
    uint8_t txid[STUN_TXID_BYTES];
    uint64_t check_ms; /* when the next check is due */
    bool path_up, closed;
    int err; /* closed by an error */
    struct dtls_session *dtls;
    struct media_keys keys; /* profile NONE: not yet */
};

/* "sha-256 AB:CD:..." as a value. Ends the program when it is something else. */
struct sdp_fingerprint bench_fingerprint(const char *text);

/* All fields up to identity are set. */
void bench_peer_start(struct bench_peer *p, uint64_t now_ms);
void bench_peer_input(struct bench_peer *p, uint8_t *dg, size_t len, uint64_t now_ms);
/* Every 10 ms or so: checks that got lost, consent, DTLS timers. */
void bench_peer_tick(struct bench_peer *p, uint64_t now_ms);
/* Silent. */
void bench_peer_end(struct bench_peer *p);

#endif
