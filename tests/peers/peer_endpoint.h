/* SPDX-License-Identifier: Apache-2.0 */
/* A WebRTC-like media endpoint for tests: ICE controlling agent, DTLS-SRTP or given SRTP keys, on a UDP socket of its
 * own. Thread: one. No callback may call back into the endpoint. */
#ifndef TESTS_PEERS_PEER_ENDPOINT_H
#define TESTS_PEERS_PEER_ENDPOINT_H

#include "base/addr.h"
#include "dtls/dtls_identity.h"
#include "dtls/media_keys.h"
#include "dtls/sdp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_CANDIDATES_MAX 8 /* a gateway announces two or three addresses */

enum peer_dtls { PEER_DTLS_NONE, PEER_DTLS_CLIENT, PEER_DTLS_SERVER };

/* Strings, fingerprints and keys are copied. */
struct peer_endpoint_params {
    const char *local_ufrag, *local_pwd;
    const char *remote_ufrag, *remote_pwd; /* may come later by peer_endpoint_set_remote */
    struct addr remote;                    /* where the checks go; unset: later */
    const struct addr *more;               /* further candidates: checks go round, the first that answers is used */
    size_t more_count;
    bool plain; /* no ICE: no checks, the path is up at once */
    int fd;     /* a bound UDP socket, duplicated; 0: make one */
    enum peer_dtls dtls;
    struct dtls_identity *identity; /* with DTLS; must outlive the endpoint */
    const struct sdp_fingerprint *fingerprints;
    size_t fingerprint_count;
    const struct media_keys *keys; /* without DTLS */
};

struct peer_endpoint_ops { /* each may be NULL */
    void (*path_up)(void *arg);
    void (*keys_up)(enum media_profile profile, void *arg);
    void (*rtp)(const uint8_t *p, size_t len, void *arg); /* one plain RTP packet */
    void (*data)(const uint8_t *p, size_t len, void *arg);
    void (*closed)(int err, void *arg);
    void (*rtcp)(const uint8_t *p, size_t len, void *arg); /* one plain RTCP packet */
};

struct peer_endpoint;

/* Binds a socket: on loopback when the remote is there (or not known yet), else on any address. Returns 0, E_IO,
 * E_NOMEM, E_CRYPTO. */
int peer_endpoint_new(struct peer_endpoint **ep, const struct peer_endpoint_params *params,
                      const struct peer_endpoint_ops *ops, void *arg);
/* Sends close_notify. Returns NULL. */
struct peer_endpoint *peer_endpoint_free(struct peer_endpoint *e);
void peer_endpoint_set_remote(struct peer_endpoint *e, const struct peer_endpoint_params *params);
/* To another network: a new socket, and checks that nominate from there; the old one is closed. ops.path_up comes
 * again, DTLS and keys stay. Returns 0 or E_IO. */
int peer_endpoint_move(struct peer_endpoint *e);
/* ICE restart: checks with these credentials from now on; ops.path_up comes again. */
void peer_endpoint_restart(struct peer_endpoint *e, const char *local_ufrag, const char *remote_ufrag,
                           const char *remote_pwd);
int peer_endpoint_fd(const struct peer_endpoint *e);
struct addr peer_endpoint_local(const struct peer_endpoint *e);
void peer_endpoint_on_readable(struct peer_endpoint *e, uint64_t now_ms);
/* Every 20 ms: checks, consent, DTLS timers. */
void peer_endpoint_tick(struct peer_endpoint *e, uint64_t now_ms);
/* Protect and send one plain RTP or RTCP packet. Returns 0, E_STATE before keys and path are there. */
int peer_endpoint_send_rtp(struct peer_endpoint *e, const uint8_t *p, size_t len);
/* One datagram of application data. Returns 0, E_STATE before the handshake is done, else as dtls_session_write. */
int peer_endpoint_send_data(struct peer_endpoint *e, const uint8_t *p, size_t len);
/* Send any bytes as they are, for hostile tests. */
void peer_endpoint_send_raw(struct peer_endpoint *e, const uint8_t *p, size_t len);
/* SRTP and SRTCP packets so far that failed their authentication, or came with an index that was used. */
uint64_t peer_endpoint_refused(const struct peer_endpoint *e);
void peer_endpoint_set_rx_roc(struct peer_endpoint *e, uint32_t ssrc, uint32_t roc);

#endif
