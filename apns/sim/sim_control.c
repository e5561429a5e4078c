/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's control API and the phones' WebSocket. */
#include "apns/sim/sim_priv.h"
#include "apns/sim/sim_watch.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define PROTOCOL "apns-sim.v1"

static void reply_json(struct sim *s, http_id id, int status, json_t *body) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    httpd_reply(s->control, id, status, text ? "application/json" : NULL, text, text ? strlen(text) : 0, NULL, 0);
    free(text);
    json_decref(body);
}

static void problem(struct sim *s, http_id id, int status, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void problem(struct sim *s, http_id id, int status, const char *fmt, ...) {
    char detail[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    json_t *o = json_pack("{s:s,s:i,s:s}", "type", "about:blank", "status", status, "detail", detail);
    char *text = json_dumps(o, JSON_COMPACT);
    httpd_reply(s->control, id, status, "application/problem+json", text, strlen(text), NULL, 0);
    free(text);
    json_decref(o);
}

static const char *text_of(const json_t *o, const char *key) {
    const char *v = json_string_value(json_object_get(o, key));
    return v ? v : "";
}

static bool token_valid(const char *token) {
    size_t len = strlen(token);
    return len >= 2 && len <= APNS_TOKEN_MAX_CHARS && len % 2 == 0 && strspn(token, "0123456789abcdefABCDEF") == len;
}

static void get_health(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    (void)body;
    reply_json(s, r->id, 200, json_pack("{s:s}", "status", "ok"));
}

static void get_metrics(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    struct buf out = {0};
    (void)rest;
    (void)body;
    metrics_render(s->metrics, &out);
    httpd_reply(s->control, r->id, 200, "text/plain; version=0.0.4", out.p ? out.p : "", out.len, NULL, 0);
    buf_free(&out);
}

static json_t *device_json(const struct sim_device *d) {
    return json_pack("{s:s,s:s,s:s,s:s,s:b}", "token", d->token, "bundle_id", d->bundle_id, "environment",
                     d->sandbox ? "sandbox" : "production", "state", d->registered ? "registered" : "unregistered",
                     "connected", d->phone != 0);
}

static void get_devices(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    json_t *list = json_array();
    struct sim_device *d, *next;
    (void)rest;
    (void)body;
    HASH_ITER(hh, s->devices, d, next) {
        json_array_append_new(list, device_json(d));
    }
    reply_json(s, r->id, 200, json_pack("{s:o}", "devices", list));
}

static void put_device(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    struct err_text et = {""};
    struct sim_device *d;
    int err = sim_device_put_json(s, &d, rest, body, &et);
    if (err != 0)
        problem(s, r->id, err == E_INVAL ? 400 : 500, "%s", et.s);
    else
        reply_json(s, r->id, 200, device_json(d));
}

static void delete_device(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    struct sim_device *d = sim_device_find(s, rest);
    (void)body;
    if (d)
        sim_device_delete(s, d);
    reply_json(s, r->id, d ? 204 : 404, NULL);
}

static void get_journal(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    char limit_text[16];
    size_t size = json_array_size(s->journal), limit = size;
    json_t *list = json_array();
    (void)rest;
    (void)body;
    if (httpd_arg(r, "limit", limit_text, sizeof limit_text))
        limit = strtoul(limit_text, NULL, 10);
    for (size_t i = size > limit ? size - limit : 0; i < size; i++)
        json_array_append(list, json_array_get(s->journal, i));
    reply_json(s, r->id, 200, json_pack("{s:o}", "requests", list));
}

static void post_answer(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    json_int_t status = json_integer_value(json_object_get(body, "status")),
               count = json_integer_value(json_object_get(body, "count"));
    struct sim_scripted *a = calloc(1, sizeof *a);
    (void)rest;
    if (!a || status < 200 || status > 599) {
        free(a);
        problem(s, r->id, 400, "status: 200 to 599 is needed");
        return;
    }
    a->status = (int)status;
    a->count = count > 0 && count < 1000000 ? (unsigned)count : 1;
    snprintf(a->reason, sizeof a->reason, "%s", text_of(body, "reason"));
    snprintf(a->token, sizeof a->token, "%s", text_of(body, "token"));
    LL_APPEND(s->scripted, a);
    reply_json(s, r->id, 204, NULL);
}

static void put_delivery(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    json_t *delay = json_object_get(body, "delay_ms"), *drop = json_object_get(body, "drop");
    (void)rest;
    struct sim_behaviour next = s->b;
    if (json_is_integer(delay) && json_integer_value(delay) >= 0 && json_integer_value(delay) < 3600000)
        next.delivery_delay_ms = json_integer_value(delay);
    if (json_is_boolean(drop))
        next.delivery_drop = json_is_true(drop);
    sim_behaviour_apply(s, &next);
    reply_json(s, r->id, 200,
               json_pack("{s:I,s:b}", "delay_ms", (json_int_t)next.delivery_delay_ms, "drop", next.delivery_drop != 0));
}

static void get_behaviour(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    (void)body;
    reply_json(s, r->id, 200, sim_behaviour_json(&s->b));
}

static void change_behaviour(struct sim *s, const struct httpd_request *r, const json_t *body, bool whole) {
    struct err_text et = {""};
    struct sim_behaviour next = s->b;
    if (whole)
        sim_behaviour_defaults(&next);
    if (sim_behaviour_set_json(&next, body, &et) != 0) {
        problem(s, r->id, 400, "%s", et.s);
        return;
    }
    sim_behaviour_apply(s, &next);
    reply_json(s, r->id, 200, sim_behaviour_json(&s->b));
}

/* What is not named is as at the start of a simulator without options. */
static void put_behaviour(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    change_behaviour(s, r, body, true);
}

/* What is not named stays. */
static void patch_behaviour(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    change_behaviour(s, r, body, false);
}

static void get_clock(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    char at[CLOCK_RFC3339_BYTES];
    (void)rest;
    (void)body;
    reply_json(s, r->id, 200,
               json_pack("{s:I,s:s,s:I,s:I}", "now_ms", (json_int_t)sim_now_ms(s), "now",
                         clock_rfc3339(at, sim_now_ms(s)), "speed", (json_int_t)s->clock.speed, "started_ms",
                         (json_int_t)s->started_ms));
}

static void put_clock(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    const json_t *now = json_object_get(body, "now_ms"), *advance = json_object_get(body, "advance_ms"),
                 *speed = json_object_get(body, "speed");
    struct sim_behaviour next = s->b;
    if ((now && json_integer_value(now) <= 0) || (advance && json_integer_value(advance) < 0) ||
        (speed && (!json_is_integer(speed) || json_integer_value(speed) < 0 || json_integer_value(speed) > 1000000))) {
        problem(s, r->id, 400, "now_ms, advance_ms and speed: numbers, not below 0, speed at most 1000000");
        return;
    }
    uint64_t now_ms = now ? (uint64_t)json_integer_value(now) : sim_now_ms(s);
    if (now || advance)
        sim_clock_set(&s->clock, now_ms + (uint64_t)json_integer_value(advance), clock_mono_us());
    if (speed)
        next.clock_speed = json_integer_value(speed);
    sim_behaviour_apply(s, &next);
    get_clock(s, r, rest, body);
}

static void get_script(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    (void)body;
    reply_json(s, r->id, 200, json_pack("{s:o}", "rules", sim_script_json(s)));
}

static void put_script(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    struct err_text et = {""};
    if (sim_script_set(s, json_object_get(body, "rules"), strcmp(r->method, "POST") == 0, &et) != 0)
        problem(s, r->id, 400, "%s", et.s);
    else
        get_script(s, r, rest, body);
}

/* An action at once, on the connections that are meant. */
static void post_action(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    struct err_text et = {""};
    struct sim_action a;
    (void)rest;
    if (sim_action_parse(s, &a, json_object_get(body, "action"), &et) != 0) {
        problem(s, r->id, 400, "%s", et.s);
        return;
    }
    sim_act_all(s, &a, (uint64_t)json_integer_value(json_object_get(body, "connection")), text_of(body, "address"));
    reply_json(s, r->id, 204, NULL);
}

static void get_connections(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    (void)body;
    reply_json(s, r->id, 200, json_pack("{s:o}", "connections", sim_net_json(s)));
}

static void get_frames(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    char connection[24] = "", limit[24] = "";
    (void)rest;
    (void)body;
    httpd_arg(r, "connection", connection, sizeof connection);
    bool given = httpd_arg(r, "limit", limit, sizeof limit);
    reply_json(s, r->id, 200,
               sim_watch_frames_json(s->watch, strtoull(connection, NULL, 10),
                                     given ? strtoul(limit, NULL, 10) : SIM_JOURNAL_MAX));
}

static void get_assertions(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    (void)body;
    reply_json(s, r->id, 200, sim_watch_assertions_json(s->watch));
}

static void delete_assertions(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)rest;
    (void)body;
    sim_watch_reset(s->watch);
    reply_json(s, r->id, 204, NULL);
}

static void put_bundle(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body) {
    (void)body;
    if (!*rest || sim_bundle_add(s, rest) != 0)
        problem(s, r->id, 400, "a bundle id is needed in the path; at most %d are kept", SIM_BUNDLES_MAX);
    else
        reply_json(s, r->id, 204, NULL);
}

/* A path that ends in "/" stands for all below it; the rest is handed over. */
static const struct {
    const char *method, *path;
    void (*fn)(struct sim *s, const struct httpd_request *r, const char *rest, const json_t *body);
} routes[] = {{"GET", "/healthz", get_health},
              {"GET", "/metrics", get_metrics},
              {"GET", "/v1/devices", get_devices},
              {"PUT", "/v1/devices/", put_device},
              {"DELETE", "/v1/devices/", delete_device},
              {"PUT", "/v1/bundles/", put_bundle},
              {"GET", "/v1/journal", get_journal},
              {"POST", "/v1/answers", post_answer},
              {"PUT", "/v1/delivery", put_delivery},
              {"GET", "/v1/behaviour", get_behaviour},
              {"PUT", "/v1/behaviour", put_behaviour},
              {"PATCH", "/v1/behaviour", patch_behaviour},
              {"GET", "/v1/clock", get_clock},
              {"PUT", "/v1/clock", put_clock},
              {"GET", "/v1/script", get_script},
              {"PUT", "/v1/script", put_script},
              {"POST", "/v1/script", put_script},
              {"POST", "/v1/actions", post_action},
              {"GET", "/v1/connections", get_connections},
              {"GET", "/v1/frames", get_frames},
              {"GET", "/v1/assertions", get_assertions},
              {"DELETE", "/v1/assertions", delete_assertions}};

static bool path_matches(const char *pattern, const char *path) {
    size_t len = strlen(pattern);
    return pattern[len - 1] == '/' ? strncmp(pattern, path, len) == 0 : strcmp(pattern, path) == 0;
}

static void on_request(const struct httpd_request *r, void *arg) {
    struct sim *s = arg;
    json_error_t why;
    json_t *body = r->body_len ? json_loadb(r->body, r->body_len, 0, &why) : NULL;
    if (r->body_len && !json_is_object(body)) {
        problem(s, r->id, 400, "the body is not a JSON object: %s", body ? "another type" : why.text);
        json_decref(body);
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].method, r->method) != 0 || !path_matches(routes[i].path, r->path))
            continue;
        routes[i].fn(s, r, r->path + strlen(routes[i].path), body);
        json_decref(body);
        return;
    }
    json_decref(body);
    problem(s, r->id, 404, "no such resource: %s %.64s", r->method, r->path);
}

