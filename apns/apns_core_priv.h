/* SPDX-License-Identifier: Apache-2.0 */
/* The core's state, shared by its files: apns_core.c (life, time, pushes), apns_lane.c (queues
 * and who sends what where), apns_link.c (connections), apns_policy.c (answers), apns_meters.c (metrics). */
#ifndef APNS_APNS_CORE_PRIV_H
#define APNS_APNS_CORE_PRIV_H

#include "apns/apns_address.h"
#include "apns/apns_core.h"
#include "apns/apns_heap.h"
#include "apns/apns_reason.h"
#include "apns/apns_session.h"
#include "base/bytes.h"
#include "base/slots.h"

#define APNS_UNDER_WAY_MAX   65536 /* pushes of all credentials together */
#define APNS_TRIES_MAX       2     /* a push of unknown fate goes out once more */
#define APNS_HEDGE_MS        300
#define APNS_SILENT_MS       60000   /* a connection that said nothing for so long gets a PING with the next request */
#define APNS_IDLE_PING_MS    3600000 /* and an idle one every hour */
#define APNS_PING_LIMIT_MS   5000    /* no sign of life after a PING: dead */
#define APNS_DRAIN_MAX_MS    2000    /* for answers still under way on a connection that is given up */
#define APNS_REFUSED_WAIT_MS 50      /* what the peer refuses is not offered to it again at once */
#define APNS_UNANSWERED_MAX  3       /* deadlines missed in a row: it acknowledges, but does not work */
#define APNS_BREAK_MIN_MS    1000    /* pause after a refused credential, doubling */
#define APNS_BREAK_MAX_MS    8000
#define APNS_ALARM_AGAIN_MS  600000
#define APNS_ALARMS          (APNS_ALARM_BUG + 1)
#define APNS_BAD_WINDOW_MS   60000  /* for counting BadDeviceToken */
#define APNS_BAD_TOKENS_MAX  16     /* different tokens in the window, and more than half of the answers */
#define APNS_BAD_HOLD_MS     600000 /* no verdict for deletion for so long after the last */
#define APNS_TOPIC_OLD_MS    60000  /* a connection may be older than a topic that it does not know */
#define APNS_TOPIC_AGAIN_MS  600000 /* between two renewals for that */
#define APNS_LABELS_BYTES    256

struct apns_item;

/* A push on a connection; the session's tag. */
struct apns_flight {
    struct apns_flight *prev, *next; /* in the link's list */
    struct apns_item *item;
    struct apns_link *link; /* NULL: not flying */
    bool written;           /* to the socket, as far as we know */
};

struct apns_item {
    apns_push_id id;
    struct apns_credential *home;       /* the caller's */
    struct apns_credential *credential; /* where it is now: home, or its pair */
    enum apns_lane lane, queue_lane;    /* the caller's, and where it waits */
    struct apns_request req;            /* into the buffers below */
    uint32_t queue_place, due_place;
    uint64_t seq, deadline_ms, hedge_at_ms; /* hedge: 0: none */
    uint64_t queued_us, written_us;
    struct apns_flight flights[2];
    unsigned flying, tries;
    uint64_t avoid; /* serial of the link that lost it */
    struct addr avoid_addr;
    bool hedged, probed;             /* probed: at the pair */
    const struct apns_reason *saved; /* an answer that stands unless a better one comes */
    int saved_status;
    char saved_reason[64];
    apns_result_cb cb;
    void *arg;
    char expiration[24], priority[4], apns_id[UUID_BYTES];
    char collapse_id[APNS_COLLAPSE_ID_MAX_BYTES + 1], topic[APNS_TOPIC_MAX_CHARS + 1];
    char token[APNS_TOKEN_MAX_CHARS + 1];
    char payload[APNS_VOIP_PAYLOAD_MAX_BYTES];
};

enum apns_link_state {
    APNS_LINK_WAITING,  /* for retry_ms */
    APNS_LINK_DIALLING, /* DNS, TCP, TLS */
    APNS_LINK_SETTINGS, /* TLS is up */
    APNS_LINK_UP,
    APNS_LINK_DRAINING /* no new requests */
};

struct apns_link {
    struct apns_link *prev, *next;
    struct apns_credential *credential;
    enum apns_lane lane;
    enum apns_link_state state;
    bool leaving; /* goes when another of its lane comes up */
    bool inside;  /* its session calls us */
    uint64_t serial;
    void *socket;
    struct apns_session *session;
    struct apns_flight *flights;
    unsigned fresh; /* the last so many of them are not written yet */
    struct apns_token *token;
    struct apns_token_use use;
    struct addr peer;
    unsigned failures, unanswered, slot; /* slot: for metrics */
    uint64_t answers;
    uint64_t retry_ms, dialled_ms, heard_ms, ping_ms, drain_until_ms, refused_until_ms; /* 0: none */
};

