/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim.h"

#include "apns/apns_jwt.h"
#include "apns/sim/sim_priv.h"
#include "base/clock.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* A push between its 200 and the phone. */
struct sim_delivery {
    struct sim_delivery *prev, *next;
    struct sim *s;
    uv_timer_t timer;
    char token[APNS_TOKEN_MAX_CHARS + 1];
    json_t *push, *entry; /* the message, and its place in the journal */
    bool stored_when_away;
};

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

static void send_push(struct sim *s, ws_id phone, const json_t *push) {
    char *text = json_dumps(push, JSON_COMPACT);
    if (text)
        httpd_ws_send(s->control, phone, text, strlen(text), false);
    free(text);
}

void sim_device_connected(struct sim *s, struct sim_device *d, ws_id phone) {
    d->phone = phone;
    if (d->stored)
        send_push(s, phone, d->stored);
    json_decref(d->stored);
    d->stored = NULL;
}

static void on_delivery_closed(uv_handle_t *h) {
    struct sim_delivery *v = h->data;
    json_decref(v->push);
    json_decref(v->entry);
    free(v);
}

static void delivery_end(struct sim_delivery *v, const char *what) {
    json_object_set_new(v->entry, "delivered", json_string(what));
    DL_DELETE(v->s->deliveries, v);
    uv_close((uv_handle_t *)&v->timer, on_delivery_closed);
}

static void on_delivery(uv_timer_t *t) {
    struct sim_delivery *v = t->data;
    struct sim_device *d = sim_device_find(v->s, v->token);
    if (d && d->phone) {
        send_push(v->s, d->phone, v->push);
        delivery_end(v, "yes");
    } else if (d && v->stored_when_away) {
        /* One stored notification per app and device: the newer takes the older's place. */
        json_decref(d->stored);
        d->stored = json_incref(v->push);
        delivery_end(v, "stored");
    } else {
        delivery_end(v, "no phone");
    }
}

static json_t *push_message(const struct sim_request *r, const char *apns_id) {
    json_error_t why;
    json_t *payload = json_loadb(r->body, r->body_len, 0, &why);
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:I,s:I,s:o}", "type", "push", "apns_id", apns_id, "topic",
                     r->value[SIM_TOPIC], "push_type", r->value[SIM_PUSH_TYPE], "priority",
                     r->seen[SIM_PRIORITY] ? atoi(r->value[SIM_PRIORITY]) : 10, "expiration",
                     (json_int_t)strtoll(r->value[SIM_EXPIRATION], NULL, 10), "accepted_at",
                     (json_int_t)clock_wall_ms(), "payload", payload ? payload : json_null());
}

static void deliver(struct sim *s, const struct sim_request *r, const char *apns_id, json_t *entry) {
    struct sim_delivery *v = calloc(1, sizeof *v);
    if (!v)
        return;
    v->s = s;
    v->push = push_message(r, apns_id);
    v->entry = json_incref(entry);
    v->stored_when_away = strcmp(r->value[SIM_EXPIRATION], "0") != 0;
    snprintf(v->token, sizeof v->token, "%s", sim_path_token(r->value[SIM_PATH]));
    uv_timer_init(s->loop, &v->timer);
    v->timer.data = v;
    DL_APPEND(s->deliveries, v);
    uv_timer_start(&v->timer, on_delivery, s->cfg.delivery_delay_ms, 0);
}

static json_t *journal_entry(const struct sim_request *r, const char *apns_id, int status, const char *reason) {
    static const char *const names[SIM_HEADERS] = {[SIM_PUSH_TYPE] = "push_type",     [SIM_TOPIC] = "topic",
                                                   [SIM_PRIORITY] = "priority",       [SIM_EXPIRATION] = "expiration",
                                                   [SIM_COLLAPSE_ID] = "collapse_id", [SIM_METHOD] = "method",
                                                   [SIM_AUTHORITY] = "authority"};
    char at[CLOCK_RFC3339_BYTES];
    const char *token = sim_path_token(r->value[SIM_PATH]);
    json_t *payload = r->body_len ? json_loadb(r->body, r->body_len, 0, NULL) : NULL;
    json_t *e = json_pack("{s:s,s:s,s:s,s:i,s:s,s:s,s:I,s:o}", "at", clock_rfc3339(at, clock_wall_ms()), "apns_id",
                          apns_id, "token", token ? token : "", "status", status, "reason", reason, "delivered", "no",
                          "bytes", (json_int_t)r->body_len, "payload", payload ? payload : json_null());
    for (int i = 0; i < SIM_HEADERS; i++)
        if (names[i] && r->seen[i])
            json_object_set_new(e, names[i], json_string(r->value[i]));
    return e;
}

void sim_answered(struct sim *s, const struct sim_request *r, const char *apns_id, int status, const char *reason) {
    char labels[128];
    json_t *e = journal_entry(r, apns_id, status, reason);
    if (json_array_size(s->journal) >= SIM_JOURNAL_MAX)
        json_array_remove(s->journal, 0);
    json_array_append(s->journal, e);
    snprintf(labels, sizeof labels, "status=\"%d\",reason=\"%.64s\"", status, reason);
    metric_add(metrics_counter(s->metrics, "apns_sim_requests_total", "Requests by answer.", labels), 1);
    log_info("push", log_s("apns_id", apns_id), log_i("status", status), log_s("reason", reason));
    if (status == 200 && s->cfg.delivery_drop)
        json_object_set_new(e, "delivered", json_string("dropped"));
    else if (status == 200 && sim_path_token(r->value[SIM_PATH]))
        deliver(s, r, apns_id, e);
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
    json_decref(s->journal);
    metrics_free(s->metrics);
    free(s);
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
    for (unsigned i = 0; i < cfg->key_count && err == 0; i++)
        err = load_key(s, i, et);
    if (err == 0)
        err = sim_listener_start(s, et);
    if (err == 0 && (err = sim_control_start(s, et)) != 0)
        sim_listener_close(s, NULL);
    if (err != 0) {
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

void sim_close(struct sim *s, void (*done)(void *arg), void *arg) {
    struct sim_delivery *v, *next;
    s->done = done;
    s->done_arg = arg;
    s->closed = true;
    s->closing = 2;
    DL_FOREACH_SAFE(s->deliveries, v, next) {
        delivery_end(v, "no");
    }
    sim_listener_close(s, part_closed);
    httpd_close(s->control, on_control_closed, s);
}

const struct addr *sim_address(const struct sim *s) {
    return sim_listener_address(s);
}

const struct addr *sim_control_address(const struct sim *s) {
    return httpd_address(s->control);
}