static void on_refused(http_id id, int status, const char *detail, void *arg) {
    problem(arg, id, status, "%s", detail);
}

/* Phones */

static void ws_send(struct sim *s, ws_id id, json_t *message) {
    char *text = json_dumps(message, JSON_COMPACT);
    if (text)
        httpd_ws_send(s->control, id, text, strlen(text), false);
    free(text);
    json_decref(message);
}

static void on_ws_text(ws_id id, const char *p, size_t len, void *arg) {
    struct sim *s = arg;
    char token[65];
    uint8_t random[32];
    json_t *m = json_loadb(p, len, 0, NULL);
    const char *given = text_of(m, "token"), *bundle = text_of(m, "bundle_id");
    if (strcmp(text_of(m, "type"), "register") != 0 || !*bundle || (*given && !token_valid(given))) {
        ws_send(
            s, id,
            json_pack("{s:s,s:s}", "type", "error", "detail", "register needs a bundle_id, and a token in hex if any"));
        json_decref(m);
        return;
    }
    random_bytes(random, sizeof random);
    hex_encode(token, random, sizeof random);
    struct sim_device *d =
        sim_device_put(s, *given ? given : token, bundle, strcmp(text_of(m, "environment"), "sandbox") == 0);
    json_decref(m);
    if (!d)
        return;
    ws_send(s, id, json_pack("{s:s,s:s}", "type", "registered", "token", d->token));
    sim_device_connected(s, d, id);
}

