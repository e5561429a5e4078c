/* SPDX-License-Identifier: Apache-2.0 */
/* The media plane: N workers, one thread and one UDP port each. A media call has a far leg (the caller: ICE-lite and
 * DTLS-SRTP) and, after the handoff, a near leg (the phone), and relays between them on one worker.
 *
 * The control side (one thread, "loop") sends commands and receives events by value over a ring each way; ids are slot
 * + generation, and a command with a stale id does nothing. A worker never logs, never blocks and never calls back:
 * events wait until media_poll.
 *
 * What the caller sends before media_gate is counted and discarded unread, except that the SSRC and sequence numbers of
 * its headers are followed, so that a roll-over counter can be handed over (RFC 3711 3.3.1). */
#ifndef DTLS_MEDIA_H
#define DTLS_MEDIA_H

#include "base/addr.h"
#include "base/err.h"
#include "dtls/dtls_identity.h"
#include "dtls/dtls_session.h"
#include "dtls/ice_lite.h"
#include "dtls/media_keys.h"
#include "dtls/ringback.h"
#include "dtls/rtp.h"
#include "dtls/sdp.h"

#include <stdbool.h>
#include <stdint.h>

#define MEDIA_WORKERS_MAX         64
#define MEDIA_DATA_MAX_BYTES      1200 /* DTLS application data of one datagram */
#define MEDIA_DATA_SEND_MAX_BYTES 1100 /* what fits the MTU under every cipher: a record takes up to 93 bytes of it */

struct media;
typedef uint64_t media_id; /* worker, generation and slot in one; 0 is none */

struct media_config {
    const char *address; /* to bind, e.g. "0.0.0.0" or "::" */
    uint16_t port;       /* of the first worker; the others follow upwards. 0: each worker gets any free port */
    unsigned workers;    /* 1..MEDIA_WORKERS_MAX */
    unsigned calls_max;  /* per worker */
    unsigned hold_ms; /* after the gate opened and until the near path is there, the caller's packets wait this long at
                         most */
    unsigned inactivity_ms; /* a caller without ICE that sends nothing for so long after the gate opened is gone; 0:
                               never */
    struct dtls_identity_params identity; /* of each worker; its strings must outlive the media plane */
    const struct ringback *ringback;      /* for calls that want it; NULL: none. Outlives the media plane */
    bool keep; /* tell what calls need to go on after a crash: MEDIA_EV_LEG_STATE, MEDIA_EV_CALL_STATE */
};

/* Binds the ports, makes an identity per worker, starts the threads. Returns 0, or E_IO, E_INVAL, E_CRYPTO, E_NOMEM,
 * E_DENIED with a sentence. */
int media_start(struct media **mp, const struct media_config *cfg, struct err_text *et);
/* Ends all calls, joins the threads, wipes keys. Returns NULL. */
struct media *media_stop(struct media *m);

/* Worker's UDP port (bound one), fingerprint and number, for the SDP answer. */
unsigned media_workers(const struct media *m);
uint16_t media_port(const struct media *m, unsigned worker);
const char *media_fingerprint(const struct media *m, unsigned worker);
/* A new identity for each worker, where they are generated: for calls that are opened from now on. A call keeps the one
 * that media_fingerprint told before its media_open. Returns 0, or E_* and the identities stay. */
int media_rotate(struct media *m, struct err_text *et);
/* The fingerprint of this call's identity, of both its legs; NULL for a stale id. Valid until media_poll. */
const char *media_call_fingerprint(const struct media *m, media_id id);
/* As in media_config. */
const struct ringback *media_ringback(const struct media *m);
/* The worker with the fewest calls. */
unsigned media_pick_worker(const struct media *m);
unsigned media_worker_of(media_id id);

struct media_far {
    unsigned worker;
    struct ice_lite ice; /* ufrag, pwd, remote_ufrag as in the SDP */
    /* A caller without ICE (RFC 5763, 8842). When we are the DTLS server, it may come from any address: it gets a
     * cookie first, and is found by its certificate, and by `offered` where several calls wait for the same
     * certificate. When we are the client, the handshake goes to `offered`, at most five times unless something comes
     * back. The address that finishes the handshake is the caller's for the rest of the call. */
    bool plain;
    struct addr offered; /* c= and m=; unset when they name nothing that can be reached */
    bool dtls_client;    /* our role: true when the answer says a=setup:active */
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    /* Send the ringback tone, with this payload type, from the end of the handshake to the gate. Its packets are none
     * of the call's stats. Not for a call whose keys may go to a phone: its near leg can't be TRANSFER. */
    bool ringback;
    uint8_t ringback_pt;
};

/* Open a call with its far leg. Returns 0 and the id at once (E_FULL when the worker's calls_max or ring is full). */
int media_open(struct media *m, const struct media_far *far, media_id *id);

/* ICE restart of the far leg, by the caller's new fragment and a new pair of ours (ice: ufrag, pwd, remote_ufrag; see
 * ice_lite_restart). DTLS and SRTP go on untouched; media moves with the first nomination, which is a MEDIA_EV_FAR_ICE
 * again. Nothing happens to a leg without ICE. Returns 0, E_NOTFOUND, E_FULL. */
