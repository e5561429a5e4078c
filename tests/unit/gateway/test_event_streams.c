/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/events on a real server, with plain sockets as listeners. What a process and its restarts do to streams is in
 * tests/integration/test_events.py. */
#include "base/secret.h"
#include "gateway/api_events.h"
#include "gateway/event_streams.h"
#include "tests/unit/gateway/store_fixture.h"

#include <errno.h>

#define LISTENERS 3

struct world {
    struct store_fixture fix;
    struct metrics *metrics;
    struct events *events;
    struct http *http;
    struct config config;
    struct config_token tokens[2];
    char hashes[2][SECRET_HASH_BYTES];
    struct api_events api;
    struct http_api apis[1];
    bool closed;
    struct {
        int fd;
        struct buf in;
        bool eof;
    } listeners[LISTENERS];
};

static void no_open(ws_id id, const struct addr *peer, void *arg) {
    (void)id;
    (void)peer;
    (void)arg;
}

static void no_text(ws_id id, const char *p, size_t len, void *arg) {
    (void)id;
    (void)p;
    (void)len;
    (void)arg;
}

static void no_binary(ws_id id, const uint8_t *p, size_t len, void *arg) {
    (void)id;
    (void)p;
    (void)len;
    (void)arg;
}

static void no_close(ws_id id, void *arg) {
    (void)id;
    (void)arg;
}

static int set_up(void **state) {
    static char address[] = "127.0.0.1:0", names[2][8] = {"one", "two"}, tenant[] = "t1";
    struct world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    if (!w || fixture_init(&w->fix) != 0 || metrics_new(&w->metrics) != 0)
        return -1;
    fixture_open(&w->fix);
    assert_int_equal(events_new(&w->events, &w->fix.loop, w->fix.store, w->metrics, &et), 0);
    for (int i = 0; i < 2; i++)
        w->tokens[i] = (struct config_token){.name = names[i],
                                             .sha256 = secret_hash(w->hashes[i], names[i]),
                                             .scopes = CONFIG_SCOPE_CALLS,
                                             .tenant = tenant};
    w->config.listen.api = address;
    w->config.auth.tokens = w->tokens;
    w->config.auth.tokens_count = 2;
    w->apis[0] = (struct http_api){api_events_routes, api_events_route_count, &w->api};
    struct http_config hc = {.loop = &w->fix.loop,
                             .config = &w->config,
                             .metrics = w->metrics,
                             .apis = w->apis,
                             .api_count = 1,
                             .ws = {no_open, no_text, no_binary, no_close}};
    if (http_start(&w->http, &hc, &et) != 0)
        fail_msg("%s", et.s);
    w->api = (struct api_events){w->http, w->events};
    events_attach_http(w->events, w->http);
    for (int i = 0; i < LISTENERS; i++)
        w->listeners[i].fd = -1;
    *state = w;
    return 0;
}

static void on_http_closed(void *arg) {
    ((struct world *)arg)->closed = true;
}

static int tear_down(void **state) {
    struct world *w = *state;
    events_close(w->events);
    http_close(w->http, on_http_closed, w);
    while (!w->closed)
        uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    fixture_close(&w->fix);
    events_free(w->events);
    for (int i = 0; i < LISTENERS; i++) {
        if (w->listeners[i].fd >= 0)
            close(w->listeners[i].fd);
        buf_free(&w->listeners[i].in);
    }
    int err = fixture_free(&w->fix);
    metrics_free(w->metrics);
    free(w);
    return err;
}

static void pump(struct world *w) {
    char chunk[4096];
    uv_run(&w->fix.loop, UV_RUN_NOWAIT);
    for (int i = 0; i < LISTENERS; i++) {
        ssize_t n = w->listeners[i].fd < 0 ? -1 : recv(w->listeners[i].fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n > 0)
            buf_add(&w->listeners[i].in, chunk, (size_t)n);
        else if (n == 0 || (w->listeners[i].fd >= 0 && errno != EAGAIN && errno != EINTR))
            w->listeners[i].eof = true;
    }
    usleep(200);
}

static bool heard(const struct world *w, int i, const char *text) {
    const struct buf *in = &w->listeners[i].in;
    return in->p && strstr(in->p, text);
}

