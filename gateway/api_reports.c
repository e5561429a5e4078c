/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/api_reports.h"

#include "base/clock.h"
#include "gateway/devices.h"
#include "gateway/ledger.h"
#include "gateway/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX     10000 /* of a report; what is beyond is not told */
#define DAY_MS       86400000ULL
#define PUSHES_LIMIT 50
#define PUSHES_MAX   1000
#define GROUPS_BYTES 64

/* A question on its way to the store. */
struct asking {
    struct http *http;
    http_id id;
    bool csv;
    unsigned groups, limit;
};

static bool ask(struct asking **out, const struct api_reports *a, const struct http_request *r) {
    *out = calloc(1, sizeof **out);
    if (*out)
        **out = (struct asking){.http = a->http, .id = r->id};
    else
        http_problem(a->http, r->id, 503, "memory", NULL, "out of memory");
    return *out;
}

static bool refused(struct asking *k, int err) {
    if (err == 0)
        return false;
    http_problem(k->http, k->id, 503, "store", NULL, "the database cannot be read: %s", err_str(err));
    free(k);
    return true;
}

/* The report's columns, for both forms */

enum column_kind { COLUMN_TEXT, COLUMN_COUNT, COLUMN_MS, COLUMN_ACCURACY };

static const struct column {
    const char *name;
    enum column_kind kind;
    size_t offset;
    unsigned group; /* of a text: it is there when grouped by it */
} columns[] = {
    {"day", COLUMN_TEXT, offsetof(struct report_row, day), STORE_BY_DAY},
    {"app", COLUMN_TEXT, offsetof(struct report_row, app), STORE_BY_APP},
    {"app_version", COLUMN_TEXT, offsetof(struct report_row, app_version), STORE_BY_APP_VERSION},
    {"os_version", COLUMN_TEXT, offsetof(struct report_row, os_version), STORE_BY_OS_VERSION},
    {"network", COLUMN_TEXT, offsetof(struct report_row, network), STORE_BY_NETWORK},
    {"pushes", COLUMN_COUNT, offsetof(struct report_row, pushes), 0},
    {"accepted", COLUMN_COUNT, offsetof(struct report_row, accepted), 0},
    {"receipts", COLUMN_COUNT, offsetof(struct report_row, receipts), 0},
    {"must_report_true", COLUMN_COUNT, offsetof(struct report_row, must_report), 0},
    {"must_report_false", COLUMN_COUNT, offsetof(struct report_row, must_not_report), 0},
    {"must_report_absent", COLUMN_COUNT, offsetof(struct report_row, must_report_absent), 0},
    {"reported", COLUMN_COUNT, offsetof(struct report_row, reported), 0},
    {"exempt", COLUMN_COUNT, offsetof(struct report_row, exempt), 0},
    {"violated", COLUMN_COUNT, offsetof(struct report_row, violated), 0},
    {"late", COLUMN_COUNT, offsetof(struct report_row, late), 0},
    {"silent", COLUMN_COUNT, offsetof(struct report_row, silent), 0},
    {"filtered", COLUMN_COUNT, offsetof(struct report_row, filtered), 0},
    {"predicted_right", COLUMN_COUNT, offsetof(struct report_row, predicted_right), 0},
    {"prediction_accuracy", COLUMN_ACCURACY, 0, 0},
    {"push_to_receipt_p50_ms", COLUMN_MS, offsetof(struct report_row, p50_ms), 0},
    {"push_to_receipt_p95_ms", COLUMN_MS, offsetof(struct report_row, p95_ms), 0},
    {"push_to_receipt_p99_ms", COLUMN_MS, offsetof(struct report_row, p99_ms), 0},
};
#define COLUMNS (sizeof columns / sizeof *columns)

static bool shown(const struct column *c, unsigned groups) {
    return c->kind != COLUMN_TEXT || (groups & c->group);
}

static const char *text_of(const struct report_row *r, const struct column *c) {
    return *(const char *const *)(const void *)((const char *)r + c->offset);
}

static int64_t number_of(const struct report_row *r, const struct column *c) {
    return *(const int64_t *)(const void *)((const char *)r + c->offset);
}

/* Of the receipts that said what mustReport was, the part that was predicted; -1: there were none. */
static double accuracy(const struct report_row *r) {
    uint64_t said = r->must_report + r->must_not_report;
    return said ? round((double)r->predicted_right * 10000 / (double)said) / 10000 : -1;
}

