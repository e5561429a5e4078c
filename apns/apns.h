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
#define APNS_QUEUE_MAX              8192 /* pushes waiting per credential; beyond it apns_push says E_FULL */

struct apns;            /* the client */
struct apns_credential; /* one team key (or certificate) in one environment; owned by the client */

enum apns_push_type { APNS_TYPE_VOIP, APNS_TYPE_ALERT, APNS_TYPE_BACKGROUND };

/* Strings are copied. */
struct apns_credential_config {
    const char *name;    /* for logs and metrics, e.g. the app's name */
    const char *host;    /* DNS name or address, also the name that the certificate must carry and the :authority */
    uint16_t port;       /* 443 or 2197 */
    const char *ca_file; /* PEM; NULL: the system's trust store */
    const char *team_id; /* 10 characters */
    const char *key_id;  /* 10 characters */
    const char *key_pem; /* the .p8 file's content: an EC P-256 private key in PKCS#8 PEM */
    size_t key_pem_len;  /* bytes */
};

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
};

enum apns_verdict {
    APNS_ACCEPTED,       /* status 200: APNs took it; not a proof of delivery */
    APNS_TOKEN_INVALID,  /* the device's token is dead (410, BadDeviceToken): act on the token */
    APNS_TOKEN_MISFILED, /* wrong topic or environment for this token: keep it, mend the binding */
    APNS_CREDENTIAL_BAD, /* key, certificate, team or topic is refused: an operator must act */
    APNS_THROTTLED,      /* 429 for this device */
    APNS_SERVER_ERROR,   /* 5xx, or a connection lost after all tries */
    APNS_OUR_FAULT,      /* a request that should never have been made: a bug */
    APNS_NOT_SENT        /* never left: deadline, withdrawn, queue closed (see err) */
};

struct apns_result {
    enum apns_verdict verdict;
    int status;            /* HTTP status; 0 when no answer came */
    const char *reason;    /* APNs' reason string, or "" */
    uint64_t timestamp_ms; /* 410: when the token became invalid; else 0 */
    const char *apns_id;   /* as echoed, or as sent */
    int err;               /* 0, or E_EXPIRED, E_CLOSED, E_TIMEOUT, E_IO, E_CRYPTO ... when status is 0 */
    uint64_t queued_us, written_us, answered_us; /* monotonic; 0 when it never happened */
};

/* Called once for each push taken, from the loop, never from inside apns_push. Pointers live until it returns. The
 * callback may call apns_push and apns_withdraw, not apns_close. */
typedef void (*apns_result_cb)(const struct apns_result *r, void *arg);

typedef uint64_t apns_push_id; /* slot + generation; 0 is none */

/* m: registry for wakegate_apns_* metrics; may be NULL. Returns 0 or E_NOMEM. */
int apns_new(struct apns **ap, uv_loop_t *loop, struct metrics *m);

/* Two-step end: no new pushes; what is queued fails with E_CLOSED; done(arg) is called from the loop when every handle
 * is closed and the client is freed. */
void apns_close(struct apns *a, void (*done)(void *arg), void *arg);

/* Checks the key (kind, curve), ids and CA file, and starts connecting. Returns 0, or E_INVAL, E_CRYPTO, E_IO with a
 * sentence that says how to mend it. The credential lives as long as the client. */
int apns_credential_add(struct apns *a, struct apns_credential **cp, const struct apns_credential_config *cfg,
                        struct err_text *et);
/* True when a connection is up (TLS done and SETTINGS seen). */
bool apns_credential_ready(const struct apns_credential *c);

/* Preflight (token hex, topic suffix against type, payload size and JSON, priority, UUID), then queue by deadline.
 * Returns 0 and an id, E_INVAL with a sentence, or E_FULL. */
int apns_push(struct apns_credential *c, const struct apns_push *p, apns_result_cb cb, void *arg, apns_push_id *id,
              struct err_text *et);
/* Withdraw a push that is still queued: its callback comes with APNS_NOT_SENT, E_CLOSED. Returns 0, or E_NOTFOUND when
 * it is already on the wire or done. */
int apns_withdraw(struct apns_credential *c, apns_push_id id);

#endif