#define wait_for(w, condition)                                                                                         \
    do {                                                                                                               \
        uint64_t until_ms = clock_mono_ms() + FIXTURE_WAIT_MS;                                                         \
        while (!(condition) && clock_mono_ms() < until_ms)                                                             \
            pump(w);                                                                                                   \
        assert_true(condition);                                                                                        \
    } while (0)

static void listen_with(struct world *w, int i, const char *token, const char *more) {
    const struct addr *a = http_address(w->http);
    char request[256];
    int n = snprintf(request, sizeof request,
                     "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", token, more);
    w->listeners[i].fd = socket(a->u.sa.sa_family, SOCK_STREAM, 0);
    assert_int_equal(connect(w->listeners[i].fd, &a->u.sa, addr_len(a)), 0);
    assert_int_equal(send(w->listeners[i].fd, request, (size_t)n, MSG_NOSIGNAL), n);
    wait_for(w, heard(w, i, ": live\n\n"));
}

static void happen(struct world *w, int n) {
    events_add(w->events, EVENT_RECEIPT, "t1", json_pack("{s:i}", "n", n));
}

static void an_event_is_a_frame_with_its_id(void **state) {
    struct world *w = *state;
    listen_with(w, 0, "one", "");
    happen(w, 7);
    wait_for(w, heard(w, 0, "}}\n\n"));
    assert_true(heard(w, 0, "\n\nid: 1\nevent: receipt\ndata: {\"id\":1,\"type\":\"receipt\",\"timestamp\":\""));
    assert_true(heard(w, 0, "\",\"data\":{\"n\":7}}\n\n"));
}

static void one_that_resumes_has_what_the_others_have(void **state) {
    struct world *w = *state;
    listen_with(w, 0, "one", "");
    for (int n = 1; n <= 300; n++)
        happen(w, n);
    wait_for(w, heard(w, 0, "id: 300\n"));
    listen_with(w, 1, "two", "Last-Event-ID: 150\r\n");
    happen(w, 301);
    wait_for(w, heard(w, 0, "id: 301\n") && heard(w, 1, "id: 301\n"));
    const char *tail = strstr(w->listeners[0].in.p, "id: 151\n"), *resumed = strstr(w->listeners[1].in.p, "id: 151\n");
    assert_false(heard(w, 1, "id: 150\n"));
    char *live = strstr(w->listeners[1].in.p, ": live\n\n"); /* where the store's pages end */
    memmove(live, live + strlen(": live\n\n"), strlen(live + strlen(": live\n\n")) + 1);
    assert_string_equal(resumed, tail);
}

static void a_token_that_is_revoked_loses_its_streams_and_no_other(void **state) {
    struct world *w = *state;
    listen_with(w, 0, "one", "");
    listen_with(w, 1, "two", "");
    listen_with(w, 2, "one", "");
    assert_int_equal(event_streams_revoke(events_streams(w->events), w->hashes[0]), 2);
    assert_int_equal(event_streams_revoke(events_streams(w->events), w->hashes[0]), 0);
    wait_for(w, w->listeners[0].eof && w->listeners[2].eof);
    happen(w, 1);
    wait_for(w, heard(w, 1, "\"n\":1"));
    assert_false(w->listeners[1].eof);
    assert_false(heard(w, 0, "\"n\":1"));
}

static void after_the_close_there_are_no_new_listeners_and_the_old_ones_have_all(void **state) {
    struct world *w = *state;
    listen_with(w, 0, "one", "");
    for (int n = 1; n <= 1000; n++)
        happen(w, n);
    store_sync(w->fix.store);
    events_close(w->events);
    wait_for(w, w->listeners[0].eof);
    assert_true(heard(w, 0, "id: 1000\n"));
    const struct event_listener l = {.tenant = "t1", .token_hash = "x", .principal = "x", .types = 1};
    assert_int_equal(event_streams_open(events_streams(w->events), 1, &l), E_CLOSED);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(an_event_is_a_frame_with_its_id),
        case_of(one_that_resumes_has_what_the_others_have),
        case_of(a_token_that_is_revoked_loses_its_streams_and_no_other),
        case_of(after_the_close_there_are_no_new_listeners_and_the_old_ones_have_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
