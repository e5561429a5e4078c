/* SPDX-License-Identifier: Apache-2.0 */
/* Apple Push Notification service: a provider client. Public header of the library; usable alone.
 *
 * One `struct apns` holds any number of credentials (a team's key for an environment, with its server address); each
 * credential has its own connections, queue and provider token. Everything runs on the caller's libuv loop, nothing
 * blocks but DNS (libuv's thread pool), and every push that was taken ends in exactly one call of its result callback.
 * Thread: the loop's, for all functions. */
#ifndef APNS_APNS_H
#define APNS_APNS_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define APNS_PAYLOAD_MAX_BYTES      4096 /* every push type but voip */
#define APNS_VOIP_PAYLOAD_MAX_BYTES 5120
#define APNS_COLLAPSE_ID_MAX_BYTES  64
#define APNS_TOKEN_MAX_CHARS        512  /* hex; Apple fixes no length, this one only bounds memory */
#define APNS_TOPIC_MAX_CHARS        290  /* a bundle id of 255 and the longest suffix */
#define APNS_QUEUE_MAX              8192 /* pushes waiting per credential; beyond it apns_push says E_FULL */

struct apns;            /* the client */
struct apns_credential; /* one team key or certificate in one environment; owned by the client */

enum apns_push_type {
    APNS_TYPE_VOIP,
    APNS_TYPE_ALERT,
    APNS_TYPE_BACKGROUND,
    APNS_TYPE_PUSHTOTALK,
    APNS_TYPE_LOCATION,
    APNS_TYPE_COMPLICATION,
    APNS_TYPE_FILEPROVIDER,
    APNS_TYPE_MDM,
    APNS_TYPE_LIVEACTIVITY,
    APNS_TYPE_CONTROLS,
    APNS_TYPE_WIDGETS,
    APNS_TYPES
};

/* What the caller knows of the token. Each lane has its own connections: APNs cuts a connection's streams to one when a
 * token on it is bad, and that must not slow the rings to good ones. */
enum apns_lane {
    APNS_LANE_RING,  /* known good: accepted before, or registered lately */
    APNS_LANE_PROBE, /* new, or doubtful after a refusal */
    APNS_LANE_BULK,  /* nobody waits for it; a push of unknown fate is not sent again unless it has a collapse id */
    APNS_LANES
};

/* Strings are copied. A zeroed field means the default. Either key_pem with the ids, or certificate. */
struct apns_credential_config {
    const char *name;        /* for logs and metrics, e.g. the app's name */
    const char *host;        /* DNS name or address, also the name that the certificate must carry and the :authority */
    uint16_t port;           /* 443 or 2197 */
    const char *ca_file;     /* PEM; NULL: the system's trust store */
    const char *team_id;     /* 10 characters */
    const char *key_id;      /* 10 characters */
    const char *key_pem;     /* the .p8 file's content: an EC P-256 private key in PKCS#8 PEM */
    size_t key_pem_len;      /* bytes */
    const char *certificate; /* provider certificate with its key: PEM, or PKCS#12; instead of team, key id and key */
    size_t certificate_len;  /* bytes */
    const char *certificate_password;        /* of a PKCS#12 file or an encrypted PEM key; NULL: none */
    const char *proxy;                       /* "host:port" of an HTTP proxy that does CONNECT; NULL: none */
    const char *proxy_user, *proxy_password; /* basic authentication; NULL: none */
    unsigned ring_connections;               /* 1 to 4; 0: two when the name has several addresses, else one */
    unsigned hedge_ms; /* a ring without an answer goes out on a second connection; 0: 300; APNS_HEDGE_OFF: never */
    bool open_probe;   /* connect the probe lane at once: a new user's first ring then has a connection ready */
    unsigned expiry_alarm_days; /* before the certificate ends; 0: 30 */
};

#define APNS_HEDGE_OFF              UINT32_MAX
#define APNS_RING_CONNECTIONS_MAX   4
#define APNS_TOKEN_EXPORT_MAX_BYTES 384

