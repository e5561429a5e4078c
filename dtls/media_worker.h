/* SPDX-License-Identifier: Apache-2.0 */
/* One media worker: a thread, a UDP socket, a ring each way, and the calls that live on it. Private to dtls/.
 * Thread: the worker's, except where a title says otherwise. */
#ifndef DTLS_MEDIA_WORKER_H
#define DTLS_MEDIA_WORKER_H

#include "base/ring.h"
#include "dtls/dtls_identity.h"
#include "dtls/media.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#define WORKER_BATCH       32    /* datagrams per recvmmsg and sendmmsg */
#define WORKER_DGRAM_BYTES 1600  /* an Ethernet MTU, and room for an SRTP trailer behind it */
#define WORKER_DGRAM_MAX   1500  /* what we receive; longer datagrams are cut and then fail their authentication */
#define WORKER_BACKLOG_MAX 65536 /* events waiting for a full ring */

enum media_command_kind {
    MEDIA_CMD_OPEN,
    MEDIA_CMD_FAR_RESTART,
    MEDIA_CMD_NEAR_OPEN,
    MEDIA_CMD_NEAR_CHOOSE,
    MEDIA_CMD_NEAR_DROP,
    MEDIA_CMD_NEAR_FINGERPRINTS,
    MEDIA_CMD_GATE,
    MEDIA_CMD_KEYS_TAKEN,
    MEDIA_CMD_DATA,
    MEDIA_CMD_CLOSE,
    MEDIA_CMD_STATS,
    MEDIA_CMD_RESUME,
    MEDIA_CMD_RESUME_NEAR,
    MEDIA_CMD_KEPT,
    MEDIA_CMD_TELL_STATES,
    MEDIA_CMD_STOP
};

struct media_command {
    enum media_command_kind kind;
    media_id id;
    union {
        struct {
            struct media_far far;
            struct dtls_identity *identity; /* the loop keeps it for as long as the call is there */
        } open;
        struct {
            struct media_call_state call;
            struct media_leg_state far;
            struct dtls_identity *identity; /* likewise */
        } resume;
        struct media_leg_state leg;
        struct {
            bool near;
            uint32_t rtcp;
            uint64_t record;
        } kept;
        struct ice_lite ice;
        struct media_near near;
        unsigned number;
        struct {
            struct sdp_fingerprint fp[SDP_FINGERPRINTS_MAX];
            size_t count;
            bool dtls_client;
        } fingerprints;
        struct {
            uint16_t len;
            uint8_t p[MEDIA_DATA_MAX_BYTES];
        } data;
    } u;
};

struct media_call;
struct media_leg;
struct media_plain;
struct media_ringing;
struct budgets;

/* An address that an authenticated check vouched for. Embedded in its leg. */
struct media_source {
    struct addr addr; /* hash key: every byte of it */
    struct media_leg *leg;
    UT_hash_handle hh;
};

/* A leg's local ICE fragment. Embedded in its leg. */
struct media_ufrag {
    char ufrag[ICE_UFRAG_BYTES]; /* hash key */
    struct media_leg *leg;       /* NULL: not in the table */
    UT_hash_handle hh;
};

struct worker_counters {
    _Atomic uint64_t rx_pkts, tx_pkts, stun_requests, stun_rejected, dtls_handshakes, dtls_failed, unknown_source_pkts,
        malformed_pkts, auth_failed_pkts, events_lost, ringback_pkts, stun_checked, stun_over_budget, held_pkts, calls;
};

struct worker_event; /* in the backlog */

struct media_worker {
    /* RO after init: */
    unsigned number;
    int fd;
    uint16_t port;
    bool maps_v4; /* an IPv6 socket: IPv4 addresses are mapped ones */
    bool keep;
    unsigned calls_max, hold_ms, inactivity_ms;
    const struct ringback *ringback; /* NULL: none */
    struct ring *commands;           /* loop pushes, worker pops */
    struct ring *events;             /* worker pushes, loop pops */
    pthread_t thread;
    bool started;

    /* worker: */
    struct media_call **calls; /* by slot */
    struct media_ufrag *by_ufrag;
    struct media_source *by_addr;
    struct media_plain *plain; /* callers without ICE */
    struct budgets *stun_sources;
    struct media_ringing *ringing;          /* calls that hear the ringback tone, the one that is due first in front */
    struct media_leg *handshaking;          /* list of the legs whose DTLS is under way */
    unsigned calls_open, calls_most, swept; /* most: since memory was given back; swept: where the sweep goes on */
    uint64_t now_ms, media_ms;              /* media_ms: when media came last */
    struct worker_event *backlog, *backlog_tail;
    unsigned backlog_count;
    struct worker_out *out;
    struct worker_later *later;
    bool stopping;

    /* atomic: */
    struct worker_counters n;
};

/* Loop: bind and start; media_config as given, port already chosen. */
int media_worker_start(struct media_worker *w, const struct media_config *cfg, uint16_t port, struct err_text *et);
/* Loop: stop, join, release. */
void media_worker_stop(struct media_worker *w);

/* Queue one datagram. copy: the bytes do not outlive the current batch. */
void media_worker_send(struct media_worker *w, const struct addr *to, const uint8_t *p, size_t len, bool copy);
/* Hand an event to the loop; kept in a bounded backlog while the ring is full. */
void media_worker_emit(struct media_worker *w, const struct media_event *ev);

static inline void worker_count(_Atomic uint64_t *n, uint64_t by) {
    atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

#endif
