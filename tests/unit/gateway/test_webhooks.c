/* SPDX-License-Identifier: Apache-2.0 */
/* The webhooks of one configuration give way to those of the next, while deliveries are on their way. */
#include "gateway/webhooks.h"
#include "tests/unit/gateway/store_fixture.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#define SECRET "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

struct world {
    struct store_fixture fix;
    struct metrics *metrics;
    struct events *events;
    struct webhooks *webhooks;
    int listener; /* of a receiver that never answers */
    char url[64], secret_file[128];
    char *patterns[1];
    unsigned retry_s[1];
    struct config_webhook hook;
    struct config config; /* has the webhook */
    unsigned answers;
    char due[256];
};

static void listen_in_vain(struct world *w) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(w->listener, 8), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&at, &len), 0);
    snprintf(w->url, sizeof w->url, "https://127.0.0.1:%u/", ntohs(at.sin_port));
}

static void write_secret(struct world *w) {
    snprintf(w->secret_file, sizeof w->secret_file, "%s/hook.key", w->fix.folder);
    FILE *f = fopen(w->secret_file, "we");
    assert_non_null(f);
    assert_true(fputs(SECRET, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(w->secret_file, 0600), 0);
}

static int set_up(void **state) {
    static char name[] = "h", tenant[] = "t1", none[] = "", pattern[] = "call.*";
    struct world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    if (!w || fixture_init(&w->fix) != 0 || metrics_new(&w->metrics) != 0)
        return -1;
    fixture_open(&w->fix);
    listen_in_vain(w);
    write_secret(w);
    w->patterns[0] = pattern;
    w->retry_s[0] = 1;
    w->hook = (struct config_webhook){.name = name,
                                      .url = w->url,
                                      .secret_file = w->secret_file,
                                      .tenant = tenant,
                                      .ca_file = none,
                                      .events = w->patterns,
                                      .events_count = 1,
                                      .allow_private = true,
                                      .retry_s = w->retry_s,
                                      .retry_s_count = 1};
    w->config = (struct config){.webhooks = &w->hook, .webhooks_count = 1};
    assert_int_equal(events_new(&w->events, &w->fix.loop, w->fix.store, w->metrics, &et), 0);
    const struct webhooks_deps deps = {&w->fix.loop, w->fix.store, w->metrics, events_source(w->events)};
    assert_int_equal(webhooks_new(&w->webhooks, &deps), 0);
    events_attach_webhooks(w->events, w->webhooks);
    if (webhooks_load(w->webhooks, &w->config, &et) != 0)
        fail_msg("%s", et.s);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    webhooks_close(w->webhooks);
    events_close(w->events);
    fixture_close(&w->fix);
    webhooks_free(w->webhooks);
    events_free(w->events);
    close(w->listener);
    unlink(w->secret_file);
    int err = fixture_free(&w->fix);
    metrics_free(w->metrics);
    free(w);
    return err;
}

static void on_due(int err, const struct delivery_row *rows, size_t count, void *arg) {
    struct world *w = arg;
    assert_int_equal(err, 0);
    snprintf(w->due, sizeof w->due, "%zu %s", count, count ? rows[0].event.data : "");
    w->answers++;
}

/* What the store has for the webhook. */
static const char *due(struct world *w) {
    unsigned before = w->answers;
    assert_int_equal(store_delivery_due(w->fix.store, "h", clock_wall_ms() + 3600000, 10, on_due, w), 0);
    fixture_wait(&w->fix, &w->answers, before + 1);
    return w->due;
}

static void happen(struct world *w, enum event_type type, const char *tenant) {
    events_add(w->events, type, tenant, json_pack("{s:i}", "n", 1));
}

/* The receiver is connected to; returns the connection. */
static int attempt(struct world *w) {
    uint64_t until = clock_mono_ms() + FIXTURE_WAIT_MS;
    int fd;
    while ((fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC)) < 0 && clock_mono_ms() < until) {
        uv_run(&w->fix.loop, UV_RUN_NOWAIT);
        usleep(200);
    }
    assert_true(fd >= 0);
    return fd;
}

static void an_event_is_recorded_for_who_wants_it_and_goes_out(void **state) {
    struct world *w = *state;
    happen(w, EVENT_DEVICE_DELETED, "t1");
    happen(w, EVENT_CALL_ENDED, "t2");
    assert_string_equal(due(w), "0 ");
    happen(w, EVENT_CALL_ENDED, "t1");
    close(attempt(w));
    assert_string_equal(due(w), "1 {\"n\":1}");
}

static void a_bad_configuration_changes_nothing(void **state) {
    static char odd[] = "calls";
    struct world *w = *state;
    struct err_text et = {""};
    w->patterns[0] = odd;
    assert_int_equal(webhooks_load(w->webhooks, &w->config, &et), E_INVAL);
    assert_string_equal(et.s, "webhooks: h: events: \"calls\" matches no event type; e.g. call.*, push.*, receipt, "
                              "device.*");
    assert_int_equal(webhooks_check(&w->config, &et), E_INVAL);
    assert_true(webhooks_has(w->webhooks, "h"));
    happen(w, EVENT_CALL_ENDED, "t1");
    close(attempt(w));
}

static void a_webhook_that_is_configured_no_more_gets_nothing_and_keeps_what_waits(void **state) {
    struct world *w = *state;
    const struct config none = {0};
    struct err_text et = {""};
    char byte;
    happen(w, EVENT_CALL_ENDED, "t1");
    int fd = attempt(w);
    assert_int_equal(webhooks_load(w->webhooks, &none, &et), 0);
    assert_false(webhooks_has(w->webhooks, "h"));
    happen(w, EVENT_CALL_ENDED, "t1");
    assert_string_equal(due(w), "1 {\"n\":1}");
    while (recv(fd, &byte, 1, 0) > 0)
        ; /* the ClientHello, and then: it was cut off */
    close(fd);
    assert_int_equal(webhooks_load(w->webhooks, &w->config, &et), 0);
    close(attempt(w)); /* as if nothing had been sent */
    assert_string_equal(due(w), "1 {\"n\":1}");
}

/* Does the connection end, after what the client has said? */
static bool is_cut(struct world *w, int fd, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    char bytes[512];
    ssize_t n = -1;
    while (n != 0 && clock_mono_ms() < until) {
        uv_run(&w->fix.loop, UV_RUN_NOWAIT);
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        usleep(200);
    }
    return n == 0;
}

static void what_is_on_its_way_goes_on_while_there_is_a_webhook_of_that_name(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    happen(w, EVENT_CALL_ENDED, "t1");
    int fd = attempt(w);
    assert_int_equal(webhooks_load(w->webhooks, &w->config, &et), 0);
    assert_false(is_cut(w, fd, 300));
    happen(w, EVENT_CALL_ENDED, "t1");
    close(attempt(w));             /* and takes new ones */
    w->hook.allow_private = false; /* another one, which would not be allowed to connect again */
    assert_int_equal(webhooks_load(w->webhooks, &w->config, &et), 0);
    assert_false(is_cut(w, fd, 300));
    w->config.webhooks_count = 0;
    assert_int_equal(webhooks_load(w->webhooks, &w->config, &et), 0);
    assert_true(is_cut(w, fd, FIXTURE_WAIT_MS));
    close(fd);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(an_event_is_recorded_for_who_wants_it_and_goes_out),
        case_of(a_bad_configuration_changes_nothing),
        case_of(what_is_on_its_way_goes_on_while_there_is_a_webhook_of_that_name),
        case_of(a_webhook_that_is_configured_no_more_gets_nothing_and_keeps_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
