/* SPDX-License-Identifier: Apache-2.0 */
/* The media of one simulated peer on a libuv loop: an endpoint with its socket, a tone that it plays, a meter that
 * hears. Thread: the loop's. */
#ifndef TESTS_PEERS_PEER_MEDIA_H
#define TESTS_PEERS_PEER_MEDIA_H

#include "base/err.h"
#include "dtls/media_keys.h"
#include "dtls/sdp.h"
#include "tests/peers/peer_endpoint.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define PEER_DATA_BYTES 64

struct peer_media;

struct peer_media_report {
    bool path_up, keys_up;
    enum media_profile profile; /* NONE before the keys are there */
    bool closed;                /* the DTLS association is over: closed_err 0 by close_notify, else E_* */
    int closed_err;
    uint64_t keys_us, first_rx_us; /* monotonic; 0: not yet */
    uint64_t rx_pkts, tx_pkts;
    uint64_t last_rx_us, gap_us;      /* gap: the longest time between two packets that came one after the other */
    uint64_t refused_pkts;            /* that failed their authentication, or came with an index that was used */
    char heard_data[PEER_DATA_BYTES]; /* the latest application data, as text */
};

/* Opens the endpoint. remote: the other side's description; its audio codecs and payload types are copied, and the
 * first one that we can play is sent. Sends nothing but checks until peer_media_play.
 * Returns 0, or E_* with a sentence. What params points to must outlive the call, params->identity the object. */
int peer_media_new(struct peer_media **mp, uv_loop_t *loop, const struct sdp *remote,
                   const struct peer_endpoint_params *params, double tone_hz, struct err_text *et);
/* Send the tone from now on, as soon as path and keys are there. */
void peer_media_play(struct peer_media *m);
/* Say this over DTLS, once, as soon as the handshake is done. text outlives m. */
void peer_media_say(struct peer_media *m, const char *text);
/* Borrowed, as long as m. */
struct peer_endpoint *peer_media_endpoint(struct peer_media *m);
/* What happened so far; borrowed, and kept up to date, as long as m. */
const struct peer_media_report *peer_media_report(const struct peer_media *m);
/* The tone of the last half second, as peer_meter_hz; costs about a millisecond. */
double peer_media_heard_hz(const struct peer_media *m);
/* Two steps: stops at once, with close_notify; closed(arg) from the loop when everything is gone. */
void peer_media_close(struct peer_media *m, void (*closed)(void *arg), void *arg);

#endif
