/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/phone.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/peers/peer_audio.h"
#include "tests/peers/peer_json.h"
#include "tests/peers/peer_ws.h"
#include "tests/peers/phone_busy.h"
#include "tests/peers/phone_call.h"
#include "tests/peers/phone_sealed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIM_PROTOCOL    "apns-sim.v1"
#define ATTACH_PROTOCOL "wakegate.v1"
#define SYSTEM_WAITS_MS 7000 /* iOS looks a second time so long after the delivery whether the call was reported */
#define REDIAL_MS       200
#define REDIAL_MAX_MS   15000 /* a call whose gateway is not back by then is over */

/* One call as the app sees it; there is at most one. */
struct ring {
    char call[UUID_BYTES], push[UUID_BYTES];
    char attach[512], token[128];
    uint64_t received_at_ms, expires_at_ms;
    bool must_report, must_report_known, reported, answered, over;
    bool alert; /* it began with a tap on a notification, and no VoIP push */
    struct phone_call *media;
};

struct phone {
    uv_loop_t *loop;
    const struct phone_config *cfg;
    phone_event_cb cb;
    void *arg;
    struct peer_ws *sim, *gateway;
    char push_token[520], secret[128];
    uv_timer_t wake, dial, answer, hangup, report;
    unsigned violations;
    struct phone_sealed sealed;
    bool ringing, closing, registered;
    char url[512];    /* of the latest connection */
    bool turned_away; /* the gateway wants this connection no more: the app does not come again by itself */
    uint64_t lost_ms; /* monotonic: the connection was lost then, in a call; 0: it is there */
    json_t *push;     /* the payload that is waking the app */
    bool tapped;      /* it was a notification */
    struct ring ring;
    struct phone_busy *busy; /* other calls that are being refused */
};

static void tell(struct phone *p, const char *event, json_t *fields) {
    json_object_set_new(fields, "device", json_string(p->cfg->device));
    p->cb(event, fields, p->arg);
    json_decref(fields);
}

static void send_json(struct peer_ws *w, json_t *message) {
    char *text = json_dumps(message, JSON_COMPACT);
    if (w && text)
        peer_ws_send(w, text, strlen(text));
    free(text);
    json_decref(message);
}

bool phone_must_report(const char *os_version, bool foreground, bool on_call, uint64_t now_ms, uint64_t expires_at_ms,
                       bool *known) {
    int major = 0, minor = 0;
    sscanf(os_version, "%d.%d", &major, &minor);
    *known = major > 26 || (major == 26 && minor >= 4);
    if (!*known)
        return true;
    return !foreground && !on_call && (expires_at_ms == 0 || now_ms < expires_at_ms);
}

static const char *app_state(const struct phone *p) {
    return p->cfg->foreground || p->ring.alert ? "foreground" : "background";
}

/* Why the report of a call fails; "" when it does not. */
static const char *report_error(enum phone_habit habit) {
    return habit == PHONE_FILTERED ? "filteredByDoNotDisturb" : habit == PHONE_FAILS ? "unentitled" : "";
}

static json_t *receipt_for(const struct phone *p, const char *push, const char *reported, const char *error) {
    const struct phone_config *cfg = p->cfg;
    const struct ring *r = &p->ring;
    json_t *must = r->must_report_known ? json_boolean(r->must_report) : json_null();
    char at[CLOCK_RFC3339_BYTES];
    json_t *o = json_pack("{s:s,s:s,s:s,s:o,s:s,s:b,s:s,s:s*,s:s*}", "type", "receipt", "call", r->call, "push", push,
                          "must_report", must, "app_state", app_state(p), "on_call", cfg->on_call, "received_at",
                          clock_rfc3339(at, r->received_at_ms), "reported", reported, "network", cfg->network);
    if (*error)
        json_object_set_new(o, "report_error", json_string(error));
    return o;
}

/* What is said at once; of a report that comes later, nothing yet. */
static json_t *receipt(const struct phone *p) {
    const struct ring *r = &p->ring;
    bool later = p->cfg->habit == PHONE_LATE && !r->reported && r->must_report;
    return receipt_for(p, r->push,
                       r->reported ? p->cfg->ui
                       : later     ? NULL
                                   : "none",
                       r->alert ? "" : report_error(p->cfg->habit));
}

