/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/caller_report.h"

#include "tests/peers/peer_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OFFSET_WIDTH 10 /* "  123456.7": more than a day of milliseconds is no call */

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t caller_percentile(uint64_t *samples, size_t count, double p) {
    if (count == 0)
        return 0;
    qsort(samples, count, sizeof *samples, compare);
    size_t rank = (size_t)ceil(p / 100 * (double)count);
    return samples[rank == 0 ? 0 : rank > count ? count - 1 : rank - 1];
}

/* A value of a field: a plain word as it is, anything else as JSON. */
static void print_value(FILE *out, const json_t *value) {
    const char *s = json_string_value(value);
    bool plain = s && *s;
    for (const char *p = s; plain && *p; p++)
        plain = *p > ' ' && *p < 0x7f && *p != '"' && *p != '=';
    if (plain)
        fputs(s, out);
    else
        json_dumpf(value, out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
}

static bool in_columns(const char *key) {
    return strcmp(key, "at") == 0 || strcmp(key, "offset_us") == 0 || strcmp(key, "event") == 0;
}

/* The widest event, so that the fields stand in one column. */
static int event_width(const json_t *timeline) {
    size_t i, width = strlen("event");
    json_t *e;
    json_array_foreach(timeline, i, e) {
        size_t len = strlen(peer_text(e, "event"));
        width = len > width ? len : width;
    }
    return (int)width;
}

void caller_print_timeline(FILE *out, const struct caller_result *r) {
    int width = event_width(r->timeline);
    const char *key;
    size_t i;
    json_t *e, *value;
    fprintf(out, "call %s: %s%s%s\n\n%*s  event\n", r->id, r->state, r->reason[0] ? ", " : "", r->reason, OFFSET_WIDTH,
            "ms");
    json_array_foreach(r->timeline, i, e) {
        const char *gap = "  ";
        double ms = (double)json_integer_value(json_object_get(e, "offset_us")) / 1000;
        bool bare = json_object_size(e) <= 3;
        fprintf(out, "%*.1f  %-*s", OFFSET_WIDTH, ms, bare ? 0 : width, peer_text(e, "event"));
        json_object_foreach(e, key, value) {
            if (in_columns(key))
                continue;
            fprintf(out, "%s%s=", gap, key);
            print_value(out, value);
            gap = " ";
        }
        fputc('\n', out);
    }
    fputc('\n', out);
}

/* A time of the result in milliseconds; null for one that never came. */
static json_t *ms_or_null(uint64_t us) {
    return us ? json_real(round((double)us / 100) / 10) : json_null();
}

static void print_line(FILE *out, json_t *o) {
    json_dumpf(o, out, JSON_COMPACT | JSON_REAL_PRECISION(12));
    fputc('\n', out);
    fflush(out);
    json_decref(o);
}

void caller_print_json(FILE *out, const struct caller_result *r) {
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:b,s:f,s:b,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "id", r->id, "state", r->state, "reason",
                  r->reason, "ok", r->ok, "heard_hz", r->heard_hz, "heard_expected", r->heard_expected, "rx_pkts",
                  (json_int_t)r->rx_pkts, "tx_pkts", (json_int_t)r->tx_pkts, "gap_ms", (json_int_t)(r->gap_us / 1000),
                  "refused_pkts", (json_int_t)r->refused_pkts, "created_ms", ms_or_null(r->created_us), "dtls_ms",
                  ms_or_null(r->dtls_us), "first_packet_ms", ms_or_null(r->first_packet_us));
    if (r->heard_ringback)
        json_object_set_new(o, "heard_ringback", json_true());
    if (r->heard_data[0])
        json_object_set_new(o, "heard_data", json_string(r->heard_data));
    if (!r->ok)
        json_object_set_new(o, "failure", json_string(r->failure.s));
    print_line(out, o);
}

int caller_totals_init(struct caller_totals *t, size_t calls) {
    memset(t, 0, sizeof *t);
    t->cap = calls;
    t->created_us = calloc(calls, sizeof *t->created_us);
    t->dtls_us = calloc(calls, sizeof *t->dtls_us);
    t->first_packet_us = calloc(calls, sizeof *t->first_packet_us);
    if (t->created_us && t->dtls_us && t->first_packet_us)
        return 0;
    caller_totals_free(t);
    return E_NOMEM;
}

void caller_totals_add(struct caller_totals *t, const struct caller_result *r) {
    if (t->calls == t->cap)
        return;
    t->calls++;
    if (r->ok)
        t->ok++;
    else if (!t->first_failure.s[0])
        t->first_failure = r->failure;
    if (r->created_us)
        t->created_us[t->created++] = r->created_us;
    if (r->dtls_us)
        t->dtls_us[t->dtls++] = r->dtls_us;
    if (r->first_packet_us)
        t->first_packet_us[t->first_packet++] = r->first_packet_us;
}

void caller_totals_print(FILE *out, struct caller_totals *t, bool json) {
    static const int percents[] = {50, 95, 99};
    const struct {
        const char *name, *title;
        uint64_t *samples;
        size_t count;
    } rows[] = {
        {"answer_ms", "answer", t->created_us, t->created},
        {"dtls_ms", "DTLS", t->dtls_us, t->dtls},
        {"first_packet_ms", "first packet", t->first_packet_us, t->first_packet},
    };
    json_t *o = json_pack("{s:I,s:I,s:I}", "calls", (json_int_t)t->calls, "ok", (json_int_t)t->ok, "failed",
                          (json_int_t)(t->calls - t->ok));
    if (!json)
        fprintf(out, "%zu calls: %zu ok, %zu failed", t->calls, t->ok, t->calls - t->ok);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *row = json_object();
        if (!json)
            fprintf(out, "; %s (ms)", rows[i].title);
        for (size_t k = 0; k < sizeof percents / sizeof *percents; k++) {
            char name[8];
            uint64_t us = caller_percentile(rows[i].samples, rows[i].count, percents[k]);
            snprintf(name, sizeof name, "p%d", percents[k]);
            json_object_set_new(row, name, ms_or_null(us));
            if (!json)
                fprintf(out, " %s %.1f", name, (double)us / 1000);
        }
        json_object_set_new(o, rows[i].name, row);
    }
    if (json)
        print_line(out, o);
    else {
        fputc('\n', out);
        json_decref(o);
    }
}

void caller_totals_free(struct caller_totals *t) {
    free(t->created_us);
    free(t->dtls_us);
    free(t->first_packet_us);
    memset(t, 0, sizeof *t);
}
