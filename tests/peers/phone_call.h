/* SPDX-License-Identifier: Apache-2.0 */
/* The media side of a call on the simulated phone: takes a handoff object, brings the path up, plays and hears.
 * Thread: the loop's. */
#ifndef TESTS_PEERS_PHONE_CALL_H
#define TESTS_PEERS_PHONE_CALL_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct phone_call;

struct phone_call_report {
    char mode[16];
    bool path_up, keys_up;
    double heard_hz;
    uint64_t rx_pkts, tx_pkts, gap_us, refused_pkts; /* as in peer_media_report */
};

/* handoff: the object of design.md, "Handoff modes". tone_hz is played from phone_call_answer on. */
int phone_call_new(struct phone_call **cp, uv_loop_t *loop, const json_t *handoff, double tone_hz, struct err_text *et);
/* The SDP answer of mode dtls; "" in the others. Valid as long as the call. */
const char *phone_call_sdp(const struct phone_call *c);
/* True in modes whose keys came with the handoff, which the phone confirms by keys_taken. */
bool phone_call_has_keys(const struct phone_call *c);
void phone_call_answer(struct phone_call *c);
void phone_call_report(const struct phone_call *c, struct phone_call_report *r);
/* Stops; the memory goes when the loop has closed its handles. */
void phone_call_close(struct phone_call *c);

#endif