static void on_ws_open(ws_id id, const struct addr *peer, void *arg) {
    (void)id;
    (void)peer;
    (void)arg;
}

static void on_ws_binary(ws_id id, const uint8_t *p, size_t len, void *arg) {
    struct sim *s = arg;
    (void)p;
    (void)len;
    httpd_ws_close(s->control, id, 1003, "text only");
}

static void on_ws_closed(ws_id id, void *arg) {
    struct sim *s = arg;
    struct sim_device *d, *next;
    HASH_ITER(hh, s->devices, d, next) {
        if (d->phone == id)
            d->phone = 0;
    }
}

int sim_control_start(struct sim *s, struct err_text *et) {
    struct err_text why = {""};
    struct httpd_config cfg = {
        .loop = s->loop,
        .listen = s->cfg.control,
        .body_max_bytes = 65536,
        .message_max_bytes = 65536,
        .queue_max_bytes = 1 << 20,
        .queue_max_messages = 4096,
        .request = on_request,
        .refused = on_refused,
        .ws_path = "/v1/phone",
        .ws_protocol = PROTOCOL,
        .ws = {on_ws_open, on_ws_text, on_ws_binary, on_ws_closed},
        .arg = s,
    };
    int err = httpd_start(&s->control, &cfg, &why);
    return err == 0 ? 0 : err_say(et, err, "--control: %s", why.s);
}
