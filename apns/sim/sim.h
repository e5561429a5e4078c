/* SPDX-License-Identifier: Apache-2.0 */
/* A simulator of the Apple Push Notification service: HTTP/2 over TLS for providers, a small HTTP API to control it,
 * and a WebSocket over which simulated phones get what was accepted. Thread: the loop's. */
#ifndef APNS_SIM_SIM_H
#define APNS_SIM_SIM_H

#include "apns/sim/sim_behaviour.h"
#include "base/addr.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#define SIM_KEYS_MAX      16
#define SIM_BUNDLES_MAX   64
#define SIM_LISTENERS_MAX 16

struct sim_key {
    const char *team_id, *key_id;
    const char *file; /* PEM, public or private key on P-256 */
};

struct sim_config {
    const char *listen;                             /* "127.0.0.1:2197"; port 0: any */
    const char *control;                            /* "127.0.0.1:2180"; port 0: any */
    const char *listen_more[SIM_LISTENERS_MAX - 1]; /* further addresses */
    unsigned listen_more_count;
    const char *certificate_file, *key_file;
    const char *client_ca_file; /* client certificates must lead to it; NULL: any is trusted */
    struct sim_key keys[SIM_KEYS_MAX];
    unsigned key_count;
    const char *bundles[SIM_BUNDLES_MAX];
    unsigned bundle_count;
    bool sandbox;
    unsigned streams_max;                  /* 0: as the behaviour says */
    const struct sim_behaviour *behaviour; /* copied; NULL: the defaults */
    const json_t *scenario;                /* {behaviour, bundles, devices, rules}, or NULL; used during the call */
    const json_t *rules;                   /* array; added to the scenario's; or NULL; used during the call */
};

struct sim;

/* Strings of the config are kept by reference. Returns 0 or E_IO, E_INVAL, E_CRYPTO with a sentence. */
int sim_start(struct sim **sp, uv_loop_t *loop, const struct sim_config *cfg, struct err_text *et);
/* done(arg) from the loop, when everything is closed and freed. */
void sim_close(struct sim *s, void (*done)(void *arg), void *arg);
/* The first one; of the others, by number, NULL behind the last. */
const struct addr *sim_address(const struct sim *s);
const struct addr *sim_address_more(const struct sim *s, unsigned i);
const struct addr *sim_control_address(const struct sim *s);

#endif
