/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of a DTLS handshake: OpenSSL alone, both ends in memory, everything that can be kept is kept. Thread: one.
 */
#ifndef TESTS_BENCH_HANDSHAKE_H
#define TESTS_BENCH_HANDSHAKE_H

#include <stdint.h>

#define BENCH_HANDSHAKES_MAX 64

/* n handshakes of DTLS 1.2 at once, as WebRTC does them (X25519, ECDSA P-256, certificates of both sides, use_srtp),
 * SSL objects made and freed, flight by flight. nap_us: the thread sleeps before each of the server's flights, as it
 * would for a network. Returns the CPU time of the servers' side in nanoseconds. Ends the program when one fails. */
uint64_t bench_handshakes_server_ns(unsigned n, unsigned nap_us);
/* The same on a thread of its own that goes before everything else, on the processor for what is measured. */
uint64_t bench_handshakes_floor_ns(unsigned n, unsigned nap_us);

#endif