/* Strings are copied before the call returns, except `arg`. */
struct apns_push {
    const char *token;   /* device token, hex */
    const char *apns_id; /* our UUID, lower case */
    const char *topic;   /* full topic: "com.example.app.voip" for voip */
    enum apns_push_type type;
    int priority;            /* 10, 5 or 1 */
    uint64_t expiration_s;   /* Unix seconds; 0: one attempt, not stored */
    const char *collapse_id; /* NULL: none */
    const char *payload;     /* JSON */
    size_t payload_len;      /* bytes */
    uint64_t deadline_ms;    /* monotonic; a push still unsent then fails with E_EXPIRED and is never sent */
    enum apns_lane lane;
};

enum apns_verdict {
    APNS_ACCEPTED,       /* status 200: APNs took it; not a proof of delivery */
    APNS_TOKEN_INVALID,  /* the device's token is dead (410, BadDeviceToken): act on the token */
    APNS_TOKEN_MISFILED, /* wrong topic or environment for this token: keep it, mend the binding */
    APNS_CREDENTIAL_BAD, /* key, certificate, team or topic is refused: an operator must act */
    APNS_THROTTLED,     /* 429, too many for this device: leave it alone for retry_after_s; nothing is held back here */
    APNS_SERVER_ERROR,  /* 5xx, or a connection lost after all tries */
    APNS_OUR_FAULT,     /* a request that should never have been made: a bug */
    APNS_NOT_SENT,      /* never left: deadline, withdrawn, queue closed (see err) */
    APNS_TOKEN_DOUBTFUL /* refused as bad, but so many are at the moment that the fault is elsewhere: delete nothing */
};

struct apns_result {
    enum apns_verdict verdict;
    int status;            /* HTTP status; 0 when no answer came */
    const char *reason;    /* APNs' reason string, or "" */
    uint64_t timestamp_ms; /* 410: when the token became invalid: delete it only if it was registered before; else 0 */
    const char *apns_id;   /* as echoed, or as sent */
    int err;               /* 0, or E_EXPIRED, E_CLOSED, E_TIMEOUT, E_IO, E_CRYPTO ... when status is 0 */
    uint64_t queued_us, written_us, answered_us; /* monotonic; 0 when it never happened */
    struct apns_credential *credential; /* whose environment answered: the pair's other one when it took the token */
    unsigned tries;                     /* how often it went out, not counting what was refused unprocessed */
    bool hedged;                        /* on two connections at once */
    uint32_t retry_after_s;             /* when to try again, by APNs or by Apple's advice; 0: not said */
    const char *unique_id;              /* apns-unique-id, sandbox only, for the Push Notifications Console; or "" */
};

/* Called once for each push taken, from the loop, never from inside apns_push. Pointers live until it returns. The
 * callback may call apns_push and apns_withdraw, not apns_close. */
typedef void (*apns_result_cb)(const struct apns_result *r, void *arg);

typedef uint64_t apns_push_id; /* slot + generation; 0 is none */

/* What an operator must know. */
enum apns_alarm {
    APNS_ALARM_CREDENTIAL, /* refused; sending pauses, and one push at a time tries again */
    APNS_ALARM_TOPIC,      /* the key or certificate may not send to this topic */
    APNS_ALARM_CLOCK,      /* this machine's clock is wrong: a fresh provider token counts as expired */
    APNS_ALARM_BAD_TOKENS, /* many device tokens are refused at once: verdicts for deletion are withheld */
    APNS_ALARM_EXPIRY,     /* the certificate ends soon, or has ended */
    APNS_ALARM_BUG         /* a request that should never have been made */
};

/* sentence: what is wrong and how to mend it, no secrets; lives until the return. From the loop. The same alarm of a
 * credential comes at most once in ten minutes. Calls none of the functions below. */
typedef void (*apns_alarm_cb)(enum apns_alarm alarm, const char *credential, const char *sentence, void *arg);

