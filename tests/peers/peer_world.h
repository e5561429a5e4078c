/* SPDX-License-Identifier: Apache-2.0 */
/* A media plane with one worker, a caller and a phone on loopback sockets, for unit tests of what goes between them.
 * Thread: one. What fails is asserted. */
#ifndef TESTS_PEERS_PEER_WORLD_H
#define TESTS_PEERS_PEER_WORLD_H

#include "base/clock.h"
#include "dtls/media.h"
#include "tests/peers/peer_endpoint.h"

#define PEER_WORLD_GOT_MAX   128
#define PEER_WORLD_PKT_BYTES 1100

struct peer_packet { /* as it was before it was protected */
    uint64_t at_ms;
    bool rtcp;
    size_t len;
    uint8_t p[PEER_WORLD_PKT_BYTES];
};

struct peer_end {
    struct dtls_identity *identity;
    struct peer_endpoint *e;
    bool path, keys, closed;
    char data[64];  /* the latest application data, as text */
    unsigned count; /* of got */
    struct peer_packet got[PEER_WORLD_GOT_MAX];
};

struct peer_world {
    struct media *media;
    media_id id;
    struct peer_end caller, phone;
    struct ice_lite far, near;
    bool seen[MEDIA_EV_CLOSED + 1];
    struct media_event keys, last_stats; /* last_stats: of MEDIA_EV_STATS or MEDIA_EV_CLOSED */
    int failed_err;
    /* With media_config.keep: the latest states. keeps: each is safe at once. */
    struct media_leg_state far_state, near_state;
    struct media_call_state call_state;
    unsigned states; /* how many came */
    bool keeps;
    bool waits;     /* peer_world_hand_over: its leg waits to be chosen, as number 0 */
    char *identity; /* of the first media plane, in PEM */
    size_t identity_len;
};

struct peer_world *peer_world_new(const struct media_config *cfg);
struct peer_world *peer_world_free(struct peer_world *w);

/* A caller with DTLS, as far says; its fingerprint and ICE credentials are filled in. */
void peer_world_open(struct peer_world *w, const struct media_far *far);
/* The same, until its handshake is done. */
void peer_world_call(struct peer_world *w, const struct media_far *far);
/* The near leg, and a phone that has its keys (TRANSFER: after MEDIA_EV_KEYS; the gateway is told keys_taken). Does not
 * open the gate. Comes back when the phone's path is there, and in mode DTLS its keys. */
void peer_world_hand_over(struct peer_world *w, enum media_mode mode);
void peer_world_send(struct peer_end *from, const uint8_t *p, size_t len);
/* A plain packet of 20 ms of nothing. */
void peer_world_send_rtp(struct peer_end *from, uint32_t ssrc, uint16_t seq);

/* The media plane is gone without a word, as by kill -9, and another one, which knows what the first one told, takes
 * the call up on the same port. */
void peer_world_crash(struct peer_world *w, const struct media_config *cfg);

/* The callee accepts. */
void peer_world_gate(struct peer_world *w);
/* Comes back when the worker has carried out the commands so far. */
void peer_world_sync(struct peer_world *w);
/* Everybody does what there is to do, for about 2 ms. */
void peer_world_step(struct peer_world *w);
void peer_world_settle(struct peer_world *w, unsigned ms);

#define peer_world_until(w, condition)                                                                                 \
    do {                                                                                                               \
        uint64_t until_ms = clock_mono_ms() + 10000;                                                                   \
        while (!(condition) && clock_mono_ms() < until_ms)                                                             \
            peer_world_step(w);                                                                                        \
        assert_true(condition);                                                                                        \
    } while (0)

#endif