/* The system ends an app that was obliged to report and did not: nothing of it runs any more. */
static void kill_app(struct phone *p) {
    p->violations++;
    tell(p, "killed", json_pack("{s:s,s:i}", "call", p->ring.call, "violations", (int)p->violations));
    if (p->ring.media)
        phone_call_close(p->ring.media);
    uv_timer_stop(&p->dial);
    uv_timer_stop(&p->answer);
    uv_timer_stop(&p->report);
    memset(&p->ring, 0, sizeof p->ring);
    p->ringing = false;
    if (p->gateway)
        peer_ws_close(p->gateway);
}

static void on_report_timer(uv_timer_t *t) {
    struct phone *p = t->data;
    if (!p->ringing)
        return;
    if (p->cfg->report_ms > SYSTEM_WAITS_MS || p->cfg->habit != PHONE_LATE) {
        kill_app(p);
        return;
    }
    p->ring.reported = true;
    tell(p, "reported", json_pack("{s:s,s:s}", "call", p->ring.call, "push", p->ring.push));
    send_json(p->gateway, receipt(p));
}

/* With the receipt on its way: what becomes of an app that has not reported. */
static void watch_report(struct phone *p) {
    const struct phone_config *cfg = p->cfg;
    const struct ring *r = &p->ring;
    if (r->alert || !r->must_report || r->reported)
        return;
    if (cfg->habit == PHONE_LATE)
        uv_timer_start(&p->report, on_report_timer, cfg->report_ms > SYSTEM_WAITS_MS ? SYSTEM_WAITS_MS : cfg->report_ms,
                       0);
    else if (cfg->habit == PHONE_CONFESSES)
        uv_timer_start(&p->report, on_report_timer, cfg->answer_ms, 0);
}

static void ring_over(struct phone *p, const char *reason) {
    struct ring *r = &p->ring;
    struct phone_call_report m = {0};
    if (!p->ringing || r->over)
        return;
    r->over = true;
    if (r->media)
        phone_call_report(r->media, &m);
    tell(p, "call_over",
         json_pack("{s:s,s:s,s:s,s:b,s:b,s:f,s:b,s:I,s:I,s:I,s:I}", "call", r->call, "reason", reason, "mode", m.mode,
                   "must_report", r->must_report, "reported", r->reported, "heard_hz", m.heard_hz, "heard_expected",
                   peer_tone_is(m.heard_hz, p->cfg->expect_hz), "rx_pkts", (json_int_t)m.rx_pkts, "tx_pkts",
                   (json_int_t)m.tx_pkts, "gap_ms", (json_int_t)(m.gap_us / 1000), "refused_pkts",
                   (json_int_t)m.refused_pkts));
    if (r->media)
        phone_call_close(r->media);
    uv_timer_stop(&p->dial);
    uv_timer_stop(&p->answer);
    uv_timer_stop(&p->hangup);
    uv_timer_stop(&p->report);
    memset(r, 0, sizeof *r);
    p->ringing = false;
    if (p->gateway && !p->cfg->foreground)
        peer_ws_close(p->gateway); /* the app goes back to sleep */
}

/* Without a connection it is told later. */
static void tell_keys_taken(struct phone *p) {
    send_json(p->gateway, json_pack("{s:s,s:s}", "type", "keys_taken", "call", p->ring.call));
}

static void take_handoff(struct phone *p, const json_t *handoff) {
    struct ring *r = &p->ring;
    struct err_text et = {""};
    if (!json_is_object(handoff) || r->media || !p->ringing)
        return;
    if (phone_call_new(&r->media, p->loop, handoff, p->cfg->tone_hz, &et) != 0) {
        tell(p, "error", json_pack("{s:s,s:s}", "call", r->call, "detail", et.s));
        return;
    }
    tell(p, "handoff", json_pack("{s:s,s:s}", "call", r->call, "mode", peer_text(handoff, "mode")));
    if (phone_call_has_keys(r->media))
        tell_keys_taken(p);
    else if (r->answered)
        send_json(p->gateway,
                  json_pack("{s:s,s:s,s:s}", "type", "media", "call", r->call, "sdp", phone_call_sdp(r->media)));
    if (r->answered)
        phone_call_answer(r->media);
}

