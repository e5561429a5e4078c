/* SPDX-License-Identifier: Apache-2.0 */
/* The routes, tokens and problems on top of base/httpd; the client is a plain socket on the loopback. */
#include "base/clock.h"
#include "base/secret.h"
#include "gateway/http.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 3000
#define AUTH(t) "Authorization: Bearer " t "\r\n"
#define JSON    "Content-Type: application/json\r\n"

struct world {
    uv_loop_t loop;
    struct http *http;
    struct metrics *metrics;
    struct config config;
    struct config_token tokens[2];
    char token_hashes[2][SECRET_HASH_BYTES];
    bool closed;
    int fd;
    struct buf in; /* the reply as received */
    json_t *body;  /* and its body */
    /* what the last handler got */
    const char *handler; /* NULL: none ran */
    char params[2][HTTP_PARAM_BYTES], tenant[32], principal[32], bearer[64], query[32];
    unsigned scopes;
    json_t *json;
};

static void note(struct world *w, const struct http_request *r, const char *handler) {
    w->handler = handler;
    for (int i = 0; i < 2; i++)
        snprintf(w->params[i], sizeof w->params[i], "%s", r->params[i]);
    snprintf(w->tenant, sizeof w->tenant, "%s", r->tenant);
    snprintf(w->principal, sizeof w->principal, "%s", r->principal);
    snprintf(w->bearer, sizeof w->bearer, "%s", r->bearer);
    w->scopes = r->scopes;
    http_query_get(r, "limit", w->query, sizeof w->query);
    http_reply_json(w->http, r->id, 200, json_pack("{s:s}", "handler", handler), NULL, 0);
}

static void get_list(const struct http_request *r, void *arg) {
    note(arg, r, "list");
}

static void get_one(const struct http_request *r, void *arg) {
    note(arg, r, "one");
}

static void get_two(const struct http_request *r, void *arg) {
    note(arg, r, "two");
}

static void get_public(const struct http_request *r, void *arg) {
    note(arg, r, "public");
}

static void post_receipt(const struct http_request *r, void *arg) {
    note(arg, r, "receipt");
}

static void post_json(const struct http_request *r, void *arg) {
    struct world *w = arg;
    json_t *o = http_json_body(w->http, r);
    if (!o)
        return;
    w->handler = "json";
    json_decref(w->json);
    w->json = o;
    http_reply(w->http, r->id, 204, NULL, NULL, 0, NULL, 0);
}

