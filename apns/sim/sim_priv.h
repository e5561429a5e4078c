/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's state, shared by its files. */
#ifndef APNS_SIM_SIM_PRIV_H
#define APNS_SIM_SIM_PRIV_H

#include "apns/apns.h"
#include "apns/sim/sim.h"
#include "base/httpd.h"
#include "base/metrics.h"

#include <jansson.h>
#include <openssl/ssl.h>
#include <uthash.h>

#define SIM_JOURNAL_MAX    1000  /* the latest requests; older ones are forgotten */
#define SIM_HEADER_BYTES   1024  /* of one header's value */
#define SIM_BODY_MAX_BYTES 16384 /* larger than any limit, so that PayloadTooLarge can be told */
#define SIM_BUNDLE_BYTES   256

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
};

/* The provider token of one connection. */
struct sim_provider {
    char token[SIM_HEADER_BYTES]; /* the last one that was good; "" at first */
    uint64_t first_use_ms;        /* Unix */
};

struct sim_device {
    char token[APNS_TOKEN_MAX_CHARS + 1]; /* lower case */
    char bundle_id[SIM_BUNDLE_BYTES];
    bool sandbox, registered;
    uint64_t unregistered_ms;
    ws_id phone;    /* 0: not connected */
    json_t *stored; /* the one push kept for it, or NULL */
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

struct sim_listener;

struct sim {
    struct sim_config cfg;
    uv_loop_t *loop;
    EVP_PKEY *keys[SIM_KEYS_MAX];
    struct sim_device *devices;
    struct sim_scripted *scripted;
    json_t *journal; /* array, the oldest first */
    struct metrics *metrics;
    struct httpd *control;
    struct sim_listener *listener;
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
/* The phone of this device is there: what was stored goes out. */
void sim_device_connected(struct sim *s, struct sim_device *d, ws_id phone);
/* A request was answered: into the journal, and on its way to the phone when it was accepted. */
void sim_answered(struct sim *s, const struct sim_request *r, const char *apns_id, int status, const char *reason);
/* The device token in a path "/3/device/TOKEN", or NULL. */
const char *sim_path_token(const char *path);

/* sim_h2.c */
int sim_listener_start(struct sim *s, struct err_text *et);
void sim_listener_close(struct sim *s, void (*done)(struct sim *s));
const struct addr *sim_listener_address(const struct sim *s);

/* sim_control.c */
int sim_control_start(struct sim *s, struct err_text *et);

#endif