static void on_hangup_timer(uv_timer_t *t) {
    struct phone *p = t->data;
    send_json(p->gateway, json_pack("{s:s,s:s}", "type", "hangup", "call", p->ring.call));
}

static void send_answer(struct phone *p) {
    const struct ring *r = &p->ring;
    json_t *answer = json_pack("{s:s,s:s}", "type", "answer", "call", r->call);
    if (r->media && !phone_call_has_keys(r->media))
        json_object_set_new(answer, "sdp", json_string(phone_call_sdp(r->media)));
    send_json(p->gateway, answer);
}

static void on_answer_timer(uv_timer_t *t) {
    struct phone *p = t->data;
    struct ring *r = &p->ring;
    if (!p->gateway || !p->ringing)
        return;
    if (p->cfg->habit == PHONE_DECLINES || p->cfg->habit == PHONE_BUSY) {
        const char *reason = p->cfg->habit == PHONE_BUSY ? "busy" : "declined";
        send_json(p->gateway, json_pack("{s:s,s:s,s:s}", "type", "decline", "call", r->call, "reason", reason));
        return;
    }
    send_answer(p);
    r->answered = true;
    tell(p, "answered", json_pack("{s:s}", "call", r->call));
    if (r->media)
        phone_call_answer(r->media);
    if (p->cfg->hangup_ms)
        uv_timer_start(&p->hangup, on_hangup_timer, p->cfg->hangup_ms, 0);
}

/* The `call` message: a call that rings here, over the push or the standing connection. */
static void on_call_message(struct phone *p, const json_t *m) {
    struct ring *r = &p->ring;
    if (strcmp(peer_text(m, "state"), "ended") == 0)
        return;
    if (p->ringing && strcmp(peer_text(m, "call"), r->call) != 0) {
        tell(p, "busy", json_pack("{s:s}", "call", peer_text(m, "call")));
        send_json(p->gateway,
                  json_pack("{s:s,s:s,s:s}", "type", "decline", "call", peer_text(m, "call"), "reason", "busy"));
        return;
    }
    if (!p->ringing) {
        p->ringing = true;
        snprintf(r->call, sizeof r->call, "%s", peer_text(m, "call"));
    }
    take_handoff(p, json_object_get(m, "handoff"));
    if (r->answered && strcmp(peer_text(m, "state"), "ringing") == 0) /* it was on its way when the connection broke */
        send_answer(p);
    if (r->answered || uv_is_active((uv_handle_t *)&p->answer) || p->cfg->habit == PHONE_NO_REPORT ||
        p->cfg->habit == PHONE_CONFESSES || p->cfg->habit == PHONE_FAILS)
        return;
    send_json(p->gateway, json_pack("{s:s,s:s}", "type", "ringing", "call", r->call));
    if (p->cfg->habit != PHONE_IGNORES && p->cfg->habit != PHONE_FILTERED)
        uv_timer_start(&p->answer, on_answer_timer,
                       p->cfg->answer_ms + (p->cfg->habit == PHONE_LATE ? p->cfg->report_ms : 0), 0);
}

static bool is_final(const char *code) {
    return strcmp(code, "unauthorized") == 0 || strcmp(code, "revoked") == 0 || strcmp(code, "replaced") == 0;
}

static void on_gateway_text(const char *text, size_t len, void *arg) {
    struct phone *p = arg;
    json_t *m = json_loadb(text, len, 0, NULL);
    const char *type = peer_text(m, "type");
    bool ours = strcmp(peer_text(m, "call"), p->ring.call) == 0;
    if (strcmp(type, "welcome") == 0) {
        tell(p, "attached", json_pack("{s:s}", "device", peer_text(m, "device")));
        if (p->ringing && p->ring.push[0])
            send_json(p->gateway, receipt(p));
        watch_report(p);
        if (p->ring.media && phone_call_has_keys(p->ring.media)) /* they came with the push */
            tell_keys_taken(p);
    } else if (strcmp(type, "call") == 0) {
        on_call_message(p, m);
    } else if (strcmp(type, "handoff") == 0 && ours) {
        take_handoff(p, m);
    } else if (strcmp(type, "answered_elsewhere") == 0 && ours) {
        ring_over(p, "answered_elsewhere");
    } else if (strcmp(type, "ended") == 0 && ours) {
        ring_over(p, peer_text(m, "reason"));
    } else if (strcmp(type, "error") == 0) {
        p->turned_away = p->turned_away || is_final(peer_text(m, "code"));
        tell(p, "error", json_pack("{s:s,s:s}", "code", peer_text(m, "code"), "detail", peer_text(m, "detail")));
    }
    json_decref(m);
}