int media_far_restart(struct media *m, media_id id, const struct ice_lite *ice);

enum media_mode { MEDIA_MODE_NONE, MEDIA_MODE_TRANSFER, MEDIA_MODE_SEALED, MEDIA_MODE_SDES, MEDIA_MODE_DTLS };

#define MEDIA_WAITING_MAX 16 /* phones that may wait beside each other */

struct media_near {
    enum media_mode mode;
    /* SEALED: one of several phones that ring. Its leg waits beside the others', answers its checks and relays nothing,
     * until media_near_choose. */
    bool waits;
    unsigned number;        /* which phone it is: 0..MEDIA_WAITING_MAX - 1; given back in events */
    struct ice_lite ice;    /* the phone's checks carry "ufrag:remote_ufrag" */
    struct media_keys keys; /* SEALED, SDES: the near leg's own keys as the gateway sees them */
    struct sdp_fingerprint
        fingerprints[SDP_FINGERPRINTS_MAX]; /* DTLS: the phone's; may come later by media_near_fingerprints */
    size_t fingerprint_count;
    bool dtls_client;
};

/* Give the call a near leg, replacing one that is there, and those that wait, unless this one waits itself (then it
 * replaces the waiting one of its number). For TRANSFER the worker answers with MEDIA_EV_KEYS as soon as the far
 * handshake is done, and from then on never protects or unprotects with the far keys itself; where it has protected a
 * ringback tone with them, MEDIA_EV_FAILED (E_STATE) comes instead. */
int media_near_open(struct media *m, media_id id, const struct media_near *near);
/* The leg that waits with this number becomes the call's near leg, with the path that it has; the others are closed and
 * their keys wiped. Without such a leg the call fails (MEDIA_EV_FAILED). */
int media_near_choose(struct media *m, media_id id, unsigned number);
/* Close one leg that waits, and wipe its keys. */
int media_near_drop(struct media *m, media_id id, unsigned number);
/* DTLS mode: the phone's fingerprints and DTLS role, known from its SDP answer; a parked ClientHello is then taken up.
 */
int media_near_fingerprints(struct media *m, media_id id, const struct sdp_fingerprint *fp, size_t count,
                            bool dtls_client);
/* The callee accepted: media may flow from now on. */
int media_gate(struct media *m, media_id id);
/* TRANSFER: the phone confirmed the keys; the worker wipes its copy and forwards untouched from now on. Before it, the
 * phone's packets do not count. */
int media_keys_taken(struct media *m, media_id id);
/* Send DTLS application data to the caller. len up to MEDIA_DATA_SEND_MAX_BYTES. E_FULL when the worker has much to do:
 * the datagram is lost then. */
int media_data(struct media *m, media_id id, const uint8_t *p, size_t len);
/* End the call: close_notify to the DTLS peers, keys wiped. MEDIA_EV_CLOSED follows, the last event of this id. */
int media_close(struct media *m, media_id id);
/* Ask for MEDIA_EV_STATS. */
int media_stats(struct media *m, media_id id);

struct media_call_stats {
    uint64_t far_rx_pkts, far_tx_pkts, near_rx_pkts, near_tx_pkts; /* media packets received and sent on each leg */
    uint64_t far_rx_bytes, far_tx_bytes, near_rx_bytes, near_tx_bytes;
    uint64_t discarded_pkts; /* from the caller before the gate opened */
    uint64_t dropped_pkts;   /* authentication failures, no path, hold buffer overrun */
};

/* What a call needs to go on in another process: struct media_call_state, and a struct media_leg_state for each leg.
 * Both are told anew whenever something in them changes; the latest counts. A process that resumes a call sends on with
 * nothing that this one may have sent with: SRTCP indices and DTLS sequence numbers go on above the ones that were
 * reserved here (media_kept), and an SRTP packet gets the index that it would have got here, since that is its sender's
 * (RFC 3711 3.3.1). */
#define MEDIA_RESERVED (1U << 20) /* indices and sequence numbers, of each leg: hours of them */

struct media_leg_state {
    bool near, waits;        /* as in media_near */
    unsigned number;         /* of a near leg, as in media_near */
    enum media_mode mode;    /* likewise */
    struct ice_lite ice;     /* with the selected address */
    bool plain, dtls_client; /* as in media_far */
    struct addr offered;     /* as in media_far */
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    bool dtls_up;
    struct media_keys keys;         /* profile NONE: none, or erased */
    struct dtls_session_state dtls; /* record.cipher 0: none */
    uint32_t rtcp;                  /* the first SRTCP index to send with */
};

/* One direction. */
struct media_flow_state {
    struct rtp_streams rx; /* what comes in */
    /* Its roll-over counter less that of what goes out; MEDIA_ROC_NONE: nothing went out yet. */
    uint32_t roc_offset[RTP_STREAMS_MAX];
};
#define MEDIA_ROC_NONE UINT32_MAX