static const struct http_route calls_routes[] = {
    {"GET", "/v1/calls", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_list},
    {"POST", "/v1/calls", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS | CONFIG_SCOPE_ADMIN, post_json},
    {"GET", "/v1/calls/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_one},
    {"GET", "/v1/calls/{id}/parts/{part}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_two},
};
static const struct http_route other_routes[] = {
    {"GET", "/healthz", HTTP_AUTH_NONE, 0, get_public},
    {"POST", "/v1/receipts", HTTP_AUTH_BEARER, 0, post_receipt},
    {"DELETE", "/v1/calls/{id}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_CALLS, get_one},
};

static void ws_opened(ws_id id, const struct addr *peer, void *arg) {
    (void)id;
    (void)peer;
    (void)arg;
}

static void ws_text(ws_id id, const char *p, size_t len, void *arg) {
    (void)id;
    (void)p;
    (void)len;
    (void)arg;
}

static void ws_binary(ws_id id, const uint8_t *p, size_t len, void *arg) {
    (void)id;
    (void)p;
    (void)len;
    (void)arg;
}

static void ws_gone(ws_id id, void *arg) {
    (void)id;
    (void)arg;
}

static void set_token(struct world *w, unsigned i, const char *token, struct config_token t) {
    t.sha256 = secret_hash(w->token_hashes[i], token);
    w->tokens[i] = t;
}

static int set_up(void **state) {
    static char address[] = "127.0.0.1:0", names[][8] = {"server", "other"}, tenants[][8] = {"t1", "t2"};
    static struct http_api apis[2];
    struct world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    if (!w || uv_loop_init(&w->loop) != 0 || metrics_new(&w->metrics) != 0)
        return -1;
    set_token(w, 0, "wg_one",
              (struct config_token){.name = names[0], .scopes = CONFIG_SCOPE_CALLS, .tenant = tenants[0]});
    set_token(w, 1, "wg_two",
              (struct config_token){.name = names[1], .scopes = CONFIG_SCOPE_DEVICES, .tenant = tenants[1]});
    w->config.listen.api = address;
    w->config.auth.tokens = w->tokens;
    w->config.auth.tokens_count = 2;
    apis[0] = (struct http_api){calls_routes, sizeof calls_routes / sizeof *calls_routes, w};
    apis[1] = (struct http_api){other_routes, sizeof other_routes / sizeof *other_routes, w};
    struct http_config hc = {.loop = &w->loop,
                             .config = &w->config,
                             .metrics = w->metrics,
                             .apis = apis,
                             .api_count = 2,
                             .ws = {ws_opened, ws_text, ws_binary, ws_gone},
                             .ws_arg = w};
    w->fd = -1;
    *state = w;
    return http_start(&w->http, &hc, &et);
}

static void on_closed(void *arg) {
    ((struct world *)arg)->closed = true;
}

static int tear_down(void **state) {
    struct world *w = *state;
    http_close(w->http, on_closed, w);
    while (uv_run(&w->loop, UV_RUN_NOWAIT) != 0)
        usleep(100);
    bool clean = w->closed && uv_loop_close(&w->loop) == 0;
    if (w->fd >= 0)
        close(w->fd);
    metrics_free(w->metrics);
    buf_free(&w->in);
    json_decref(w->body);
    json_decref(w->json);
    free(w);
    return clean ? 0 : -1;
}

/* One request on a connection of its own; the reply's status. */
static int ask_bytes(struct world *w, const char *request, size_t len) {
    const struct addr *a = http_address(w->http);
    uint64_t until = clock_mono_ms() + WAIT_MS;
    char chunk[4096];
    ssize_t n = -1;
    w->handler = NULL;
    buf_reset(&w->in);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = socket(a->u.sa.sa_family, SOCK_STREAM, 0);
    assert_int_equal(connect(w->fd, &a->u.sa, addr_len(a)), 0);
    assert_int_equal(send(w->fd, request, len, MSG_NOSIGNAL), len);
    while (n != 0 && clock_mono_ms() < until) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        n = recv(w->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n > 0)
            buf_add(&w->in, chunk, (size_t)n);
        else if (n < 0)
            usleep(200);
    }
    const char *reply = w->in.p ? w->in.p : "", *body = strstr(reply, "\r\n\r\n");
    assert_int_equal(strncmp(reply, "HTTP/1.1 ", 9), 0);
    json_decref(w->body);
    w->body = body ? json_loads(body + 4, 0, NULL) : NULL;
    return (int)strtol(reply + 9, NULL, 10);
}

static int ask(struct world *w, const char *method, const char *path, const char *headers, const char *body) {
    struct buf request = {0};
    buf_addf(&request, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s", method,
             path, strlen(body), headers, body);
    int status = ask_bytes(w, request.p, request.len);
    buf_free(&request);
    return status;
}

static int get(struct world *w, const char *path) {
    return ask(w, "GET", path, AUTH("wg_one"), "");
}

static bool has(const struct world *w, const char *text) {
    return strcasestr(w->in.p, text) != NULL;
}

static const char *member(const struct world *w, const char *name) {
    const char *text = json_string_value(json_object_get(w->body, name));
    return text ? text : "";
}

static void assert_problem(const struct world *w, int status, const char *type) {
    char uri[128];
    snprintf(uri, sizeof uri, "urn:wakegate:problem:%s", type);
    assert_true(has(w, "\r\ncontent-type: application/problem+json\r\n"));
    assert_string_equal(member(w, "type"), uri);
    assert_int_equal(json_integer_value(json_object_get(w->body, "status")), status);
    assert_true(*member(w, "title") && *member(w, "detail"));
    assert_null(w->handler);
}

/* Routes */

static void a_path_finds_its_handler(void **state) {
    struct world *w = *state;
    assert_int_equal(get(w, "/v1/calls"), 200);
    assert_string_equal(w->handler, "list");
    assert_string_equal(member(w, "handler"), "list");
}

static void a_placeholder_takes_one_segment(void **state) {
    struct world *w = *state;
    assert_int_equal(get(w, "/v1/calls/abc"), 200);
    assert_string_equal(w->handler, "one");
    assert_string_equal(w->params[0], "abc");
    assert_string_equal(w->params[1], "");
    assert_int_equal(get(w, "/v1/calls/abc/parts/7"), 200);
    assert_string_equal(w->handler, "two");
    assert_string_equal(w->params[0], "abc");
    assert_string_equal(w->params[1], "7");
}

static void what_fits_no_pattern_is_404(void **state) {
    static const char *const paths[] = {"/",
                                        "/v1",
                                        "/v1/call",
                                        "/v1/callsx",
                                        "/v1/calls/",
                                        "/v1/calls/a/",
                                        "/v1/calls/a/b",
                                        "/V1/calls",
                                        "/v1/calls/{id}x/parts"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (get(w, paths[i]) != 404)
            fail_msg("%s: %.40s", paths[i], w->in.p);
        assert_problem(w, 404, "not-found");
    }
}

static void a_placeholder_that_is_too_long_is_404(void **state) {
    struct world *w = *state;
    char path[HTTP_PARAM_BYTES + 32] = "/v1/calls/";
    size_t len = strlen(path);
    memset(path + len, 'x', HTTP_PARAM_BYTES - 1);
    path[len + HTTP_PARAM_BYTES - 1] = 0;
    assert_int_equal(get(w, path), 200);
    assert_int_equal(strlen(w->params[0]), HTTP_PARAM_BYTES - 1);
    path[len + HTTP_PARAM_BYTES - 1] = 'x';
    path[len + HTTP_PARAM_BYTES] = 0;
    assert_int_equal(get(w, path), 404);
}

static void a_query_is_no_part_of_the_path(void **state) {
    struct world *w = *state;
    assert_int_equal(get(w, "/v1/calls?limit=a%20b"), 200);
    assert_string_equal(w->handler, "list");
    assert_string_equal(w->query, "a b");
    assert_int_equal(get(w, "/v1/calls"), 200);
    assert_string_equal(w->query, "");
}

static void head_is_a_get_without_its_body(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "HEAD", "/v1/calls", AUTH("wg_one"), ""), 200);
    assert_string_equal(w->handler, "list");
    assert_false(has(w, "\"handler\""));
}