static void on_dial_timer(uv_timer_t *t);

static void on_gateway_open(void *arg) {
    struct phone *p = arg;
    const struct phone_config *cfg = p->cfg;
    p->lost_ms = 0;
    p->turned_away = false;
    json_t *hello = json_pack("{s:s,s:s,s:s,s:b,s:s}", "type", "hello", "device", cfg->device, "app_state",
                              app_state(p), "on_call", cfg->on_call, "os_version", cfg->os_version);
    if (p->ringing && p->ring.token[0]) {
        json_object_set_new(hello, "token", json_string(p->ring.token));
        json_object_set_new(hello, "call", json_string(p->ring.call));
    } else {
        json_object_set_new(hello, "secret", json_string(p->secret));
    }
    send_json(p->gateway, hello);
}

/* In a call the media goes on meanwhile: the app dials again. */
static void on_gateway_closed(const char *why, void *arg) {
    struct phone *p = arg;
    uint64_t now_ms = clock_mono_ms();
    p->gateway = NULL;
    if (!p->ringing || p->closing)
        return;
    if (!p->lost_ms) {
        p->lost_ms = now_ms;
        tell(p, "connection_lost", json_pack("{s:s,s:s}", "call", p->ring.call, "why", why));
    }
    if (!p->turned_away && now_ms - p->lost_ms < REDIAL_MAX_MS) {
        uv_timer_start(&p->dial, on_dial_timer, REDIAL_MS, 0);
        return;
    }
    p->lost_ms = 0;
    ring_over(p, "connection_lost");
}

static const struct peer_ws_ops gateway_ops = {on_gateway_open, on_gateway_text, on_gateway_closed};

static void attach(struct phone *p, const char *url) {
    snprintf(p->url, sizeof p->url, "%s", url);
    if (!p->gateway && peer_ws_connect(&p->gateway, p->cfg->net, url, ATTACH_PROTOCOL, &gateway_ops, p) != 0)
        on_gateway_closed("no connection", p);
}

static void on_dial_timer(uv_timer_t *t) {
    struct phone *p = t->data;
    char url[sizeof p->url];
    memcpy(url, p->url, sizeof url);
    if (p->ringing)
        attach(p, p->lost_ms ? url : p->ring.attach);
}

/* What the push brings for the media is used before anything is said to the gateway. */
static void take_sealed(struct phone *p, const json_t *wakegate) {
    json_t *handoff = NULL;
    int err = phone_sealed_open(&handoff, &p->sealed, wakegate, p->cfg->device);
    if (err == E_NOTFOUND)
        return;
    tell(p, "sealed",
         json_pack("{s:s,s:b,s:s}", "call", p->ring.call, "opened", err == 0, "detail", err == 0 ? "" : err_str(err)));
    if (err == 0)
        take_handoff(p, handoff);
    json_decref(handoff);
}

static bool app_reports(enum phone_habit habit, bool must_report) {
    switch (habit) {
    case PHONE_NO_REPORT:
    case PHONE_CONFESSES:
        return false;
    case PHONE_FILTERED:
    case PHONE_LATE:
        return !must_report ? habit == PHONE_LATE : habit == PHONE_FILTERED;
    default:
        return true;
    }
}

