/* SPDX-License-Identifier: Apache-2.0 */
/* From a whole request to its answer, and what follows from that. */
#include "apns/sim/sim_conn.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static bool unique_id(const struct sim *s) {
    return s->b.unique_id == SIM_UNIQUE_ALWAYS || (s->b.unique_id == SIM_UNIQUE_SANDBOX && s->cfg.sandbox);
}

static void reply(struct sim_conn *c, struct sim_stream *st) {
    const struct sim_verdict *v = &st->verdict;
    char status[16], unique[UUID_BYTES], retry[24];
    nghttp2_nv nv[4];
    size_t n = 0;
    snprintf(status, sizeof status, "%d", v->status);
    nv[n++] = field(":status", status);
    nv[n++] = field("apns-id", st->apns_id);
    if (v->status == 200 && unique_id(c->s))
        nv[n++] = field("apns-unique-id", uuid_new(unique));
    snprintf(retry, sizeof retry, "%" PRId64, v->retry_after_s);
    if (v->retry_after_s > 0)
        nv[n++] = field("retry-after", retry);
    int len = 0;
    if (v->status == 410)
        len = snprintf(st->reply, sizeof st->reply, "{\"reason\":\"%s\",\"timestamp\":%" PRIu64 "}", v->reason,
                       v->timestamp_ms);
    else if (v->status != 200)
        len = snprintf(st->reply, sizeof st->reply, "{\"reason\":\"%s\"}", v->reason);
    st->reply_len = (size_t)len;
    sim_h2_headers(c, st, nv, n, len > 0);
}

/* Effects of an answer */

static void follow_limit(struct sim_conn *c, const struct sim_verdict *v) {
    const struct sim_behaviour *b = &c->s->b;
    int64_t floor = b->streams_after_rejection, half = c->limit / 2;
    bool proven = c->provider.token[0] || c->provider.certificate;
    if (v->status == 200 || b->after_rejection == SIM_REJECTION_OFF) {
        if (proven && c->limit < b->settings_streams)
            sim_h2_limit(c, b->settings_streams);
        return;
    }
    if (v->status < 400 || v->status >= 500 || v->status == 410 || c->limit <= floor)
        return;
    sim_h2_limit(c, b->after_rejection == SIM_REJECTION_STRICT || half < floor ? floor : half);
}

static void follow_budget(struct sim_conn *c, const struct sim_verdict *v) {
    const struct sim_behaviour *b = &c->s->b;
    uint64_t now_ms = sim_now_ms(c->s);
    if (!b->error_budget || strcmp(v->reason, "BadDeviceToken") != 0)
        return;
    if (now_ms - c->budget_start_ms >= (uint64_t)b->error_budget_window_s * 1000) {
        c->budget_start_ms = now_ms;
        c->budget_used = 0;
    }
    const struct sim_action end = {.type = SIM_ACT_CLOSE};
    if (++c->budget_used >= b->error_budget)
        sim_act(c, &end);
}

static void follow_provider(struct sim_conn *c, const struct sim_verdict *v) {
    const struct sim_action wedge = {.type = SIM_ACT_WEDGE, .ms = c->s->b.wedge_s * 1000};
    uint64_t now_ms = sim_now_ms(c->s);
    bool many = strcmp(v->reason, "TooManyProviderTokenUpdates") == 0,
         old = strcmp(v->reason, "ExpiredProviderToken") == 0;
    sim_watch_checked(c->s->watch, SIM_ASSERT_TOKENS, c->number, now_ms, many ? "another token before its time" : NULL);
    sim_watch_checked(c->s->watch, SIM_ASSERT_EXPIRED, c->number, now_ms, old ? "an expired token" : NULL);
    if (many && c->s->b.wedge_s)
        sim_act(c, &wedge);
}

/* The answer leaves now. */
static void answer_now(struct sim_conn *c, struct sim_stream *st) {
    const struct sim_behaviour *b = &c->s->b;
    if (c->goaway_sent && st->id > c->goaway_last)
        return; /* begun before the GOAWAY that says that it was not processed */
    st->answered = true;
    sim_answered(c->s, &st->request, st->apns_id, st->verdict.status, st->verdict.reason);
    if (st->verdict.status == 200)
        sim_watch_accepted(c->s->watch, st->apns_id, c->number, sim_now_ms(c->s));
    reply(c, st);
    c->answers++;
    if (st->id > c->last_answered)
        c->last_answered = st->id;
    follow_limit(c, &st->verdict);
    follow_budget(c, &st->verdict);
    if (st->then.type != SIM_ACT_PASS)
        sim_act(c, &st->then);
    else if (b->goaway_every && !c->goaway_sent && c->answers % (uint64_t)b->goaway_every == 0)
        sim_goaway(c);
}

struct late {
    uint64_t number;
    int32_t stream;
};

static void on_late(struct sim *s, void *arg, bool cancelled) {
    struct late *v = arg;
    struct sim_conn *c = cancelled ? NULL : sim_conn_find(s, v->number);
    struct sim_stream *st = c ? sim_h2_stream(c, v->stream) : NULL;
    free(v);
    if (!st)
        return;
    answer_now(c, st);
    sim_conn_flush(c);
}