static json_t *value_json(const struct report_row *r, const struct column *c) {
    if (c->kind == COLUMN_TEXT)
        return json_string(text_of(r, c));
    if (c->kind == COLUMN_ACCURACY)
        return accuracy(r) < 0 ? json_null() : json_real(accuracy(r));
    return number_of(r, c) < 0 ? json_null() : json_integer(number_of(r, c));
}

static json_t *row_json(const struct report_row *r, unsigned groups) {
    json_t *o = json_object();
    for (size_t i = 0; i < COLUMNS; i++) {
        const struct column *c = &columns[i];
        if (!shown(c, groups))
            continue;
        json_object_set_new(o, c->name, value_json(r, c));
    }
    return o;
}

/* RFC 4180. A version is the app's own text: what a spreadsheet would take for a formula gets a quote before it. */
static void csv_text(struct buf *out, const char *s) {
    buf_adds(out, strchr("=+-@\t\r", *s) && *s ? "\"'" : "\"");
    for (; *s; s++)
        buf_add(out, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    buf_adds(out, "\"");
}

static void csv_row(struct buf *out, const struct report_row *r, unsigned groups) {
    const char *comma = "";
    for (size_t i = 0; i < COLUMNS; i++) {
        const struct column *c = &columns[i];
        if (!shown(c, groups))
            continue;
        buf_adds(out, comma);
        comma = ",";
        if (!r)
            buf_adds(out, c->name);
        else if (c->kind == COLUMN_TEXT)
            csv_text(out, text_of(r, c));
        else if (c->kind == COLUMN_ACCURACY) {
            if (accuracy(r) >= 0)
                buf_addf(out, "%.4f", accuracy(r));
        } else if (number_of(r, c) >= 0)
            buf_addf(out, "%" PRId64, number_of(r, c));
    }
    buf_adds(out, "\r\n");
}

static void reply_csv(const struct asking *k, const struct report_row *rows, size_t count) {
    struct buf out = {0};
    csv_row(&out, NULL, k->groups);
    for (size_t i = 0; i < count; i++)
        csv_row(&out, &rows[i], k->groups);
    http_reply(k->http, k->id, 200, "text/csv; charset=utf-8", out.p ? out.p : "", out.len, NULL, 0);
    buf_free(&out);
}

static void on_report(int err, const struct report_row *rows, size_t count, void *arg) {
    struct asking *k = arg;
    if (refused(k, err))
        return;
    if (k->csv) {
        reply_csv(k, rows, count);
    } else {
        json_t *list = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(list, row_json(&rows[i], k->groups));
        http_reply_json(k->http, k->id, 200, json_pack("{s:o}", "rows", list), NULL, 0);
    }
    free(k);
}

/* "day,app" into bits; 0 when one is not known. */
static unsigned parse_groups(char *text) {
    char *save = NULL;
    unsigned groups = 0;
    for (char *name = strtok_r(text, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        const struct column *c = columns;
        while (c->kind == COLUMN_TEXT && strcmp(c->name, name) != 0)
            c++;
        if (c->kind != COLUMN_TEXT)
            return 0;
        groups |= c->group;
    }
    return groups;
}

/* A time, or a day in UTC. */
static bool parse_time(const struct http_request *r, const char *name, uint64_t *ms) {
    char text[CLOCK_RFC3339_BYTES + 8], day[CLOCK_RFC3339_BYTES];
    if (http_query_get(r, name, text, sizeof text) != 0)
        return true;
    if (strlen(text) != strlen("2026-11-25"))
        return clock_rfc3339_parse(ms, text) == 0;
    snprintf(day, sizeof day, "%.10sT00:00:00.000Z", text);
    return clock_rfc3339_parse(ms, day) == 0;
}

static void get_report(const struct http_request *r, void *arg) {
    const struct api_reports *a = arg;
    char app[DEVICE_APP_BYTES], app_version[DEVICE_VERSION_BYTES], os_version[DEVICE_VERSION_BYTES],
        device[DEVICE_ID_BYTES], network[LEDGER_NETWORK_BYTES], groups[GROUPS_BYTES];
    struct report_query q = {.tenant = r->tenant,
                             .to_ms = clock_wall_ms() + DAY_MS,
                             .app = app,
                             .app_version = app_version,
                             .os_version = os_version,
                             .device = device,
                             .network = network,
                             .groups = STORE_BY_APP_VERSION | STORE_BY_OS_VERSION | STORE_BY_DAY,
                             .limit = ROWS_MAX};
    struct asking *k;
    http_query_get(r, "app", app, sizeof app);
    http_query_get(r, "app_version", app_version, sizeof app_version);
    http_query_get(r, "os_version", os_version, sizeof os_version);
    http_query_get(r, "device", device, sizeof device);
    http_query_get(r, "network", network, sizeof network);
    if (http_query_get(r, "group_by", groups, sizeof groups) == 0 && (q.groups = parse_groups(groups)) == 0) {
        http_problem(
            a->http, r->id, 400, "bad-field", "group_by",
            "group_by: one or more of day, app, app_version, os_version and network, with commas between them");
        return;
    }
    const char *bad = !parse_time(r, "from", &q.from_ms) ? "from" : !parse_time(r, "to", &q.to_ms) ? "to" : NULL;
    if (bad) {
        http_problem(a->http, r->id, 400, "bad-field", bad,
                     "%s: a day (2026-11-25, in UTC) or a time (2026-11-25T08:00:00.000Z) is expected", bad);
        return;
    }
    if (!ask(&k, a, r))
        return;
    k->csv = strstr(r->accept, "text/csv") != NULL;
    k->groups = q.groups;
    if (store_push_report(a->store, &q, on_report, k) != 0)
        refused(k, E_NOMEM);
}

/* A device's pushes */

static json_t *time_json(uint64_t ms) {
    char at[CLOCK_RFC3339_BYTES];
    return ms ? json_string(clock_rfc3339(at, ms)) : json_null();
}

static json_t *push_json(const struct push_row *p) {
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:s,s:o,s:s,s:s,s:s,s:i,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "push", p->id,
        "call", p->call, "type", strcmp(p->predicted_why, "alert") == 0 ? "alert" : "voip", "network", p->network,
        "app", p->app, "app_version", p->app_version, "os_version", p->os_version, "predicted", p->predicted, "why",
        p->predicted_why, "must_report", p->observed < 0 ? json_null() : json_boolean(p->observed), "reported",
        p->reported, "report_error", p->report_error, "outcome", p->outcome, "apns_status", p->status, "apns_reason",
        p->reason, "queued_at", time_json(p->queued_ms), "written_at", time_json(p->written_ms), "answered_at",
        time_json(p->answered_ms), "received_at", time_json(p->received_ms), "receipt_at", time_json(p->receipt_ms),
        "reported_at", time_json(p->reported_ms), "attached_at", time_json(p->attached_ms));
}

static void on_pushes(int err, const struct push_row *rows, size_t count, void *arg) {
    struct asking *k = arg;
    char cursor[PAGE_CURSOR_BYTES];
    if (refused(k, err))
        return;
    size_t page =
        count < k->limit ? count : k->limit; /* one more was asked for, to see whether there is another page */
    json_t *list = json_array(), *next = json_null();
    for (size_t i = 0; i < page; i++)
        json_array_append_new(list, push_json(&rows[i]));
    if (count > page)
        next = json_string(page_cursor_write(cursor, rows[page - 1].queued_ms, rows[page - 1].id));
    http_reply_json(k->http, k->id, 200, json_pack("{s:o,s:o}", "pushes", list, "next_cursor", next), NULL, 0);
    free(k);
}

static void get_pushes(const struct http_request *r, void *arg) {
    const struct api_reports *a = arg;
    uint64_t limit = PUSHES_LIMIT;
    char text[PAGE_CURSOR_BYTES];
    struct page_cursor cursor;
    struct asking *k;
    http_query_get(r, "cursor", text, sizeof text);
    const char *bad = !http_query_number(r, "limit", PUSHES_MAX, &limit) ? "limit"
                      : !page_cursor_read(&cursor, text)                 ? "cursor"
                                                                         : NULL;
    if (bad) {
        http_problem(a->http, r->id, 400, "bad-field", bad, "%s is not usable: limit is 1 to %d, cursor as it came",
                     bad, PUSHES_MAX);
        return;
    }
    if (!ask(&k, a, r))
        return;
    k->limit = (unsigned)limit;
    const struct push_query q = {.tenant = r->tenant,
                                 .device = r->params[0],
                                 .before_ms = cursor.before_ms,
                                 .before_id = cursor.before_id,
                                 .limit = k->limit + 1};
    if (store_push_list(a->store, &q, on_pushes, k) != 0)
        refused(k, E_NOMEM);
}

const struct http_route api_reports_routes[] = {
    {"GET", "/v1/reports/must-report", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_report},
    {"GET", "/v1/devices/{device}/pushes", HTTP_AUTH_TOKEN, CONFIG_SCOPE_DEVICES, get_pushes},
};
const size_t api_reports_route_count = sizeof api_reports_routes / sizeof *api_reports_routes;
