/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/load/push_tally.h"

#include <jansson.h>
#include <stdlib.h>

#define TRIES_MAX 3 /* the last place is for more, too */

struct one {
    uint64_t deadline_ms;
    unsigned results;
};

struct push_tally {
    struct one *pushes;
    uint32_t *answer_us, *queue_us; /* timed of each */
    unsigned warm_up, timed, sent, results, twice, hung, hedged, alarms;
    unsigned tries[TRIES_MAX + 1];
    uint64_t over_ms;
    json_t *verdicts, *errors, *not_taken;
};

static const char *const verdicts[] = {
    [APNS_ACCEPTED] = "accepted",
    [APNS_TOKEN_INVALID] = "token_invalid",
    [APNS_TOKEN_MISFILED] = "token_misfiled",
    [APNS_CREDENTIAL_BAD] = "credential_bad",
    [APNS_THROTTLED] = "throttled",
    [APNS_SERVER_ERROR] = "server_error",
    [APNS_OUR_FAULT] = "our_fault",
    [APNS_NOT_SENT] = "not_sent",
    [APNS_TOKEN_DOUBTFUL] = "token_doubtful",
};

struct push_tally *push_tally_new(unsigned pushes, unsigned warm_up) {
    struct push_tally *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->warm_up = warm_up;
    t->pushes = calloc(pushes, sizeof *t->pushes);
    t->answer_us = calloc(pushes, sizeof *t->answer_us);
    t->queue_us = calloc(pushes, sizeof *t->queue_us);
    t->verdicts = json_object();
    t->errors = json_object();
    t->not_taken = json_object();
    return t->pushes && t->answer_us && t->queue_us ? t : push_tally_free(t);
}

struct push_tally *push_tally_free(struct push_tally *t) {
    if (!t)
        return NULL;
    json_decref(t->verdicts);
    json_decref(t->errors);
    json_decref(t->not_taken);
    free(t->pushes);
    free(t->answer_us);
    free(t->queue_us);
    free(t);
    return NULL;
}

static void count(json_t *o, const char *key) {
    json_object_set_new(o, key, json_integer(json_integer_value(json_object_get(o, key)) + 1));
}

void push_tally_sent(struct push_tally *t, unsigned push, uint64_t deadline_ms) {
    t->pushes[push].deadline_ms = deadline_ms;
    t->sent++;
}

void push_tally_not_taken(struct push_tally *t, int err) {
    count(t->not_taken, err_str(err));
}

void push_tally_alarm(struct push_tally *t, enum apns_alarm alarm) {
    (void)alarm;
    t->alarms++;
}

void push_tally_result(struct push_tally *t, unsigned push, const struct apns_result *r, uint64_t now_ms) {
    struct one *one = &t->pushes[push];
    if (one->results++ > 0) {
        t->twice++;
        return;
    }
    t->results++;
    t->hedged += r->hedged;
    t->tries[r->tries < TRIES_MAX ? r->tries : TRIES_MAX]++;
    if (now_ms > one->deadline_ms && now_ms - one->deadline_ms > t->over_ms)
        t->over_ms = now_ms - one->deadline_ms;
    count(t->verdicts, verdicts[r->verdict]);
    if (r->err != 0)
        count(t->errors, err_str(r->err));
    if (r->verdict != APNS_ACCEPTED || push < t->warm_up)
        return;
    t->answer_us[t->timed] = (uint32_t)(r->answered_us - r->queued_us);
    t->queue_us[t->timed++] = (uint32_t)(r->written_us - r->queued_us);
}

void push_tally_end(struct push_tally *t) {
    t->hung = t->sent - t->results;
}

unsigned push_tally_under_way(const struct push_tally *t) {
    return t->sent - t->results;
}

bool push_tally_whole(const struct push_tally *t) {
    return t->hung == 0 && t->twice == 0;
}

static int compare(const void *x, const void *y) {
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

static json_t *percentiles(uint32_t *us, unsigned n) {
    if (n == 0)
        return json_null();
    qsort(us, n, sizeof *us, compare);
    return json_pack("{s:I,s:I,s:I}", "p50", (json_int_t)us[(n - 1) / 2], "p99",
                     (json_int_t)us[(uint64_t)(n - 1) * 99 / 100], "max", (json_int_t)us[n - 1]);
}

void push_tally_print(struct push_tally *t, FILE *out) {
    json_t *o = json_pack("{s:i,s:i,s:i,s:i,s:O,s:O,s:O,s:[i,i,i,i],s:i,s:i,s:I,s:o,s:o}", "sent", (int)t->sent,
                          "results", (int)t->results, "twice", (int)t->twice, "hung", (int)t->hung, "not_taken",
                          t->not_taken, "verdicts", t->verdicts, "errors", t->errors, "tries", (int)t->tries[0],
                          (int)t->tries[1], (int)t->tries[2], (int)t->tries[3], "hedged", (int)t->hedged, "alarms",
                          (int)t->alarms, "over_ms", (json_int_t)t->over_ms, "answer_us",
                          percentiles(t->answer_us, t->timed), "queue_us", percentiles(t->queue_us, t->timed));
    json_dumpf(o, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(o);
}