static void answer_in(struct sim_conn *c, struct sim_stream *st, int64_t delay_ms) {
    struct late *v = delay_ms > 0 ? malloc(sizeof *v) : NULL;
    if (!v) {
        answer_now(c, st);
        return;
    }
    *v = (struct late){c->number, st->id};
    if (sim_later(c->s, (uint64_t)delay_ms, on_late, v) != 0)
        free(v);
}

/* Verdicts */

/* An answer that a test asked for goes before everything. */
static bool asked_for(struct sim *s, struct sim_stream *st) {
    const char *token = sim_path_token(st->request.value[SIM_PATH]);
    struct sim_scripted *a;
    LL_FOREACH(s->scripted, a) {
        if (a->token[0] && (!token || strcasecmp(a->token, token) != 0))
            continue;
        snprintf(st->reason, sizeof st->reason, "%s", a->reason);
        st->verdict = (struct sim_verdict){.status = a->status, .reason = st->reason, .timestamp_ms = sim_now_ms(s)};
        if (--a->count == 0) {
            LL_DELETE(s->scripted, a);
            free(a);
        }
        return true;
    }
    return false;
}

static void say(struct sim_stream *st, int64_t status, const char *reason, uint64_t now_ms) {
    snprintf(st->reason, sizeof st->reason, "%s", reason);
    st->verdict = (struct sim_verdict){.status = (int)status, .reason = st->reason, .timestamp_ms = now_ms};
}

static void judge(struct sim_conn *c, struct sim_stream *st) {
    uint64_t now_ms = sim_now_ms(c->s);
    if (st->header_bytes > (size_t)c->s->b.header_list_max_bytes)
        say(st, 431, "", now_ms);
    else
        sim_rules_judge(c->s, &c->provider, &st->request, now_ms, &st->verdict);
    follow_provider(c, &st->verdict);
}

/* What the script says of this request. */
static void follow_script(struct sim_conn *c, struct sim_stream *st, const struct sim_action *a) {
    int64_t delay_ms = a->delay_ms ? a->delay_ms : c->s->b.answer_delay_ms;
    uint64_t now_ms = sim_now_ms(c->s);
    bool answer = a->answer;
    switch (a->type) {
    case SIM_ACT_IGNORE:
        return;
    case SIM_ACT_STREAM:
        nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, st->id, (uint32_t)a->code);
        return;
    case SIM_ACT_SET:
        sim_act_all(c->s, a, 0, NULL);
        break;
    case SIM_ACT_ANSWER:
        say(st, a->status, a->reason, now_ms);
        st->verdict.retry_after_s = a->retry_after_s;
        answer_in(c, st, delay_ms);
        return;
    case SIM_ACT_SHUTDOWN:
        say(st, 503, "Shutdown", now_ms);
        st->then = *a;
        answer_in(c, st, delay_ms);
        return;
    case SIM_ACT_WEDGE:
    case SIM_ACT_HOLE:
    case SIM_ACT_RESET:
        sim_act(c, a);
        return;
    case SIM_ACT_GOAWAY:
    case SIM_ACT_CLOSE:
        if (!answer) {
            sim_act(c, a);
            return;
        }
        st->then = *a;
        break;
    case SIM_ACT_PASS:
    case SIM_ACT_STREAMS:
    case SIM_ACT_STALL:
        st->then = *a;
        break;
    }
    judge(c, st);
    answer_in(c, st, delay_ms);
}

/* The connection takes requests and answers none. */
static bool mute(struct sim_conn *c) {
    int64_t hole = sim_conn_hole(c);
    if (c->wedged && c->wedged_until_ms && sim_now_ms(c->s) >= c->wedged_until_ms)
        c->wedged = false;
    return c->wedged || hole == SIM_HOLE_SILENT || hole == SIM_HOLE_NO_ANSWERS;
}

static void prepare(struct sim_conn *c, struct sim_stream *st) {
    struct sim_request *r = &st->request;
    const struct sim_certificate *cert = c->provider.certificate;
    r->body = st->body ? st->body : "";
    if (r->seen[SIM_ID] && uuid_valid(r->value[SIM_ID]))
        snprintf(st->apns_id, sizeof st->apns_id, "%.36s", r->value[SIM_ID]);
    else
        uuid_new(st->apns_id);
    /* A certificate for one topic is its own apns-topic. */
    if (cert && !r->seen[SIM_TOPIC] && cert->topic_count <= 1)
        snprintf(r->value[SIM_TOPIC], sizeof r->value[SIM_TOPIC], "%s",
                 cert->topic_count ? cert->topics[0] : cert->bundle_id);
}

void sim_request_done(struct sim_conn *c, struct sim_stream *st) {
    const char *token = sim_path_token(st->request.value[SIM_PATH]);
    const struct sim_action *a, shutdown = {.type = SIM_ACT_SHUTDOWN};
    c->requests++;
    prepare(c, st);
    if (mute(c))
        return;
    const struct sim_occasion o = {
        SIM_ON_REQUEST, c->number, c->requests, c->address, c->ip, token ? token : "", st->request.value[SIM_TOPIC]};
    if (asked_for(c->s, st)) {
        answer_in(c, st, c->s->b.answer_delay_ms);
    } else if ((a = sim_script_match(c->s, &o))) {
        follow_script(c, st, a);
    } else if (c->s->b.shutdown) {
        follow_script(c, st, &shutdown);
    } else {
        judge(c, st);
        answer_in(c, st, c->s->b.answer_delay_ms);
    }
}
