/* SPDX-License-Identifier: Apache-2.0 */
/* What scripts and behaviours do to a connection. */
#include "apns/sim/sim_conn.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_MAX 0x7fffffff

struct closing {
    uint64_t number;
};

static void on_close_time(struct sim *s, void *arg, bool cancelled) {
    struct closing *v = arg;
    struct sim_conn *c = cancelled ? NULL : sim_conn_find(s, v->number);
    free(v);
    if (!c)
        return;
    sim_conn_flush(c);
    if (!c->closing)
        SSL_shutdown(c->ssl);
    sim_conn_flush(c);
    sim_conn_finish(c);
}

/* Never at once: a callback of the session may be on the stack. */
static void close_later(struct sim_conn *c, int64_t delay_ms) {
    struct closing *v = malloc(sizeof *v);
    if (!v)
        return;
    v->number = c->number;
    if (sim_later(c->s, (uint64_t)delay_ms, on_close_time, v) != 0)
        free(v);
}

static void on_reset_time(struct sim *s, void *arg, bool cancelled) {
    struct closing *v = arg;
    struct sim_conn *c = cancelled ? NULL : sim_conn_find(s, v->number);
    free(v);
    if (c)
        sim_conn_reset(c);
}

static void reset_later(struct sim_conn *c) {
    struct closing *v = malloc(sizeof *v);
    if (!v)
        return;
    v->number = c->number;
    if (sim_later(c->s, 0, on_reset_time, v) != 0)
        free(v);
}

static int32_t last_of(const struct sim_conn *c, const struct sim_action *a) {
    int64_t last = c->last_answered, offset = 2 * a->offset;
    if (a->last == SIM_LAST_ZERO)
        return 0;
    if (a->last == SIM_LAST_BELOW)
        last -= offset;
    if (a->last == SIM_LAST_ABOVE)
        last += offset;
    return (int32_t)(last < 0 ? 0 : last > STREAM_MAX ? STREAM_MAX : last);
}

void sim_goaway_send(struct sim_conn *c, const struct sim_action *a) {
    uint8_t payload[8 + 256] = {0};
    size_t len = 8;
    if (!c->h2)
        return;
    c->goaway_last = last_of(c, a);
    c->goaway_then = a->then;
    c->goaway_sent = true;
    uint32_t last = (uint32_t)c->goaway_last, code = (uint32_t)a->code;
    for (int i = 0; i < 4; i++) {
        payload[i] = (uint8_t)(last >> (24 - 8 * i));
        payload[4 + i] = (uint8_t)(code >> (24 - 8 * i));
    }
    char *text = (char *)payload + 8;
    if (a->body == SIM_GOAWAY_JSON)
        len += (size_t)snprintf(text, sizeof payload - 8, "{\"reason\":\"%s\"}", a->text);
    else if (a->body == SIM_GOAWAY_TEXT)
        len += (size_t)snprintf(text, sizeof payload - 8, "%s", a->text);
    for (int64_t i = 0; i < a->times || i == 0; i++)
        sim_h2_raw(c, NGHTTP2_GOAWAY, 0, payload, len);
    metric_add(metrics_counter(c->s->metrics, "apns_sim_goaway_total", "GOAWAY frames sent.", ""), 1);
    if (a->then == SIM_THEN_CLOSE)
        close_later(c, 0);
    else if (a->then == SIM_THEN_LATER)
        close_later(c, a->close_ms);
}

void sim_goaway(struct sim_conn *c) {
    const struct sim_behaviour *b = &c->s->b;
    struct sim_action a = {.code = b->goaway_code,
                           .body = b->goaway_body,
                           .last = b->goaway_last,
                           .offset = b->goaway_offset,
                           .times = b->goaway_times,
                           .then = b->goaway_then,
                           .close_ms = b->goaway_delay_ms};
    snprintf(a.text, sizeof a.text, "%.127s", b->goaway_text);
    sim_goaway_send(c, &a);
}

void sim_goaway_reason(struct sim_conn *c, const char *reason, bool last_zero) {
    struct sim_action a = {
        .body = SIM_GOAWAY_JSON, .last = last_zero ? SIM_LAST_ZERO : SIM_LAST_AT, .times = 1, .then = SIM_THEN_CLOSE};
    snprintf(a.text, sizeof a.text, "%s", reason);
    sim_goaway_send(c, &a);
}

static void wedge(struct sim_conn *c, int64_t ms) {
    c->wedged = true;
    c->wedged_until_ms = ms ? sim_now_ms(c->s) + (uint64_t)ms : 0;
}

void sim_act(struct sim_conn *c, const struct sim_action *a) {
    switch (a->type) {
    case SIM_ACT_GOAWAY:
        sim_goaway_send(c, a);
        return;
    case SIM_ACT_SHUTDOWN:
        sim_goaway_reason(c, "Shutdown", false);
        return;
    case SIM_ACT_WEDGE:
        wedge(c, a->ms);
        return;
    case SIM_ACT_HOLE:
        c->hole = a->mode;
        sim_conn_read(c);
        return;
    case SIM_ACT_STREAMS:
        sim_h2_limit(c, a->n);
        return;
    case SIM_ACT_RESET:
        reset_later(c);
        return;
    case SIM_ACT_CLOSE:
        close_later(c, a->ms);
        return;
    case SIM_ACT_STALL:
        c->stalled = true;
        return;
    case SIM_ACT_PASS:
    case SIM_ACT_ANSWER:
    case SIM_ACT_IGNORE:
    case SIM_ACT_STREAM: /* of a request: sim_answer.c */
    case SIM_ACT_SET:    /* of all: sim_act_all */
        return;
    }
}