/* Milliseconds after the push the app's code runs: report first, then the network (PushKit's contract). */
static void on_wake(uv_timer_t *t) {
    struct phone *p = t->data;
    const struct phone_config *cfg = p->cfg;
    json_t *push = p->push, *w = json_object_get(push, "wakegate");
    struct ring *r = &p->ring;
    p->push = NULL;
    memset(r, 0, sizeof *r);
    p->ringing = true;
    r->received_at_ms = clock_wall_ms();
    r->expires_at_ms = (uint64_t)json_integer_value(json_object_get(w, "expires_at"));
    snprintf(r->call, sizeof r->call, "%s", peer_text(w, "call"));
    snprintf(r->push, sizeof r->push, "%s", peer_text(w, "push"));
    snprintf(r->attach, sizeof r->attach, "%s", peer_text(w, "attach"));
    snprintf(r->token, sizeof r->token, "%s", peer_text(w, "token"));
    r->alert = p->tapped;
    if (!r->alert)
        r->must_report = phone_must_report(cfg->os_version, cfg->foreground, cfg->on_call, r->received_at_ms,
                                           r->expires_at_ms, &r->must_report_known);
    r->reported = !r->alert && app_reports(cfg->habit, r->must_report);
    tell(p, r->alert ? "tapped" : "push",
         json_pack("{s:s,s:s,s:o,s:b,s:s,s:I}", "call", r->call, "push", r->push, "must_report",
                   r->must_report_known ? json_boolean(r->must_report) : json_null(), "reported", r->reported, "ui",
                   cfg->ui, "received_at", (json_int_t)r->received_at_ms));
    if (r->must_report && cfg->habit == PHONE_NO_REPORT) {
        kill_app(p);
        json_decref(push);
        return;
    }
    take_sealed(p, w);
    json_decref(push);
    if (p->gateway) {
        send_json(p->gateway, receipt(p));
        watch_report(p);
    } else {
        uv_timer_start(&p->dial, on_dial_timer, cfg->attach_ms, 0);
    }
}

static json_t *push_fields(const json_t *w) {
    return json_pack("{s:s,s:s}", "call", peer_text(w, "call"), "push", peer_text(w, "push"));
}

static void launch(struct phone *p, const json_t *payload, bool tapped, unsigned after_ms) {
    p->push = json_deep_copy(payload);
    p->tapped = tapped;
    uv_timer_start(&p->wake, on_wake, after_ms, 0);
}

/* A notification shows itself; the app runs when it is tapped. */
static void on_alert(struct phone *p, const json_t *payload) {
    const json_t *w = json_object_get(payload, "wakegate");
    tell(p, "alert", push_fields(w));
    if (p->cfg->tap_ms && !p->ringing && !p->push)
        launch(p, payload, true, p->cfg->tap_ms);
}

/* One more push for the call that rings here: the system has it already, which is a report, too. */
static void on_repeated(struct phone *p, const json_t *w) {
    tell(p, "repeated", push_fields(w));
    send_json(p->gateway, receipt_for(p, peer_text(w, "push"), p->cfg->ui, "callUUIDAlreadyExists"));
}

static void on_push(struct phone *p, const json_t *payload, bool voip) {
    const json_t *w = json_object_get(payload, "wakegate");
    const char *call = peer_text(w, "call");
    bool same = p->ringing && strcmp(call, p->ring.call) == 0;
    if (!json_is_object(w) || p->cfg->habit == PHONE_SILENT) {
        tell(p, "ignored", push_fields(w));
    } else if (!voip) {
        on_alert(p, payload);
    } else if (p->cfg->block_after && p->violations >= p->cfg->block_after) {
        tell(p, "not_launched", push_fields(w));
    } else if (same && p->gateway) {
        on_repeated(p, w);
    } else if (p->ringing && *call && !same) {
        tell(p, "busy", push_fields(w));
        phone_busy_new(&p->busy, p->cfg->net, p->cfg, payload);
    } else if (p->ringing || p->push) {
        tell(p, "ignored", push_fields(w));
    } else {
        launch(p, payload, false, p->cfg->wake_ms);
    }
}

static int register_with_gateway(struct phone *p, struct err_text *et) {
    const struct phone_config *cfg = p->cfg;
    char path[256], modes[128], *save = NULL;
    json_t *reply = NULL, *handoff = json_array();
    snprintf(modes, sizeof modes, "%s", cfg->handoff);
    for (char *m = strtok_r(modes, ",", &save); m; m = strtok_r(NULL, ",", &save))
        json_array_append_new(handoff, json_string(m));
    json_t *body = json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:b}", "user", cfg->user, "app", cfg->app, "token",
                             p->push_token, "environment", cfg->environment, "ui", cfg->ui, "handoff", handoff,
                             "app_version", cfg->app_version, "os_version", cfg->os_version, "rotate_secret", 1);
    if (p->sealed.can)
        json_object_set_new(body, "sealing_key", json_string(p->sealed.public_key));
    snprintf(path, sizeof path, "/v1/devices/%s", cfg->device);
    int status = peer_http_call(&cfg->api, "PUT", path, body, &reply, et);
    snprintf(p->secret, sizeof p->secret, "%s", peer_text(reply, "device_secret"));
    if (status >= 0 && status != 200 && status != 201)
        status = err_say(et, E_DENIED, "PUT %s answered %d: %s", path, status, peer_text(reply, "detail"));
    json_decref(body);
    json_decref(reply);
    return status < 0 ? status : 0;
}

