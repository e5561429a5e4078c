/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/http_priv.h"

#include "base/bytes.h"
#include "base/secret.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEM_BASE "urn:wakegate:problem:"

static const char *status_title(int status) {
    static const struct {
        int status;
        const char *title;
    } titles[] = {{400, "Bad Request"},
                  {401, "Unauthorized"},
                  {403, "Forbidden"},
                  {404, "Not Found"},
                  {405, "Method Not Allowed"},
                  {409, "Conflict"},
                  {411, "Length Required"},
                  {412, "Precondition Failed"},
                  {413, "Content Too Large"},
                  {415, "Unsupported Media Type"},
                  {422, "Unprocessable Content"},
                  {428, "Precondition Required"},
                  {429, "Too Many Requests"},
                  {431, "Request Header Fields Too Large"},
                  {500, "Internal Server Error"},
                  {503, "Service Unavailable"}};
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

/* Replies */

static const struct http_header always[] = {{"cache-control", "no-store"}, {"x-content-type-options", "nosniff"}};
#define ALWAYS        (sizeof always / sizeof *always)
#define CACHE_CONTROL 0 /* its place in `always` */

static void count_reply(struct http *h, int status) {
    char labels[32];
    snprintf(labels, sizeof labels, "status=\"%d\"", status);
    metric_add(metrics_counter(h->cfg.metrics, "wakegate_http_requests_total", "API requests by status.", labels), 1);
}

void http_reply(struct http *h, http_id id, int status, const char *content_type, const void *body, size_t len,
                const struct http_header *more, size_t more_count) {
    struct http_header headers[HTTPD_HEADERS_MAX];
    const char *allow = NULL;
    size_t n = ALWAYS;
    memcpy(headers, always, sizeof always);
    if (status == 401)
        headers[n++] = (struct http_header){"www-authenticate", "Bearer"};
    for (size_t i = 0; i < more_count && n < HTTPD_HEADERS_MAX - HTTP_CORS_HEADERS_MAX; i++) {
        if (strcmp(more[i].name, "cache-control") == 0)
            headers[CACHE_CONTROL] = more[i];
        else
            headers[n++] = more[i];
        if (strcmp(more[i].name, "allow") == 0)
            allow = more[i].value;
    }
    n += http_cors_headers(h, id, allow, headers + n);
    count_reply(h, status);
    httpd_reply(h->httpd, id, status, len ? content_type : NULL, body, len, headers, n);
}

void http_reply_json(struct http *h, http_id id, int status, json_t *body, const struct http_header *headers,
                     size_t header_count) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    http_reply(h, id, status, "application/json", text, text ? strlen(text) : 0, headers, header_count);
    if (text)
        secret_free(text, strlen(text)); /* a device's secret is shown once */
    json_decref(body);
}

void http_reply_problem(struct http *h, http_id id, int status, const struct problem *p) {
    char uri[128];
    snprintf(uri, sizeof uri, PROBLEM_BASE "%s", p->type);
    json_t *o = json_pack("{s:s,s:s,s:i}", "type", uri, "title", status_title(status), "status", status);
    /* What is not UTF-8 came from outside; the sentence then goes without it. */
    if (json_object_set_new(o, "detail", json_string(p->detail)) != 0)
        json_object_set_new(o, "detail", json_string("the request holds bytes that are not UTF-8"));
    if (p->field)
        json_object_set_new(o, "field", json_string(p->field));
    char *text = json_dumps(o, JSON_COMPACT);
    http_reply(h, id, status, "application/problem+json", text, text ? strlen(text) : 0, p->header, p->header != NULL);
    free(text);
    json_decref(o);
}