static void another_method_is_405_with_the_ones_that_there_are(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "PUT", "/v1/calls", AUTH("wg_one"), ""), 405);
    assert_problem(w, 405, "method-not-allowed");
    assert_true(has(w, "\r\nallow: GET, POST\r\n"));
    assert_string_equal(member(w, "detail"), "PUT is not possible here; GET, POST");
}

static void the_methods_of_all_parts_of_the_api_are_allowed(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "PATCH", "/v1/calls/abc", AUTH("wg_one"), ""), 405);
    assert_true(has(w, "\r\nallow: GET, DELETE\r\n"));
    assert_int_equal(ask(w, "DELETE", "/v1/calls/abc", AUTH("wg_one"), ""), 200);
}

static void options_tells_the_methods(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "OPTIONS", "/v1/calls", "", ""), 204);
    assert_true(has(w, "\r\nallow: GET, POST\r\n"));
    assert_int_equal(ask(w, "OPTIONS", "/nowhere", "", ""), 404);
}

static void an_unknown_path_is_404_to_anybody(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "GET", "/nowhere", "", ""), 404);
    assert_problem(w, 404, "not-found");
}

/* Tokens */

static void a_token_brings_its_tenant_name_and_scopes(void **state) {
    struct world *w = *state;
    assert_int_equal(get(w, "/v1/calls"), 200);
    assert_string_equal(w->tenant, "t1");
    assert_string_equal(w->principal, "server");
    assert_int_equal(w->scopes, CONFIG_SCOPE_CALLS);
}

static void no_token_is_401_and_says_how(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "GET", "/v1/calls", "", ""), 401);
    assert_problem(w, 401, "unauthorized");
    assert_true(has(w, "\r\nwww-authenticate: Bearer\r\n"));
    assert_string_equal(member(w, "field"), "authorization");
}

static void a_wrong_token_is_401(void **state) {
    static const char *const headers[] = {AUTH("wg_on"), AUTH("wg_onee"), AUTH(""), "Authorization: Basic d2dfb25l\r\n",
                                          "Authorization: wg_one\r\n"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        assert_int_equal(ask(w, "GET", "/v1/calls", headers[i], ""), 401);
        assert_problem(w, 401, "unauthorized");
    }
}

static void the_hash_of_a_token_opens_nothing(void **state) {
    struct world *w = *state;
    char header[128];
    snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", w->token_hashes[0]);
    assert_int_equal(ask(w, "GET", "/v1/calls", header, ""), 401);
}

static void the_scheme_is_written_in_any_case(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "GET", "/v1/calls", "Authorization: bEARER  wg_one\r\n", ""), 200);
}

static void a_token_without_the_scope_is_403_and_named(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "GET", "/v1/calls", AUTH("wg_two"), ""), 403);
    assert_problem(w, 403, "forbidden");
    assert_non_null(strstr(member(w, "detail"), "\"other\""));
}