struct apns_breaker {
    uint64_t until_ms, pause_ms; /* pause 0: closed */
    unsigned expired;            /* ExpiredProviderToken in a row */
};

struct apns_bad_tokens {
    uint64_t window_ms, hold_until_ms;
    unsigned different, bad, answers;
    uint32_t seen[APNS_BAD_TOKENS_MAX]; /* hashes */
};

struct apns_meters {
    struct metric *accepted, *withdrawn, *expired, *hedged, *refused, *unknown, *answered, *pressure, *connects;
    unsigned rejected; /* answers since pressure_ms */
    uint64_t pressure_ms;
};

struct apns_credential {
    struct apns_credential *next;
    struct apns_core *core;
    struct apns_credential *pair;
    char *name, *host;
    uint16_t port;
    struct apns_token *token; /* NULL: certificate */
    void *owner;
    unsigned ring_connections, hedge_ms, addresses_seen;
    bool used[APNS_LANES];
    struct apns_heap queue[APNS_LANES];
    unsigned queued, flying, homes; /* homes: pushes whose home it is, wherever they are */
    bool retired;
    struct apns_link *links;
    struct apns_breaker breaker;
    struct apns_bad_tokens bad;
    uint64_t alarmed_ms[APNS_ALARMS];
    uint64_t renewed_ms; /* for a topic; 0: never */
    struct apns_meters meters;
};

struct apns_token_node {
    struct apns_token_node *next;
    struct apns_token *token;
};

struct apns_core {
    struct apns_core_ops ops;
    void *arg;
    struct metrics *metrics;
    apns_alarm_cb alarm;
    void *alarm_arg;
    struct apns_time now;
    struct apns_credential *credentials;
    struct apns_token_node *tokens;  /* shared by credentials with the same key */
    struct apns_addresses addresses; /* of all credentials: APNs sees who connects, not for which app */
    struct slots *items;             /* of struct apns_item */
    struct apns_heap due;
    uint64_t seq, serial, gauges_ms;
    bool draining, stopped;
    struct metric *queue_wait, *answer_time;
};

static inline uint64_t apns_now_ms(const struct apns_core *k) {
    return k->now.mono_us / 1000;
}

/* apns_lane.c */
int apns_lane_enqueue(struct apns_item *p, struct apns_credential *c, enum apns_lane lane); /* 0 or E_NOMEM */
void apns_lane_dequeue(struct apns_item *p);
/* Submit what waits, as far as there is room. */
void apns_lanes_pump(struct apns_credential *c);
/* Have as many links as each lane should. */
void apns_lanes_fill(struct apns_credential *c);
/* Its hedge time has come. */
void apns_lane_hedge(struct apns_item *p);
/* Off its connection; nothing is told to the peer. */
void apns_flight_end(struct apns_flight *f);
/* Off all its connections; the streams are reset. missed: no answer came in time. */
void apns_item_ground(struct apns_item *p, bool missed);

/* apns_link.c */
int apns_link_new(struct apns_credential *c, enum apns_lane lane, unsigned failures); /* 0 or E_NOMEM */
void apns_link_step(struct apns_link *l);
uint64_t apns_link_next_ms(const struct apns_link *l);
/* No new requests when at_once; else when another is up. */
void apns_link_retire(struct apns_link *l, bool at_once);
void apns_link_ping(struct apns_link *l);
/* Hang up, and free; flights must be gone. */
void apns_link_end(struct apns_link *l);
bool apns_link_usable(const struct apns_link *l);

/* apns_policy.c */
extern const struct apns_session_ops apns_policy_ops; /* arg: the link */
void apns_policy_lost(struct apns_flight *f, bool refused);
/* May it be submitted now? */
bool apns_policy_open(const struct apns_credential *c);

/* apns_core.c: the end of a push, its callback, once. */
void apns_item_finish(struct apns_item *p, struct apns_result *r);
void apns_item_fail(struct apns_item *p, enum apns_verdict verdict, int err);
/* When to look at it again. */
void apns_item_arm(struct apns_item *p);

/* apns_meters.c */
void apns_meters_init(struct apns_core *k);
void apns_meters_add(struct apns_credential *c);
void apns_meters_result(struct apns_credential *c, const struct apns_result *r);
/* One connection's figures; all 0 without a session. */
void apns_meters_link(const struct apns_link *l);
void apns_meters_gauges(struct apns_core *k);

#endif
