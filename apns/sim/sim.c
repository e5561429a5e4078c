/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim.h"

#include "apns/apns_jwt.h"
#include "apns/sim/sim_priv.h"
#include "apns/sim/sim_watch.h"
#include "base/clock.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void lower(char *out, size_t cap, const char *in) {
    size_t i = 0;
    for (; in[i] && i + 1 < cap; i++)
        out[i] = (char)tolower((unsigned char)in[i]);
    out[i] = 0;
}

struct sim_device *sim_device_find(struct sim *s, const char *token) {
    char key[APNS_TOKEN_MAX_CHARS + 1];
    struct sim_device *d;
    lower(key, sizeof key, token);
    HASH_FIND_STR(s->devices, key, d); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    return d;
}

struct sim_device *sim_device_put(struct sim *s, const char *token, const char *bundle_id, bool sandbox) {
    struct sim_device *d = sim_device_find(s, token);
    if (!d) {
        d = calloc(1, sizeof *d);
        if (!d)
            return NULL;
        lower(d->token, sizeof d->token, token);
        HASH_ADD_STR(s->devices, token, d);
    }
    snprintf(d->bundle_id, sizeof d->bundle_id, "%s", bundle_id);
    d->sandbox = sandbox;
    d->registered = true;
    return d;
}

void sim_device_delete(struct sim *s, struct sim_device *d) {
    HASH_DEL(s->devices, d); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    json_decref(d->stored);
    free(d);
}

int sim_device_put_json(struct sim *s, struct sim_device **dp, const char *token, const json_t *o,
                        struct err_text *et) {
    const char *bundle = json_string_value(json_object_get(o, "bundle_id")),
               *state = json_string_value(json_object_get(o, "state")),
               *environment = json_string_value(json_object_get(o, "environment"));
    size_t len = strlen(token);
    bool hex =
        len >= 2 && len <= APNS_TOKEN_MAX_CHARS && len % 2 == 0 && strspn(token, "0123456789abcdefABCDEF") == len;
    if (!hex || !bundle || !*bundle)
        return err_say(et, E_INVAL, "a device token in hex in the path and a bundle_id are needed");
    struct sim_device *d = *dp = sim_device_put(s, token, bundle, environment && strcmp(environment, "sandbox") == 0);
    if (!d)
        return err_say(et, E_NOMEM, "out of memory");
    d->registered = !state || strcmp(state, "unregistered") != 0;
    d->unregistered_ms = d->registered ? 0 : sim_now_ms(s);
    return 0;
}

int sim_bundle_add(struct sim *s, const char *bundle_id) {
    for (unsigned i = 0; i < s->cfg.bundle_count; i++)
        if (strcmp(s->cfg.bundles[i], bundle_id) == 0)
            return 0;
    if (s->cfg.bundle_count == SIM_BUNDLES_MAX)
        return E_FULL;
    char *own = strdup(bundle_id);
    if (!own)
        return E_NOMEM;
    s->own_bundles[s->cfg.bundle_count] = own;
    s->cfg.bundles[s->cfg.bundle_count++] = own;
    return 0;
}

static json_t *journal_entry(const struct sim *s, const struct sim_request *r, const char *apns_id, int status,
                             const char *reason) {
    static const char *const names[SIM_HEADERS] = {[SIM_PUSH_TYPE] = "push_type",     [SIM_TOPIC] = "topic",
                                                   [SIM_PRIORITY] = "priority",       [SIM_EXPIRATION] = "expiration",
                                                   [SIM_COLLAPSE_ID] = "collapse_id", [SIM_METHOD] = "method",
                                                   [SIM_AUTHORITY] = "authority"};
    char at[CLOCK_RFC3339_BYTES];
    const char *token = sim_path_token(r->value[SIM_PATH]);
    json_t *payload = r->body_len ? json_loadb(r->body, r->body_len, 0, NULL) : NULL;
    json_t *e = json_pack("{s:s,s:s,s:s,s:i,s:s,s:s,s:I,s:I,s:o}", "at", clock_rfc3339(at, sim_now_ms(s)), "apns_id",
                          apns_id, "token", token ? token : "", "status", status, "reason", reason, "delivered", "no",
                          "bytes", (json_int_t)r->body_len, "connection", (json_int_t)r->connection, "payload",
                          payload ? payload : json_null());
    for (int i = 0; i < SIM_HEADERS; i++)
        if (names[i] && r->seen[i])
            json_object_set_new(e, names[i], json_string(r->value[i]));
    return e;
}