static void one_scope_of_several_is_enough(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "POST", "/v1/calls", AUTH("wg_one") JSON, "{}"), 204);
    assert_int_equal(ask(w, "POST", "/v1/calls", AUTH("wg_two") JSON, "{}"), 403);
}

static void a_public_route_needs_no_token_and_has_no_tenant(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "GET", "/healthz", "", ""), 200);
    assert_string_equal(w->handler, "public");
    assert_string_equal(w->tenant, "");
    assert_string_equal(w->bearer, "");
}

static void a_bearer_route_leaves_the_judgement_to_its_handler(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "POST", "/v1/receipts", AUTH("wd_secret"), ""), 200);
    assert_string_equal(w->bearer, "wd_secret");
    assert_string_equal(w->tenant, "");
    assert_int_equal(w->scopes, 0);
    assert_int_equal(ask(w, "POST", "/v1/receipts", AUTH("wg_two"), ""), 200);
    assert_string_equal(w->tenant, "t2");
    assert_int_equal(ask(w, "POST", "/v1/receipts", "", ""), 401);
}

/* Bodies and replies */

static void a_json_body_is_an_object(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "POST", "/v1/calls", AUTH("wg_one") JSON, "{\"callee\":\"nurse\"}"), 204);
    assert_string_equal(json_string_value(json_object_get(w->json, "callee")), "nurse");
}

static void a_content_type_may_have_parameters(void **state) {
    struct world *w = *state;
    assert_int_equal(
        ask(w, "POST", "/v1/calls", AUTH("wg_one") "Content-Type: Application/JSON; charset=utf-8\r\n", "{}"), 204);
}

static void another_content_type_is_415(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "POST", "/v1/calls", AUTH("wg_one") "Content-Type: text/plain\r\n", "{}"), 415);
    assert_problem(w, 415, "unsupported-media-type");
    assert_string_equal(member(w, "field"), "content-type");
}

static void a_body_that_is_no_json_object_is_400(void **state) {
    static const struct {
        const char *body, *detail, *field;
    } rows[] = {
        {"", "the body is empty; a JSON object is expected", ""},
        {"{", "the body ends before its JSON does: line 1, column 1", ""},
        {"{x}", "the body is not JSON: line 1, column 2: string or '}' expected near 'x'", ""},
        {"{\"a\":1,\"a\":2}", "the body has the key \"a\" twice: line 1, column 10", "a"},
        {"{\"b\":{\"a key of many letters\":1,\n \"a key of many letters\":2}}",
         "the body has the key \"a key of many letters\" twice: line 2, column 24", "a key of many letters"},
        {"{\"q\\\"q\":1,\"q\\\"q\":2}", "the body has the key \"q\\\"q\" twice: line 1, column 16", "q\\\"q"},
        {"{\"a\":1}x", "something follows the JSON object: line 1, column 8", ""},
        {"{}{}", "something follows the JSON object: line 1, column 3", ""},
        {"{\"a\":\xff}", "the body is not JSON: line 1, column ", ""},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(ask(w, "POST", "/v1/calls", AUTH("wg_one") JSON, rows[i].body), 400);
        assert_problem(w, 400, "bad-json");
        if (strncmp(member(w, "detail"), rows[i].detail, strlen(rows[i].detail)) != 0)
            fail_msg("%s: %s", rows[i].body, member(w, "detail"));
        assert_string_equal(member(w, "field"), rows[i].field);
    }
    assert_int_equal(ask(w, "POST", "/v1/calls", AUTH("wg_one") JSON, "[1]"), 400);
    assert_string_equal(member(w, "detail"), "the body is not a JSON object");
}

static void a_body_with_a_nul_byte_is_400(void **state) {
    static const char request[] = "POST /v1/calls HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" AUTH("wg_one") JSON
        "Content-Length: 8\r\n\r\n{\"a\":\0\"}";
    struct world *w = *state;
    assert_int_equal(ask_bytes(w, request, sizeof request - 1), 400);
    assert_problem(w, 400, "bad-json");
    assert_string_equal(member(w, "detail"), "the body has a NUL byte: its byte 6");
}

static int post_nested(struct world *w, unsigned levels, const char *inside) {
    struct buf body = {0};
    buf_adds(&body, "{\"a\":");
    for (unsigned i = 1; i < levels; i++)
        buf_adds(&body, "[");
    buf_adds(&body, inside);
    for (unsigned i = 1; i < levels; i++)
        buf_adds(&body, "]");
    buf_adds(&body, "}");
    int status = ask(w, "POST", "/v1/calls", AUTH("wg_one") JSON, body.p);
    buf_free(&body);
    return status;
}

