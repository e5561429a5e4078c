/* SPDX-License-Identifier: Apache-2.0 */
/* A simulated caller: places one call over REST, brings ICE and DTLS-SRTP up with the gateway, plays a tone from then
 * on, follows the call, hears the callee, ends the call, and tells how it went. Thread: the loop's. */
#ifndef TESTS_PEERS_CALLER_H
#define TESTS_PEERS_CALLER_H

#include "base/bytes.h"
#include "base/err.h"
#include "dtls/dtls_identity.h"
#include "dtls/sdp.h"
#include "tests/peers/peer_audio.h"
#include "tests/peers/peer_http.h"
#include "tests/peers/peer_media.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum caller_hangup {
    CALLER_DELETES,     /* over REST */
    CALLER_CLOSES_DTLS, /* close_notify, as a browser that closes its connection does */
    CALLER_NEVER        /* the other side ends the call */
};

struct caller_config {
    struct peer_http api; /* token with the scope calls */
    const char *callee, *handle, *name;
    bool no_media;                  /* POST without an offer: the call only rings */
    struct dtls_identity *identity; /* with media; shared by all callers of the loop */
    bool no_ice;                    /* as a PBX: an address in c= and m=, no checks */
    struct addr address;            /* no_ice: where the socket is bound, port 0: any */
    struct addr claim;              /* no_ice: what the offer says instead, as behind a NAT; unset: the socket's own */
    enum sdp_setup setup;           /* of the offer: ACTPASS, ACTIVE, PASSIVE */
    enum peer_codec codec;
    double tone_hz, expect_hz; /* expect_hz 0: any packets will do */
    double ringback_hz;        /* to be heard before the answer; 0: does not matter */
    const char *say;           /* over DTLS, beside the media; NULL: nothing */
    enum caller_hangup hangup;
    unsigned duration_ms; /* after `active`; up to 3 s longer until expect_hz is heard, which takes half a second */
    unsigned timeout_ms;  /* for the call to become active, and again for its end */
    unsigned look_ms;     /* how often the call is asked for */
    bool timeline;        /* fetch it at the end */
};

struct caller_result {
    bool ok;
    struct err_text failure; /* with !ok: what failed first */
    char id[UUID_BYTES], state[16], reason[32];
    bool answered, active;
    double heard_hz;
    bool heard_expected, heard_ringback;
    uint64_t rx_pkts, tx_pkts, gap_us, refused_pkts; /* as in peer_media_report */
    char heard_data[PEER_DATA_BYTES];                /* the latest that came over DTLS */
    uint64_t created_us, dtls_us, first_packet_us;   /* from the request to its 201, to the end of the handshake, to the
                                                        first packet heard; 0: never */
    json_t *timeline;                                /* NULL: none */
};

struct caller;

/* Comes once, from the loop, when everything of the caller is gone; r is borrowed. */
typedef void (*caller_done_cb)(const struct caller_result *r, void *arg);

/* cfg must outlive the caller. Returns 0 or E_NOMEM; then done does not come. */
int caller_start(struct caller **cp, uv_loop_t *loop, const struct caller_config *cfg, caller_done_cb done, void *arg);
/* Give up: the call is ended, done comes as always. */
void caller_stop(struct caller *c);

#endif
