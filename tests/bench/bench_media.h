/* SPDX-License-Identifier: Apache-2.0 */
/* A media plane of one worker under measurement, through its public API, and calls on it. Thread: one. */
#ifndef TESTS_BENCH_MEDIA_H
#define TESTS_BENCH_MEDIA_H

#include "dtls/media.h"
#include "tests/bench/bench_load.h"
#include "tests/bench/bench_peer.h"

struct bench_media {
    struct media *media;
    pid_t worker; /* its thread */
    struct addr at;
    struct sdp_fingerprint fingerprint, callers; /* ours; what the callers' certificate has */
};

/* Ends the program with a sentence when it does not start. callers: the callers' fingerprint. The worker is pinned. */
void bench_media_start(struct bench_media *m, unsigned calls_max, const char *callers);
void bench_media_stop(struct bench_media *m);
/* Open a call with its far leg; target is for its caller. Returns what media_open does. */
int bench_media_open(struct bench_media *m, uint32_t number, media_id *id, struct bench_target *target);
/* The next event; false when none comes within the time. */
bool bench_media_event(struct bench_media *m, struct media_event *ev, unsigned wait_ms);

/* Bring up calls with both legs, gate open, and give their ends to the load (its sockets are there, its ends are made).
 * The callers' profile is the identity's; in SDES mode the phones' is the same. */
void bench_media_calls(struct bench_media *m, struct bench_load *l, unsigned calls, enum media_mode mode,
                       struct dtls_identity *callers);

#endif