static void a_body_is_32_levels_deep_and_no_more(void **state) {
    struct world *w = *state;
    assert_int_equal(post_nested(w, HTTP_JSON_DEPTH_MAX, "1"), 204);
    assert_int_equal(post_nested(w, HTTP_JSON_DEPTH_MAX, "\"[[{{\\\"[[\""), 204); /* in a string they are letters */
    assert_int_equal(post_nested(w, HTTP_JSON_DEPTH_MAX, "[],[],{},{}"), 400);
    assert_problem(w, 400, "bad-json");
    assert_string_equal(member(w, "detail"), "the body is nested more than 32 levels deep");
    assert_int_equal(post_nested(w, HTTP_JSON_DEPTH_MAX - 1, "[],[],{},{}"), 204);
}

static void broken_utf8_in_a_body_is_mended(void **state) {
    struct world *w = *state;
    assert_int_equal(ask(w, "POST", "/v1/calls", AUTH("wg_one") JSON, "{\"name\":\"a\xff\\u0000\"}"), 204);
    assert_string_equal(json_string_value(json_object_get(w->json, "name")), "a\xef\xbf\xbd\xef\xbf\xbd");
}

static void replies_are_not_kept_by_caches(void **state) {
    struct world *w = *state;
    get(w, "/v1/calls");
    assert_true(has(w, "\r\ncache-control: no-store\r\n"));
    assert_true(has(w, "\r\nx-content-type-options: nosniff\r\n"));
    assert_true(has(w, "\r\ncontent-type: application/json\r\n"));
}

static void bytes_that_are_no_utf8_do_not_break_a_problem(void **state) {
    struct world *w = *state;
    assert_int_equal(get(w, "/v1/%ff%fe"), 404);
    assert_problem(w, 404, "not-found");
}

static void a_body_that_is_too_large_is_413_as_a_problem(void **state) {
    struct world *w = *state;
    char request[256];
    int n = snprintf(request, sizeof request,
                     "POST /v1/calls HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" AUTH("wg_one") JSON
                     "Content-Length: %d\r\n\r\n",
                     HTTP_BODY_MAX_BYTES + 1);
    assert_int_equal(ask_bytes(w, request, (size_t)n), 413);
    assert_problem(w, 413, "refused");
}

static void an_occupied_port_is_refused_with_a_sentence(void **state) {
    struct world *w = *state;
    struct http *second = NULL;
    struct err_text et = {""};
    char address[ADDR_STR_BYTES];
    struct config config = w->config;
    config.listen.api = addr_str(address, http_address(w->http));
    struct http_config hc = {.loop = &w->loop, .config = &config, .metrics = w->metrics};
    assert_int_equal(http_start(&second, &hc, &et), E_IO);
    assert_null(second);
    assert_memory_equal(et.s, "listen.api: ", 12);
    assert_non_null(strstr(et.s, address));
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(a_path_finds_its_handler),
        case_of(a_placeholder_takes_one_segment),
        case_of(what_fits_no_pattern_is_404),
        case_of(a_placeholder_that_is_too_long_is_404),
        case_of(a_query_is_no_part_of_the_path),
        case_of(head_is_a_get_without_its_body),
        case_of(another_method_is_405_with_the_ones_that_there_are),
        case_of(the_methods_of_all_parts_of_the_api_are_allowed),
        case_of(options_tells_the_methods),
        case_of(an_unknown_path_is_404_to_anybody),
        case_of(a_token_brings_its_tenant_name_and_scopes),
        case_of(no_token_is_401_and_says_how),
        case_of(a_wrong_token_is_401),
        case_of(the_hash_of_a_token_opens_nothing),
        case_of(the_scheme_is_written_in_any_case),
        case_of(a_token_without_the_scope_is_403_and_named),
        case_of(one_scope_of_several_is_enough),
        case_of(a_public_route_needs_no_token_and_has_no_tenant),
        case_of(a_bearer_route_leaves_the_judgement_to_its_handler),
        case_of(a_json_body_is_an_object),
        case_of(a_content_type_may_have_parameters),
        case_of(another_content_type_is_415),
        case_of(a_body_that_is_no_json_object_is_400),
        case_of(a_body_with_a_nul_byte_is_400),
        case_of(a_body_is_32_levels_deep_and_no_more),
        case_of(broken_utf8_in_a_body_is_mended),
        case_of(replies_are_not_kept_by_caches),
        case_of(bytes_that_are_no_utf8_do_not_break_a_problem),
        case_of(a_body_that_is_too_large_is_413_as_a_problem),
        case_of(an_occupied_port_is_refused_with_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
