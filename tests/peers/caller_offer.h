/* SPDX-License-Identifier: Apache-2.0 */
/* The SDP offer of a simulated caller. Pure. Thread: any. */
#ifndef TESTS_PEERS_CALLER_OFFER_H
#define TESTS_PEERS_CALLER_OFFER_H

#include "base/buf.h"
#include "dtls/sdp.h"
#include "tests/peers/peer_audio.h"

#include <stdint.h>

#define CALLER_OPUS_PT 111
#define CALLER_PCMU_PT 0

struct caller_offer {
    const char *ufrag, *pwd;  /* not looked at with `plain` */
    const struct addr *plain; /* no ICE, and this address in c= and m=; NULL: ICE */
    const char *fingerprint;  /* "sha-256 AB:CD:..." */
    enum sdp_setup setup;     /* ACTPASS, ACTIVE or PASSIVE */
    enum peer_codec first;    /* what we like to hear most; the other one follows */
    uint64_t session_id;
};

/* One audio section with Opus and PCMU. Like a browser's first offer it has port 9 and no candidate (RFC 8840 4.1.1):
 * the socket is opened when the answer has told which network the gateway is in, and the gateway, being ICE-lite,
 * learns our address from the checks. Without ICE it is what a PBX offers. */
void caller_offer_write(struct buf *out, const struct caller_offer *o);

#endif
