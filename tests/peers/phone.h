/* SPDX-License-Identifier: Apache-2.0 */
/* A simulated iPhone with one VoIP app: sleeps until the APNs simulator delivers a push, obeys PushKit's and CallKit's
 * rules, attaches to the gateway, takes the media over and hears and plays a tone. Every step is told as an event.
 * Thread: the loop's. */
#ifndef TESTS_PEERS_PHONE_H
#define TESTS_PEERS_PHONE_H

#include "base/err.h"
#include "tests/peers/peer_http.h"
#include "tests/peers/peer_ws.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* How the app behaves when it is woken. */
enum phone_habit {
    PHONE_ANSWERS,
    PHONE_DECLINES,
    PHONE_BUSY,
    PHONE_IGNORES,   /* reports the call and rings, never answers */
    PHONE_NO_REPORT, /* breaks the contract: never reports; the system terminates it when it should have */
    PHONE_FILTERED,  /* Do Not Disturb or a block list: the report fails */
    PHONE_SILENT,    /* the push wakes nothing: no receipt, no connection */
    PHONE_CONFESSES, /* never reports, and says so before the system terminates it */
    PHONE_LATE,      /* reports report_ms after its receipt */
    PHONE_FAILS      /* the report fails, for no reason that lets the call pass */
};

struct phone_config {
    struct peer_http api; /* registration; token with the scope devices */
    const char *sim_url;  /* "ws://127.0.0.1:2180": where pushes come from */
    struct peer_net *net; /* all phones of a program share one; closed and freed after them by its owner */
    const char *device, *user, *app, *bundle_id, *environment;
    const char *push_token; /* hex; NULL: the simulator makes one */
    const char *os_version, *app_version;
    const char *handoff; /* "transfer,dtls": what the app can do, in its order */
    const char *ui;      /* "callkit", "lck", "alert" */
    const char *network; /* "wifi", ...; NULL: the app does not say */
    enum phone_habit habit;
    bool foreground;           /* attached all the time; a push then carries mustReport false */
    bool on_call;              /* another call is active: mustReport false */
    unsigned wake_ms;          /* from push to running code */
    unsigned attach_ms;        /* from there to the connection to the gateway: a slow TCP and TLS set-up */
    unsigned answer_ms;        /* ringing before the answer */
    unsigned report_ms;        /* PHONE_LATE: from the receipt to the report; the system waits for 7 s */
    unsigned block_after;      /* violations after which the system launches the app no more; 0: it always does */
    unsigned tap_ms;           /* from a visible notification to the tap on it; 0: nobody looks */
    unsigned hangup_ms;        /* after the answer; 0: the caller ends the call */
    double tone_hz, expect_hz; /* what it plays, and what it should hear */
};

/* What happened: {"event": "...", ...}; borrowed. Events: ready, push, busy, ignored, not_launched, alert,
 * tapped, repeated, reported, killed, sealed, attached, handoff, answered, call_over, error. Each has the device; push,
 * busy, ignored, repeated, not_launched and alert are the phone's own record of every push, with the id of each. */
typedef void (*phone_event_cb)(const char *event, const json_t *fields, void *arg);

struct phone;

/* Registers with the simulator and then with the gateway. Returns 0, or E_* with a sentence. cfg must outlive the
 * phone. */
int phone_new(struct phone **pp, uv_loop_t *loop, const struct phone_config *cfg, phone_event_cb cb, void *arg,
              struct err_text *et);
/* Hang up, close every handle but the connections, which cfg->net closes; once the loop has run empty, phone_free. */
void phone_close(struct phone *p);
struct phone *phone_free(struct phone *p);

/* PushKit's rule by the documented criteria: must the app report a call for this push? (facts: foreground, on a call,
 * found late). Systems before 26.4 have no such property: *known is false and the answer is true. */
bool phone_must_report(const char *os_version, bool foreground, bool on_call, uint64_t now_ms, uint64_t expires_at_ms,
                       bool *known);

#endif