void http_problem(struct http *h, http_id id, int status, const char *type, const char *field, const char *fmt, ...) {
    char detail[ERR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    http_reply_problem(h, id, status, &(struct problem){type, field, detail, NULL});
}

void http_problem_media_type(struct http *h, http_id id, const char *header, const char *expected) {
    char detail[ERR_TEXT_BYTES];
    struct http_header accept = {header, expected};
    snprintf(detail, sizeof detail, "%s is expected", expected);
    http_reply_problem(h, id, 415, &(struct problem){"unsupported-media-type", "content-type", detail, &accept});
}

bool http_content_is(const struct http_request *r, const char *media_type) {
    size_t n = strlen(media_type);
    if (strncasecmp(r->content_type, media_type, n) != 0)
        return false;
    const char *rest = r->content_type + n + strspn(r->content_type + n, " \t");
    return *rest == 0 || *rest == ';';
}

int http_stream(struct http *h, http_id id, const char *content_type, const struct httpd_stream_ops *ops, void *arg) {
    struct http_header headers[ALWAYS + HTTP_CORS_HEADERS_MAX];
    memcpy(headers, always, sizeof always);
    size_t n = ALWAYS + http_cors_headers(h, id, NULL, headers + ALWAYS);
    int err = httpd_stream(h->httpd, id, content_type, headers, n, ops, arg);
    if (err == 0)
        count_reply(h, 200);
    return err;
}

void http_stream_wake(struct http *h, http_id id) {
    httpd_stream_wake(h->httpd, id);
}

void http_stream_end(struct http *h, http_id id) {
    httpd_stream_end(h->httpd, id);
}

void http_stream_check(struct http *h, http_id id) {
    httpd_stream_check(h->httpd, id);
}

void http_stream_cut(struct http *h, http_id id) {
    httpd_stream_cut(h->httpd, id);
}

int ws_send_text(struct http *h, ws_id id, const char *p, size_t len) {
    return httpd_ws_send(h->httpd, id, p, len, false);
}

int ws_send_binary(struct http *h, ws_id id, const uint8_t *p, size_t len) {
    return httpd_ws_send(h->httpd, id, p, len, true);
}

void ws_close(struct http *h, ws_id id, int code, const char *reason) {
    httpd_ws_close(h->httpd, id, code, reason);
}

bool ws_delivered(const struct http *h, ws_id id) {
    return httpd_ws_delivered(h->httpd, id);
}

int http_query_get(const struct http_request *r, const char *name, char *out, size_t cap) {
    return httpd_arg(r->raw, name, out, cap) ? 0 : E_NOTFOUND;
}

bool http_query_number(const struct http_request *r, const char *name, uint64_t most, uint64_t *n) {
    char text[24];
    if (http_query_get(r, name, text, sizeof text) != 0)
        return true;
    return decimal_parse(n, text) && *n >= 1 && *n <= most;
}

/* Requests */

/* "/v1/calls/{id}/timeline" against a path; each placeholder takes one segment. */
static bool pattern_matches(const char *pattern, const char *path, char params[HTTP_PARAMS_MAX][HTTP_PARAM_BYTES]) {
    size_t count = 0;
    while (*pattern && *path) {
        if (*pattern == '{') {
            size_t n = strcspn(path, "/");
            if (n == 0 || n >= HTTP_PARAM_BYTES || count == HTTP_PARAMS_MAX)
                return false;
            memcpy(params[count], path, n);
            params[count++][n] = 0;
            path += n;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *pattern == 0 && *path == 0;
}

static void no_route(struct http *h, const struct http_request *r, const char *allow) {
    if (!*allow) {
        http_problem(h, r->id, 404, "not-found", NULL, "no such resource: %.128s", r->path);
        return;
    }
    char detail[ERR_TEXT_BYTES];
    struct http_header header = {"allow", allow}; /* RFC 9110 15.5.6: a 405 must carry it */
    snprintf(detail, sizeof detail, "%s is not possible here; %s", r->method, allow);
    if (strcmp(r->method, "OPTIONS") == 0)
        http_reply(h, r->id, 204, NULL, NULL, 0, &header, 1);
    else
        http_reply_problem(h, r->id, 405, &(struct problem){"method-not-allowed", NULL, detail, &header});
}

static void on_request(const struct httpd_request *raw, void *arg) {
    struct http *h = arg;
    char params[HTTP_PARAMS_MAX][HTTP_PARAM_BYTES] = {"", ""}, allow[64] = "";
    struct http_request r = {
        .id = raw->id,
        .method = raw->method,
        .path = raw->path,
        .params = {params[0], params[1]},
        .body = raw->body,
        .body_len = raw->body_len,
        .content_type = raw->content_type,
        .accept = raw->accept,
        .idempotency_key = raw->idempotency_key,
        .if_match = raw->if_match,
        .if_none_match = raw->if_none_match,
        .last_event_id = raw->last_event_id,
        .bearer = "",
        .tenant = "",
        .principal = "",
        .received_us = raw->received_us,
        .raw = raw,
    };
    const char *method = strcmp(raw->method, "HEAD") == 0 ? "GET" : raw->method;
    for (size_t a = 0; a < h->cfg.api_count; a++) {
        for (size_t i = 0; i < h->cfg.apis[a].count; i++) {
            const struct http_route *route = &h->cfg.apis[a].routes[i];
            if (!pattern_matches(route->pattern, raw->path, params))
                continue;
            if (strcmp(route->method, method) != 0) {
                snprintf(allow + strlen(allow), sizeof allow - strlen(allow), "%s%s", *allow ? ", " : "",
                         route->method);
                continue;
            }
            if (http_authenticate(h, route, &r))
                route->fn(&r, h->cfg.apis[a].arg);
            return;
        }
    }
    no_route(h, &r, allow);
}

static void on_refused(http_id id, int status, const char *detail, void *arg) {
    http_problem(arg, id, status, "refused", NULL, "%s", detail);
}

/* WebSocket callbacks go straight to their owner. */

static void on_ws_open(ws_id id, const struct addr *peer, void *arg) {
    struct http *h = arg;
    h->cfg.ws.open(id, peer, h->cfg.ws_arg);
}

static void on_ws_text(ws_id id, const char *p, size_t len, void *arg) {
    struct http *h = arg;
    h->cfg.ws.text(id, p, len, h->cfg.ws_arg);
}

static void on_ws_binary(ws_id id, const uint8_t *p, size_t len, void *arg) {
    struct http *h = arg;
    h->cfg.ws.binary(id, p, len, h->cfg.ws_arg);
}

static void on_ws_closed(ws_id id, void *arg) {
    struct http *h = arg;
    h->cfg.ws.closed(id, h->cfg.ws_arg);
}

int http_start(struct http **hp, const struct http_config *cfg, struct err_text *et) {
    struct http *h = calloc(1, sizeof *h);
    struct err_text why = {""};
    const struct config_listen *l = &cfg->config->listen;
    if (!h)
        return err_say(et, E_NOMEM, "out of memory");
    h->cfg = *cfg;
    int err = http_auth_start(h);
    struct httpd_config hc = {
        .loop = cfg->loop,
        .listen = l->api,
        .certificate_file = l->tls ? l->tls->certificate_file : NULL,
        .key_file = l->tls ? l->tls->key_file : NULL,
        .body_max_bytes = HTTP_BODY_MAX_BYTES,
        .message_max_bytes = WS_MESSAGE_MAX_BYTES,
        .queue_max_bytes = WS_QUEUE_MAX_BYTES,
        .queue_max_messages = WS_QUEUE_MAX,
        .answer_max_ms = WS_ANSWER_MAX_MS,
        .request = on_request,
        .refused = on_refused,
        .ws_path = "/v1/attach",
        .ws_protocol = "wakegate.v1",
        .ws = {on_ws_open, on_ws_text, on_ws_binary, on_ws_closed},
        .arg = h,
    };
    if (err == 0)
        err = httpd_start(&h->httpd, &hc, &why);
    else
        err_say(&why, err, "out of memory");
    if (err != 0) {
        http_auth_end(h);
        free(h);
        return err_say(et, err, "listen.api: %s", why.s);
    }
    *hp = h;
    return 0;
}

static void on_closed(void *arg) {
    struct http *h = arg;
    void (*done)(void *) = h->done;
    void *done_arg = h->done_arg;
    http_auth_end(h);
    free(h);
    done(done_arg);
}

void http_close(struct http *h, void (*done)(void *arg), void *arg) {
    h->done = done;
    h->done_arg = arg;
    httpd_close(h->httpd, on_closed, h);
}

void http_set_config(struct http *h, const struct config *cfg) {
    h->cfg.config = cfg;
}

bool http_use_certificate(struct http *h, struct httpd_certificate *c) {
    return httpd_certificate_use(h->httpd, c);
}

const struct addr *http_address(const struct http *h) {
    return httpd_address(h->httpd);
}
