/* SPDX-License-Identifier: Apache-2.0 */
/* Scripts: rules with a match and an action, in order; the first one that matches acts. Thread: the loop's.
 *
 *   {"name": "below", "match": {"on": "request", "address": "127.0.0.2", "every": 500}, "count": 20,
 *    "action": {"type": "goaway", "last": "below", "offset": 3, "then": "close"}} */
#ifndef APNS_SIM_SIM_SCRIPT_H
#define APNS_SIM_SIM_SCRIPT_H

#include "apns/apns.h"
#include "base/addr.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct sim;

enum sim_event { SIM_ON_REQUEST, SIM_ON_CONNECT, SIM_ON_TIME };

enum sim_action_type {
    SIM_ACT_PASS,     /* the rules decide; with a delay_ms, later */
    SIM_ACT_ANSWER,   /* status, reason, retry_after_s */
    SIM_ACT_IGNORE,   /* never answer this request */
    SIM_ACT_WEDGE,    /* answer no request of the connection for ms; 0: never again */
    SIM_ACT_HOLE,     /* mode: a value of black_hole, for this connection */
    SIM_ACT_GOAWAY,   /* as goaway_*; answer: whether this request is answered before */
    SIM_ACT_SHUTDOWN, /* 503 Shutdown, GOAWAY, close */
    SIM_ACT_STREAM,   /* RST_STREAM with code */
    SIM_ACT_STREAMS,  /* SETTINGS with n streams */
    SIM_ACT_RESET,    /* TCP RST */
    SIM_ACT_CLOSE,    /* orderly end of TLS and TCP */
    SIM_ACT_STALL,    /* on connect: the handshake is never answered */
    SIM_ACT_SET       /* behaviour: keys of the behaviour's table */
};

struct sim_action {
    enum sim_action_type type;
    int64_t delay_ms, status, retry_after_s, ms, n, code, mode;
    int64_t body, last, offset, times, then, close_ms; /* GOAWAY */
    bool answer;
    char reason[64], text[128];
    json_t *behaviour; /* owned by the rule */
};

/* What a rule is matched with. */
struct sim_occasion {
    enum sim_event event;
    uint64_t connection;       /* 1, 2, 3 ... */
    uint64_t request;          /* on this connection: 1, 2, 3 ... */
    const char *address, *ip;  /* where it came to, with the port and without */
    const char *token, *topic; /* "" when there is none */
};

struct sim_rule;

/* Replace the script by a JSON array of rules, or add to it. All or nothing: E_INVAL with a sentence. */
int sim_script_set(struct sim *s, const json_t *rules, bool add, struct err_text *et);
void sim_script_free(struct sim *s);
json_t *sim_script_json(const struct sim *s); /* rules as they came, each with how often it matched and acted */
/* The action of the first rule that matches, or NULL. It lives until the script is changed. */
const struct sim_action *sim_script_match(struct sim *s, const struct sim_occasion *o);
/* One action from JSON; action->behaviour is borrowed from it. Unset fields are those of the behaviour. */
int sim_action_parse(const struct sim *s, struct sim_action *a, const json_t *o, struct err_text *et);

#endif