struct media_call_state {
    bool gate, keys_told, keys_taken, told_to_near, told_to_far;
    bool ringback, ringback_sent;
    uint8_t ringback_pt;
    struct media_flow_state from_far, from_near;
    struct media_call_stats stats; /* what was counted since is lost */
};

enum media_event_kind {
    MEDIA_EV_FAR_ICE,       /* the caller's path is nominated, for the first time or another: u.path */
    MEDIA_EV_FAR_ADDRESS,   /* a caller without ICE has proved its address: u.path */
    MEDIA_EV_FAR_DTLS,      /* the caller's handshake is done: u.profile */
    MEDIA_EV_RINGBACK,      /* the first packet of the ringback tone left */
    MEDIA_EV_KEYS,          /* TRANSFER: the far leg's keys, once: u.keys. The receiver wipes the event */
    MEDIA_EV_NEAR_ICE,      /* a phone's path: u.path, number as in media_near */
    MEDIA_EV_NEAR_DTLS,     /* the phone's handshake is done: u.profile */
    MEDIA_EV_FIRST_TO_NEAR, /* first media packet relayed caller -> phone */
    MEDIA_EV_FIRST_TO_FAR,  /* first media packet relayed phone -> caller */
    MEDIA_EV_DATA,          /* DTLS application data from the caller: u.data */
    MEDIA_EV_PEER_CLOSED,   /* close_notify: u.near says which leg */
    MEDIA_EV_FAILED,        /* u.failed: a leg cannot go on */
    MEDIA_EV_STATS,         /* u.stats */
    MEDIA_EV_LEG_STATE,     /* u.leg; with media_config.keep. The receiver wipes the event */
    MEDIA_EV_CALL_STATE,    /* u.call; likewise told, but holds no keys */
    MEDIA_EV_CLOSED         /* after media_close: the id is gone; u.stats has the final figures */
};

struct media_event {
    enum media_event_kind kind;
    media_id id;
    uint64_t at_us; /* monotonic: when it happened on the worker */
    union {
        struct {
            struct addr addr;
            unsigned number;
            bool waited; /* its leg was chosen, and brings this path along: it was told before */
        } path;
        enum media_profile profile;
        struct {
            struct media_keys keys;
            struct rtp_streams rx;
        } keys; /* keys.rx: what the caller sends, keys.tx: what the phone sends */
        struct {
            uint16_t len;
            uint8_t p[MEDIA_DATA_MAX_BYTES];
        } data;
        bool near;
        struct {
            bool near;
            int err;
            int alert; /* that the peer sent (dtls_alert_name); -1: none */
        } failed;
        struct media_call_stats stats;
        struct media_leg_state leg;
        struct media_call_state call;
    } u;
};

/* This state of a leg is where a crash cannot reach it: what it reserved may be used. Returns 0, E_NOTFOUND, E_FULL. */
int media_kept(struct media *m, media_id id, const struct media_leg_state *leg);
/* Tell all states of the call again. */
int media_tell_states(struct media *m, media_id id);

/* Open a call again that another process had: on the worker with this port, with the identity of this fingerprint
 * (media_fingerprint, or one that media_identity_load brought). Returns 0 and the id, or E_NOTFOUND with a sentence
 * when there is no such port or identity, E_FULL. */
struct media_resume {
    uint16_t port;
    const char *fingerprint;
    struct media_call_state call;
    struct media_leg_state far;
};
int media_resume(struct media *m, const struct media_resume *r, media_id *id, struct err_text *et);
/* Then its near leg, and those that wait. Returns 0, E_NOTFOUND, E_FULL. */
int media_resume_near(struct media *m, media_id id, const struct media_leg_state *near);

/* The present identity of a worker, key and certificate in PEM. *pem: secret_free it, *len bytes. Returns 0, E_NOMEM,
 * E_CRYPTO. */
int media_identity_save(const struct media *m, unsigned worker, char **pem, size_t *len);
/* One that was saved, for calls that are resumed. Returns 0, or E_CRYPTO, E_INVAL, E_NOMEM with a sentence. */
int media_identity_load(struct media *m, const char *pem, size_t len, struct err_text *et);
/* All calls are resumed: identities that none of them has go, by their fingerprints; the others go with their last
 * call.
 */
void media_identities_settle(struct media *m, void (*gone)(const char *fingerprint, void *arg), void *arg);

/* Readable when events wait; poll it on the loop. */
int media_fd(const struct media *m);
/* Take the next event. Returns 0, or E_AGAIN when there is none. */
int media_poll(struct media *m, struct media_event *ev);

/* Counters of all workers together, relaxed reads. */
struct media_totals {
    uint64_t rx_pkts, tx_pkts, stun_requests, stun_rejected, dtls_handshakes, dtls_failed, unknown_source_pkts,
        malformed_pkts, auth_failed_pkts, events_lost, ringback_pkts,
        stun_checked, /* HMACs computed: of a known leg and within its budget */
        stun_over_budget, held_pkts;
    uint64_t calls;
};
void media_totals(const struct media *m, struct media_totals *t);
/* Of one worker. */
void media_worker_totals(const struct media *m, unsigned worker, struct media_totals *t);

#endif