void sim_answered(struct sim *s, const struct sim_request *r, const char *apns_id, int status, const char *reason) {
    char labels[128];
    json_t *e = journal_entry(s, r, apns_id, status, reason);
    if (json_array_size(s->journal) >= SIM_JOURNAL_MAX)
        json_array_remove(s->journal, 0);
    json_array_append(s->journal, e);
    snprintf(labels, sizeof labels, "status=\"%d\",reason=\"%.64s\"", status, reason);
    metric_add(metrics_counter(s->metrics, "apns_sim_requests_total", "Requests by answer.", labels), 1);
    log_info("push", log_s("apns_id", apns_id), log_i("status", status), log_s("reason", reason));
    if (status == 200 && sim_path_token(r->value[SIM_PATH]))
        sim_deliver(s, r, apns_id, e);
    json_decref(e);
}

/* Life */

static int load_key(struct sim *s, unsigned i, struct err_text *et) {
    char pem[8192];
    struct err_text why = {""};
    const struct sim_key *k = &s->cfg.keys[i];
    FILE *f = fopen(k->file, "re");
    if (!f)
        return err_say(et, E_IO, "--auth-key: %s: %s", k->file, strerror(errno));
    size_t len = fread(pem, 1, sizeof pem, f);
    fclose(f);
    bool public = memmem(pem, len, "PUBLIC KEY", 10) != NULL;
    int err = public ? apns_public_key_parse(&s->keys[i], pem, len, &why) : apns_key_parse(&s->keys[i], pem, len, &why);
    return err == 0 ? 0 : err_say(et, err, "--auth-key: %s: %s", k->file, why.s);
}

/* Runs on the loop's next turn: a change may come from within a connection. */
static void on_apply(struct sim *s, void *arg, bool cancelled) {
    (void)arg;
    if (!cancelled)
        sim_net_apply(s);
}

void sim_behaviour_apply(struct sim *s, const struct sim_behaviour *next) {
    uint64_t now_us = clock_mono_us();
    int64_t ahead_s = next->clock_offset_s - s->b.clock_offset_s;
    if (next->seed != s->b.seed)
        s->random = (uint64_t)next->seed;
    if (ahead_s != 0)
        sim_clock_set(&s->clock, sim_clock_at(&s->clock, now_us) + (uint64_t)(ahead_s * 1000), now_us);
    if (next->clock_speed != s->clock.speed)
        sim_clock_speed(&s->clock, next->clock_speed, now_us);
    s->b = *next;
    sim_watch_keep(s->watch, (size_t)next->journal_frames);
    sim_tasks_wake(s);
    sim_later(s, 0, on_apply, NULL);
}

static void sim_free(struct sim *s) {
    struct sim_device *d, *next_d;
    struct sim_scripted *a, *next_a;
    HASH_ITER(hh, s->devices, d, next_d) {
        sim_device_delete(s, d);
    }
    LL_FOREACH_SAFE(s->scripted, a, next_a) {
        free(a);
    }
    for (unsigned i = 0; i < SIM_KEYS_MAX; i++)
        EVP_PKEY_free(s->keys[i]);
    for (unsigned i = 0; i < SIM_BUNDLES_MAX; i++)
        free(s->own_bundles[i]);
    sim_script_free(s);
    s->watch = sim_watch_free(s->watch);
    json_decref(s->journal);
    metrics_free(s->metrics);
    free(s);
}