static void attach_in_foreground(struct phone *p) {
    const char *base = p->cfg->api.base;
    char url[600];
    snprintf(url, sizeof url, "ws%s/v1/attach", base + (strncmp(base, "http", 4) == 0 ? 4 : 0));
    attach(p, url);
}

static void on_sim_text(const char *text, size_t len, void *arg) {
    struct phone *p = arg;
    struct err_text et = {""};
    json_t *m = json_loadb(text, len, 0, NULL);
    if (strcmp(peer_text(m, "type"), "registered") == 0 && !p->registered) {
        snprintf(p->push_token, sizeof p->push_token, "%s", peer_text(m, "token"));
        if (register_with_gateway(p, &et) != 0) {
            log_error("cannot register", log_s("detail", et.s));
            uv_stop(p->loop);
        } else {
            p->registered = true;
            if (p->cfg->foreground)
                attach_in_foreground(p);
            tell(p, "ready", json_pack("{s:s,s:s}", "device", p->cfg->device, "push_token", p->push_token));
        }
    } else if (strcmp(peer_text(m, "type"), "push") == 0) {
        on_push(p, json_object_get(m, "payload"), strcmp(peer_text(m, "push_type"), "alert") != 0);
    }
    json_decref(m);
}

static void on_sim_open(void *arg) {
    struct phone *p = arg;
    json_t *m = json_pack("{s:s,s:s,s:s}", "type", "register", "bundle_id", p->cfg->bundle_id, "environment",
                          p->cfg->environment);
    if (p->cfg->push_token)
        json_object_set_new(m, "token", json_string(p->cfg->push_token));
    send_json(p->sim, m);
}

static void on_sim_closed(const char *why, void *arg) {
    struct phone *p = arg;
    p->sim = NULL;
    if (p->closing)
        return;
    log_error("the simulator is gone", log_s("url", p->cfg->sim_url), log_s("why", why));
    uv_stop(p->loop);
}

static const struct peer_ws_ops sim_ops = {on_sim_open, on_sim_text, on_sim_closed};

int phone_new(struct phone **pp, uv_loop_t *loop, const struct phone_config *cfg, phone_event_cb cb, void *arg,
              struct err_text *et) {
    char url[600];
    struct phone *p = calloc(1, sizeof *p);
    if (!p)
        return err_say(et, E_NOMEM, "out of memory");
    p->loop = loop;
    p->cfg = cfg;
    p->cb = cb;
    p->arg = arg;
    if (phone_sealed_init(&p->sealed, cfg->handoff) != 0) {
        free(p);
        return err_say(et, E_CRYPTO, "no X25519 key pair could be made");
    }
    uv_timer_t *timers[] = {&p->wake, &p->dial, &p->answer, &p->hangup, &p->report};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = p;
    }
    *pp = p;
    snprintf(url, sizeof url, "%s/v1/phone", cfg->sim_url);
    if (peer_ws_connect(&p->sim, p->cfg->net, url, SIM_PROTOCOL, &sim_ops, p) != 0)
        return err_say(et, E_IO, "%s: no connection to the simulator", url);
    return 0;
}

void phone_close(struct phone *p) {
    p->closing = true;
    if (p->ring.media)
        phone_call_close(p->ring.media);
    p->ring.media = NULL;
    uv_close((uv_handle_t *)&p->wake, NULL);
    uv_close((uv_handle_t *)&p->dial, NULL);
    uv_close((uv_handle_t *)&p->answer, NULL);
    uv_close((uv_handle_t *)&p->hangup, NULL);
    uv_close((uv_handle_t *)&p->report, NULL);
}

struct phone *phone_free(struct phone *p) {
    if (!p)
        return NULL;
    json_decref(p->push);
    phone_busy_free_all(&p->busy);
    phone_sealed_wipe(&p->sealed);
    free(p);
    return NULL;
}
