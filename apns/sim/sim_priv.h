/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's state, shared by its files. */
#ifndef APNS_SIM_SIM_PRIV_H
#define APNS_SIM_SIM_PRIV_H

#include "apns/apns.h"
#include "apns/sim/sim.h"
#include "apns/sim/sim_clock.h"
#include "apns/sim/sim_script.h"
#include "base/httpd.h"
#include "base/metrics.h"

#include <jansson.h>
#include <openssl/ssl.h>
#include <uthash.h>

#define SIM_JOURNAL_MAX    1000  /* the latest requests; older ones are forgotten */
#define SIM_HEADER_BYTES   1024  /* of one header's value */
#define SIM_BODY_MAX_BYTES 16384 /* larger than any limit, so that PayloadTooLarge can be told */
#define SIM_BUNDLE_BYTES   256
#define SIM_TOPICS_MAX     16 /* in one client certificate */

/* The headers that APNs knows; indices of sim_request.value. */
enum sim_header {
    SIM_METHOD,
    SIM_PATH,
    SIM_AUTHORITY,
    SIM_AUTHORIZATION,
    SIM_PUSH_TYPE,
    SIM_TOPIC,
    SIM_PRIORITY,
    SIM_EXPIRATION,
    SIM_ID,
    SIM_COLLAPSE_ID,
    SIM_HEADERS
};

struct sim_request {
    char value[SIM_HEADERS][SIM_HEADER_BYTES]; /* "" when absent */
    bool seen[SIM_HEADERS], duplicate;
    const char *body;
    size_t body_len;
    uint64_t connection; /* 0 in tests of the rules */
};

/* What a client certificate says. */
struct sim_certificate {
    bool trusted, production, sandbox;
    char bundle_id[SIM_BUNDLE_BYTES];
    char topics[SIM_TOPICS_MAX][SIM_BUNDLE_BYTES];
    unsigned topic_count;
};

/* The provider of one connection. */
struct sim_provider {
    char token[SIM_HEADER_BYTES]; /* the last one that was good; "" at first */
    uint64_t first_use_ms;        /* virtual Unix */
    uint64_t token_iat_s;
    unsigned token_key;                        /* index of its key */
    const struct sim_certificate *certificate; /* NULL: provider tokens */
    bool bound;
    unsigned bound_key;     /* index of the key of the first push */
    unsigned bundles_known; /* bundle ids that were there at the first push */
};

struct sim_device {
    char token[APNS_TOKEN_MAX_CHARS + 1]; /* lower case */
    char bundle_id[SIM_BUNDLE_BYTES];
    bool sandbox, registered;
    uint64_t unregistered_ms;
    ws_id phone;    /* 0: not connected */
    json_t *stored; /* the one push kept for it, or NULL */
    uint64_t window_start_ms;
    int64_t window_pushes;
    UT_hash_handle hh;
};

/* An answer that was asked for over the control API, in place of the rules' verdict. */
struct sim_scripted {
    struct sim_scripted *next;
    int status;
    char reason[64];
    char token[APNS_TOKEN_MAX_CHARS + 1]; /* "": any */
    unsigned count;
};

struct sim_net;
struct sim_watch;

struct sim {
    struct sim_config cfg;
    struct sim_behaviour b;
    struct sim_clock clock;
    uint64_t started_ms; /* virtual */
    uint64_t random;
    uv_loop_t *loop;
    uv_timer_t tick;
    struct sim_task *tasks;
    struct sim_rule *script;
    bool script_waits;
    EVP_PKEY *keys[SIM_KEYS_MAX];
    char *own_bundles[SIM_BUNDLES_MAX]; /* those that came at run time */
    struct sim_device *devices;
    struct sim_scripted *scripted;
    json_t *journal; /* array, the oldest first */
    struct metrics *metrics;
    struct httpd *control;
    struct sim_net *net;
    struct sim_watch *watch; /* frames and assertions; NULL in tests of the rules */
    struct sim_delivery *deliveries;
    unsigned closing;
    bool closed;
    void (*done)(void *arg);
    void *done_arg;
};

/* sim.c */
struct sim_device *sim_device_find(struct sim *s, const char *token);
/* Made when it is not there. NULL when memory is out. */
struct sim_device *sim_device_put(struct sim *s, const char *token, const char *bundle_id, bool sandbox);
void sim_device_delete(struct sim *s, struct sim_device *d);
/* From JSON {bundle_id, environment, state}. Returns 0, E_INVAL with a sentence, E_NOMEM. */
int sim_device_put_json(struct sim *s, struct sim_device **dp, const char *token, const json_t *o, struct err_text *et);
/* A bundle id that may be sent to from now on. Returns 0, E_FULL, E_NOMEM. */
int sim_bundle_add(struct sim *s, const char *bundle_id);
/* A request was answered: into the journal, and on its way to the phone when it was accepted. */
void sim_answered(struct sim *s, const struct sim_request *r, const char *apns_id, int status, const char *reason);
/* The device token in a path "/3/device/TOKEN", or NULL. */
const char *sim_path_token(const char *path);
/* The behaviour is replaced: clock, seed, connections and journal follow. */
void sim_behaviour_apply(struct sim *s, const struct sim_behaviour *next);

/* sim_delivery.c */
/* The phone of this device is there: what was stored goes out. */
void sim_device_connected(struct sim *s, struct sim_device *d, ws_id phone);
/* An accepted push starts on its way; entry: its place in the journal. */
void sim_deliver(struct sim *s, const struct sim_request *r, const char *apns_id, json_t *entry);

/* sim_listen.c */
int sim_net_start(struct sim *s, struct err_text *et);
void sim_net_close(struct sim *s, void (*done)(struct sim *s));
const struct addr *sim_net_address(const struct sim *s, unsigned i);
unsigned sim_net_count(const struct sim *s);

/* sim_net.c */
/* An action, now, on all connections, or on that number, or to that address. */
void sim_act_all(struct sim *s, const struct sim_action *a, uint64_t connection, const char *address);
json_t *sim_net_json(const struct sim *s);
/* After a change of the behaviour: black holes open and close. */
void sim_net_apply(struct sim *s);

/* sim_control.c */
int sim_control_start(struct sim *s, struct err_text *et);

#endif