static int scenario_devices(struct sim *s, const json_t *devices, struct err_text *et) {
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *o = json_array_get(devices, i);
        const char *token = json_string_value(json_object_get(o, "token"));
        struct sim_device *d;
        int err = sim_device_put_json(s, &d, token ? token : "", o, et);
        if (err != 0)
            return err;
    }
    return 0;
}

static int scenario_start(struct sim *s, struct err_text *et) {
    const json_t *rules = json_object_get(s->cfg.scenario, "rules"),
                 *bundles = json_object_get(s->cfg.scenario, "bundles");
    int err = scenario_devices(s, json_object_get(s->cfg.scenario, "devices"), et);
    for (size_t i = 0; i < json_array_size(bundles) && err == 0; i++)
        if (json_is_string(json_array_get(bundles, i)))
            err = sim_bundle_add(s, json_string_value(json_array_get(bundles, i)));
    if (err == 0 && rules)
        err = sim_script_set(s, rules, true, et);
    if (err == 0 && s->cfg.rules)
        err = sim_script_set(s, s->cfg.rules, true, et);
    s->cfg.scenario = s->cfg.rules = NULL;
    return err;
}

static void begin(struct sim *s) {
    struct sim_behaviour first;
    sim_clock_init(&s->clock, clock_wall_us(), clock_mono_us());
    sim_behaviour_defaults(&s->b);
    s->random = (uint64_t)s->b.seed;
    first = s->cfg.behaviour ? *s->cfg.behaviour : s->b;
    if (s->cfg.streams_max)
        first.settings_streams = s->cfg.streams_max;
    s->cfg.behaviour = NULL;
    uv_timer_init(s->loop, &s->tick);
    s->tick.data = s;
    sim_behaviour_apply(s, &first);
    s->started_ms = sim_now_ms(s);
}

int sim_start(struct sim **sp, uv_loop_t *loop, const struct sim_config *cfg, struct err_text *et) {
    struct sim *s = calloc(1, sizeof *s);
    int err = 0;
    if (!s || metrics_new(&s->metrics) != 0) {
        free(s);
        return err_say(et, E_NOMEM, "out of memory");
    }
    s->cfg = *cfg;
    s->loop = loop;
    s->journal = json_array();
    s->watch = sim_watch_new();
    begin(s);
    for (unsigned i = 0; i < cfg->key_count && err == 0; i++)
        err = load_key(s, i, et);
    if (err == 0)
        err = scenario_start(s, et);
    if (err == 0)
        err = sim_net_start(s, et);
    if (err == 0 && (err = sim_control_start(s, et)) != 0)
        sim_net_close(s, NULL);
    if (err != 0) {
        s->closed = true;
        sim_tasks_cancel(s);
        uv_close((uv_handle_t *)&s->tick, NULL);
        uv_run(loop, UV_RUN_DEFAULT);
        sim_free(s);
        return err;
    }
    *sp = s;
    return 0;
}

static void part_closed(struct sim *s) {
    if (--s->closing > 0)
        return;
    void (*done)(void *) = s->done;
    void *arg = s->done_arg;
    sim_free(s);
    done(arg);
}

static void on_control_closed(void *arg) {
    part_closed(arg);
}

static void on_tick_closed(uv_handle_t *h) {
    part_closed(h->data);
}

void sim_close(struct sim *s, void (*done)(void *arg), void *arg) {
    s->done = done;
    s->done_arg = arg;
    s->closed = true;
    s->closing = 3;
    sim_tasks_cancel(s);
    uv_close((uv_handle_t *)&s->tick, on_tick_closed);
    sim_net_close(s, part_closed);
    httpd_close(s->control, on_control_closed, s);
}

const struct addr *sim_address(const struct sim *s) {
    return sim_net_address(s, 0);
}

const struct addr *sim_address_more(const struct sim *s, unsigned i) {
    return i < sim_net_count(s) ? sim_net_address(s, i) : NULL;
}

const struct addr *sim_control_address(const struct sim *s) {
    return httpd_address(s->control);
}