/* A new provider token: export it where it shall outlive a restart. From the loop, once for each credential that uses
 * the key. May call apns_credential_token_export, and none of the others below. */
typedef void (*apns_minted_cb)(struct apns_credential *c, void *arg);

/* m: registry for wakegate_apns_* metrics; may be NULL. Returns 0 or E_NOMEM. */
int apns_new(struct apns **ap, uv_loop_t *loop, struct metrics *m);
void apns_set_alarm(struct apns *a, apns_alarm_cb cb, void *arg);
void apns_set_minted(struct apns *a, apns_minted_cb cb, void *arg);

/* Two-step end: no new pushes; what is queued fails with E_CLOSED; done(arg) is called from the loop when every handle
 * is closed and the client is freed. */
void apns_close(struct apns *a, void (*done)(void *arg), void *arg);

/* Before apns_close: no new pushes from now on (E_CLOSED), what was taken goes on. done(arg) comes once, from the loop,
 * when the last has its result or after limit_ms; an apns_close before that cancels it. */
void apns_drain(struct apns *a, uint64_t limit_ms, void (*done)(void *arg), void *arg);

/* Checks the key (kind, curve) or certificate, ids and CA file, and starts connecting. Returns 0, or E_INVAL, E_CRYPTO,
 * E_IO with a sentence that says how to mend it. The credential lives until apns_credential_retire, or as long as the
 * client. */
int apns_credential_add(struct apns *a, struct apns_credential **cp, const struct apns_credential_config *cfg,
                        struct err_text *et);
/* A new key, certificate or trust store for the same name, host and port; nothing changes when it is refused. New
 * connections come up with it before the old ones go, and no push is lost. Errors as for adding. Not needed after a
 * topic was added to a key: a push that is refused for its topic renews connections older than a minute, and goes out
 * once more. */
int apns_credential_reload(struct apns_credential *c, const struct apns_credential_config *cfg, struct err_text *et);
/* What apns_credential_add would say, but nothing is added and nobody connects. Thread: any. */
int apns_credential_check(const struct apns_credential_config *cfg, struct err_text *et);
/* Not wanted any more: it takes no further pushes (E_CLOSED), and loses its pair. Those that were taken go on; when the
 * last one has its result, its connections end and it is gone, from the loop. Until then results may still name it;
 * nothing else may be done with it. */
void apns_credential_retire(struct apns_credential *c);
/* The same app in the other environment: a push on the probe lane that one calls BadDeviceToken is tried once on the
 * other's probe lane, and the result says who took it. Both are of the same client; b NULL: a has no pair any more. */
void apns_credential_pair(struct apns_credential *a, struct apns_credential *b);
/* True when a ring connection is up (TLS done and SETTINGS seen). */
bool apns_credential_ready(const struct apns_credential *c);

/* The current provider token, so that a restart does not mint another: secret, opaque bytes, changes at most every 25
 * minutes. Returns the length, 0 when there is none. */
size_t apns_credential_token_export(const struct apns_credential *c, char out[static APNS_TOKEN_EXPORT_MAX_BYTES]);
/* Right after apns_credential_add. Returns 0, or E_MALFORMED, E_AUTH (another key's), E_EXPIRED, E_STATE (one is in use
 * already, or a certificate is): the client then mints one when it needs it. */
int apns_credential_token_import(struct apns_credential *c, const char *p, size_t len);

/* Preflight (token hex, topic suffix against type, payload size and JSON, priority, UUID), then queue by deadline.
 * Returns 0 and an id, E_INVAL with a sentence, E_FULL, E_CLOSED, E_NOMEM. */
int apns_push(struct apns_credential *c, const struct apns_push *p, apns_result_cb cb, void *arg, apns_push_id *id,
              struct err_text *et);
/* Withdraw a push that is still queued: its callback comes with APNS_NOT_SENT, E_CLOSED. Returns 0, or E_NOTFOUND when
 * it is already on the wire or done. */
int apns_withdraw(struct apns_credential *c, apns_push_id id);

#endif
