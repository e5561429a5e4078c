/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's configuration: one YAML file, loaded as a whole and never changed afterwards; a reload makes another
 * one, and whoever still works by the one before holds a reference to it. Every key with its default is explained in
 * config/wakegate.yaml. Strings are never NULL after loading unless the comment says so. Thread: any to read;
 * references are taken and given back on one thread. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_FILE_MAX_BYTES     (1U << 20)
#define CONFIG_RING_TIMEOUT_MAX_S 55 /* CallKit ends a ring after 30 to 60 s */
/* Of a device, by which its health is judged: enough for a few violations and the silence after them. */
#define CONFIG_LEDGER_ROWS 16

enum config_scope { CONFIG_SCOPE_CALLS = 1, CONFIG_SCOPE_DEVICES = 2, CONFIG_SCOPE_ADMIN = 4 };
enum config_environment { CONFIG_ENV_PRODUCTION, CONFIG_ENV_SANDBOX };
enum config_handoff { CONFIG_HANDOFF_TRANSFER, CONFIG_HANDOFF_SEALED, CONFIG_HANDOFF_SDES, CONFIG_HANDOFF_DTLS };
enum config_second_path {
    CONFIG_SECOND_PATH_NONE,
    CONFIG_SECOND_PATH_ALERT,
    CONFIG_SECOND_PATH_OTHERS,
    CONFIG_SECOND_PATH_EVENT
};

struct config_tls {
    char *certificate_file, *key_file;
};

struct config_listen {
    char *api;              /* "address:port" */
    struct config_tls *tls; /* NULL: plain HTTP */
    char *public_url;       /* what phones dial; "" when not given */
    bool behind_proxy;
    char **cors_origins; /* "https://console.example.com"; none: no page of another origin may read a reply */
    unsigned cors_origins_count;
    unsigned drain_s;
    bool console; /* the page at / is served */
};

/* In the order of our preference. */
enum config_srtp { CONFIG_SRTP_AEAD_AES_128_GCM, CONFIG_SRTP_AEAD_AES_256_GCM, CONFIG_SRTP_AES128_CM_SHA1_80 };
#define CONFIG_SRTP_MAX 3

struct config_media {
    char *address;
    unsigned port, workers, calls_max;
    char **announce;
    unsigned announce_count;
    unsigned *hold_ms;                 /* never NULL after loading */
    unsigned inactivity_s;             /* of a caller without ICE */
    char *certificate_file, *key_file; /* both or neither ("") */
    unsigned rotate_identity_s;
    enum config_srtp *srtp_profiles; /* never NULL after loading; each at most once */
    unsigned srtp_profiles_count;
    char *ringback; /* a file; "": none */
};

struct config_store {
    char *url;
    char *seal_key_file; /* "" when not given */
    unsigned retention_h;
};

/* So many requests a second, and so many at once. */
struct config_rate {
    unsigned per_s; /* 0: no limit */
    unsigned burst; /* at least 1 after loading, unless there is no limit */
};

struct config_token {
    char *name;
    char *sha256;    /* 64 lower-case hex characters */
    unsigned scopes; /* bits of enum config_scope */
    char *tenant;
    struct config_rate *rate; /* NULL: as all others */
};

struct config_auth {
    struct config_rate *rate, *phone_rate, *unknown_rate; /* never NULL after loading */
    struct config_token *tokens;
    unsigned tokens_count;
};

/* Either team_id, key_id and key_file, or certificate_file; the others are "". */
struct config_apns {
    char *team_id, *key_id, *key_file;
    char *certificate_file, *certificate_password_file;
    char *host;
    unsigned port;
    char *ca_file;                                  /* "": the system's trust store */
    char *proxy, *proxy_user, *proxy_password_file; /* "": none */
    unsigned ring_connections;                      /* 0: by the number of addresses */
    unsigned *hedge_ms;                             /* never NULL after loading; 0: no hedge */
    unsigned expiry_alarm_days;
};

struct config_app {
    char *name, *bundle_id;
    enum config_environment environment;
    struct config_apns apns;
    struct config_apns *other_environment; /* NULL: the app has one only */
    char **codecs;
    unsigned codecs_count;
};

struct config_match {
    char *callee, *caller, *tenant, *app; /* patterns; "*" when not given */
};

struct config_reject {
    unsigned status;
    char *detail;
};

enum config_on_call { CONFIG_ON_CALL_RING, CONFIG_ON_CALL_BUSY };

struct config_must_report {
    unsigned receipt_after_ms, suspect_after_ms, second_path_after_ms; /* of a push, without a receipt */
    unsigned suspect_silent;                                           /* pushes in a row */
    unsigned blocked_violations, blocked_silent; /* among the latest pushes; in a row after them */
    unsigned blocked_retry_h;
    enum config_second_path second_path;
    bool repeat_push;
};

struct config_route {
    char *name;
    struct config_match match;
    char *app; /* "" with reject */
    unsigned ring_timeout_s;
    enum config_handoff *handoff;
    unsigned handoff_count;
    struct config_must_report must_report;
    enum config_on_call on_call;
    struct config_reject *reject; /* NULL: the route takes the call */
};

struct config_webhook {
    char *name; /* its URL when not given */
    char *url, *secret_file, *tenant;
    char *ca_file; /* "": the system's trust store */
    char **events; /* patterns; none: all */
    unsigned events_count;
    bool allow_private;
    unsigned *retry_s; /* never NULL after loading */
    unsigned retry_s_count;
};

struct config_log {
    enum log_level level;
    enum log_format format;
};

struct config_cluster {
    char *node, *redis_url;
};

struct config_life; /* the count of references */

struct config {
    struct config_listen listen;
    struct config_media media;
    struct config_store store;
    struct config_auth auth;
    struct config_app *apps;
    unsigned apps_count;
    struct config_route *routes;
    unsigned routes_count;
    struct config_webhook *webhooks;
    unsigned webhooks_count;
    struct config_log log;
    struct config_cluster cluster;
    char *user; /* to run as, when started as root; "": stay */
    struct config_life *life;
};

/* Read, check and complete. Relative paths inside are resolved against the file's folder. Returns 0 and *cp with one
 * reference, the caller's, or E_* and a sentence "FILE:LINE: KEY: what is wrong and how to mend it". */
int config_load(struct config **cp, const char *path, struct err_text *et);
/* Of the file of config_load: "FILE:LINE: KEY: sentence", for what shows only when the configuration is used. key: as
 * in "apps[1].apns". Returns err. */
int config_say(struct err_text *et, int err, const char *path, const char *key, const char *sentence);
/* One more reference to a configuration of config_load, and to all that it points to. Returns c. */
const struct config *config_ref(const struct config *c);
/* Give one back; with the last it is freed. c may be NULL. Returns NULL. */
const struct config *config_unref(const struct config *c);

const struct config_app *config_app(const struct config *c, const char *name); /* NULL when unknown */
const char *config_handoff_name(enum config_handoff h);
/* "calls" ... into a bit; 0 when unknown. */
unsigned config_scope_by_name(const char *name);
/* One bit into "calls" ...; "" for anything else. */
const char *config_scope_name(unsigned scope);

struct config_query {
    const char *callee, *caller, *tenant;
};

/* The first route whose patterns all match, or NULL. explain (may be NULL) gets one line for each route that was tried.
 */
const struct config_route *config_route(const struct config *c, const struct config_query *q, struct buf *explain);

#endif
