/* SPDX-License-Identifier: Apache-2.0 */
/* The client's metrics, as a scraper reads them. */
#include "tests/unit/apns/core_fixture.h"

#define PUSHES  "wakegate_apns_pushes_total"
#define RETRIES "wakegate_apns_retries_total"
#define RING_0  "app=\"app\",lane=\"ring\",connection=\"0\""
#define RING_1  "app=\"app\",lane=\"ring\",connection=\"1\""
#define GONE    INT64_MIN

static int setup_metered(void **state) {
    struct metrics *m;
    assert_int_equal(metrics_new(&m), 0);
    return setup_with(state, m);
}

static char *text(const struct world *w) {
    struct buf out = {0};
    metrics_render(w->metrics, &out);
    buf_adds(&out, "");
    assert_non_null(out.p);
    return out.p;
}

/* The value of `name{labels}`, or `name` without labels; GONE when there is none. */
static double value(const struct world *w, const char *name, const char *labels) {
    char line[512], *all = text(w), *at;
    double v = (double)GONE;
    snprintf(line, sizeof line, "\n%s%s%s%s ", name, *labels ? "{" : "", labels, *labels ? "}" : "");
    if ((at = strstr(all, line)))
        v = strtod(at + strlen(line), NULL);
    free(all);
    return v;
}

static int64_t whole(const struct world *w, const char *name, const char *labels) {
    return (int64_t)value(w, name, labels);
}

static int64_t pushes(const struct world *w, const char *result, const char *reason) {
    char labels[128];
    snprintf(labels, sizeof labels, "app=\"app\",result=\"%s\",reason=\"%s\"", result, reason);
    return whole(w, PUSHES, labels);
}

static int64_t retries(const struct world *w, const char *class) {
    char labels[128];
    snprintf(labels, sizeof labels, "app=\"app\",class=\"%s\"", class);
    return whole(w, RETRIES, labels);
}

/* What is always there, from the start, so that a rate can be made of it. */
static void every_metric_has_its_type_and_a_help_text(void **state) {
    static const char *const all[] = {
        "wakegate_apns_pushes_total counter",         "wakegate_apns_retries_total counter",
        "wakegate_apns_hedged_total counter",         "wakegate_apns_connects_total counter",
        "wakegate_apns_error_pressure gauge",         "wakegate_apns_queue_seconds histogram",
        "wakegate_apns_answer_seconds histogram",     "wakegate_apns_connection_streams gauge",
        "wakegate_apns_connection_streams_max gauge", "wakegate_apns_connection_window_bytes gauge",
        "wakegate_apns_connection_age_seconds gauge", "wakegate_apns_connection_token_age_seconds gauge"};
    struct world *w = *state;
    unsigned types = 0;
    turn(w);
    char *said = text(w);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char line[128];
        snprintf(line, sizeof line, "# TYPE %s\n", all[i]);
        if (!strstr(said, line))
            fail_msg("%s is missing in\n%s", all[i], said);
        snprintf(line, sizeof line, "# HELP %.*s ", (int)strcspn(all[i], " "), all[i]);
        assert_non_null(strstr(said, line));
    }
    for (const char *at = said; (at = strstr(at, "# TYPE ")); at++)
        types++;
    assert_int_equal(types, sizeof all / sizeof *all);
    free(said);
    assert_int_equal(pushes(w, "accepted", ""), 0);
    assert_int_equal(pushes(w, "withdrawn", ""), 0);
    assert_int_equal(pushes(w, "expired", ""), 0);
    assert_int_equal(retries(w, "refused"), 0);
    assert_int_equal(retries(w, "unknown"), 0);
    assert_int_equal(retries(w, "answered"), 0);
    assert_int_equal(whole(w, "wakegate_apns_hedged_total", "app=\"app\""), 0);
    assert_int_equal(whole(w, "wakegate_apns_error_pressure", "app=\"app\""), 0);
}

/* By their tokens. */
static void answer_by_token(struct world *w, struct request *r) {
    (void)w;
    if (strcmp(r->token, "01") == 0)
        respond(r, 400, "BadDeviceToken");
    else if (strcmp(r->token, "02") == 0)
        respond(r, 410, "Unregistered");
    else if (strcmp(r->token, "03") != 0) /* which gets no answer */
        respond(r, 200, "");
}

static void results_are_counted_by_what_became_of_the_push(void **state) {
    struct world *w = *state;
    prove(w); /* 4 accepted */
    w->react = answer_by_token;
    for (unsigned i = 0; i < 3; i++) {
        push_to(w, i, APNS_LANE_RING, i < 2 ? "01" : "02", 30000);
        advance(w, 10);
    }
    assert_int_equal(pushes(w, "accepted", ""), 4);
    assert_int_equal(pushes(w, "rejected", "BadDeviceToken"), 2);
    assert_int_equal(pushes(w, "rejected", "Unregistered"), 1);
    push_to(w, 3, APNS_LANE_RING, "03", 200);
    w->refuse_connects = true;
    push_to(w, 4, APNS_LANE_BULK, "04", 200); /* its connection is not up in time */
    advance(w, 300);
    assert_int_equal(pushes(w, "expired", ""), 1);
    assert_int_equal(pushes(w, "failed", err_str(E_TIMEOUT)), 1);
    assert_int_equal(pushes(w, "withdrawn", ""), 0);
}

static void a_withdrawn_push_is_counted_as_such(void **state) {
    struct world *w = *state;
    push(w, 0);
    assert_int_equal(apns_core_withdraw(w->credential, w->results[0].id), 0);
    assert_int_equal(pushes(w, "withdrawn", ""), 1);
    assert_int_equal(pushes(w, "accepted", ""), 0);
    assert_int_equal(pushes(w, "expired", ""), 0);
}

static void refuse_two(struct world *w, struct request *r) {
    if (w->counter++ < 2)
        nghttp2_submit_rst_stream(r->peer->h2, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_REFUSED_STREAM);
    else
        respond(r, 200, "");
}

static void fail_once(struct world *w, struct request *r) {
    bool first = w->counter++ == 0;
    respond(r, first ? 500 : 200, first ? "InternalServerError" : "");
}

static void silent(struct world *w, struct request *r) {
    (void)w;
    (void)r;
}

static void retries_are_counted_by_class(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = refuse_two;
    push(w, 0);
    advance(w, 1000);
    assert_int_equal(retries(w, "refused"), 2);
    w->counter = 0;
    w->react = fail_once;
    push(w, 1);
    advance(w, 1000);
    assert_int_equal(retries(w, "answered"), 1);
    assert_int_equal(retries(w, "unknown"), 0);
    w->react = silent;
    w->request_count = 0;
    push(w, 2);
    turn(w);
    w->react = NULL;
    peer_cut(w->requests[0].peer);
    advance(w, 1000);
    assert_int_equal(retries(w, "unknown"), 1);
    assert_int_equal(retries(w, "refused"), 2);
    assert_int_equal(retries(w, "answered"), 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(w->results[i].verdict, APNS_ACCEPTED);
}

static void hedges_are_counted(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = silent;
    push(w, 0);
    advance(w, 299);
    assert_int_equal(whole(w, "wakegate_apns_hedged_total", "app=\"app\""), 0);
    advance(w, 10);
    assert_int_equal(whole(w, "wakegate_apns_hedged_total", "app=\"app\""), 1);
}

static void waits_and_answers_have_histograms(void **state) {
    struct world *w = *state;
    prove(w);
    double waits = value(w, "wakegate_apns_queue_seconds_count", ""),
           wait_s = value(w, "wakegate_apns_queue_seconds_sum", ""),
           answer_s = value(w, "wakegate_apns_answer_seconds_sum", "");
    assert_int_equal((int)waits, 4);
    assert_int_equal(whole(w, "wakegate_apns_answer_seconds_count", ""), 4);
    w->react = silent;
    w->streams_max = 1;
    for (unsigned i = 0; i < w->peer_count; i++)
        say_streams(w->peers[i], 1);
    turn(w);
    push(w, 0);
    push(w, 1);
    push(w, 2); /* waits for a stream */
    turn(w);
    assert_int_equal(w->request_count, 2);
    w->now.mono_us += 40000;
    for (unsigned i = 0; i < 2; i++)
        respond(&w->requests[i], 200, "");
    w->react = NULL;
    turn(w);
    assert_int_equal(whole(w, "wakegate_apns_queue_seconds_count", ""), 7);
    assert_int_equal(whole(w, "wakegate_apns_answer_seconds_count", ""), 7);
    /* One waited 40 ms, and was answered at once; two the other way round. */
    assert_float_equal(value(w, "wakegate_apns_queue_seconds_sum", "") - wait_s, 0.04, 0.000001);
    assert_float_equal(value(w, "wakegate_apns_answer_seconds_sum", "") - answer_s, 0.08, 0.000001);
}

static void each_connection_shows_its_figures(void **state) {
    struct world *w = *state;
    turn(w);
    assert_int_equal(whole(w, "wakegate_apns_connection_streams_max", RING_0), 0);
    prove(w);
    int64_t age_s = whole(w, "wakegate_apns_connection_age_seconds", RING_0);
    w->react = silent;
    for (unsigned i = 0; i < 6; i++)
        push_to(w, i, APNS_LANE_RING, NULL, 6000000);
    advance(w, 250000);
    int64_t open = whole(w, "wakegate_apns_connection_streams", RING_0);
    assert_int_equal(open + whole(w, "wakegate_apns_connection_streams", RING_1), 12); /* hedged */
    assert_int_equal(open, 6);
    assert_int_equal(whole(w, "wakegate_apns_connection_streams_max", RING_0), STREAMS_MAX);
    int64_t window = whole(w, "wakegate_apns_connection_window_bytes", RING_0);
    assert_true(window > 60000 && window < 65535);
    assert_in_range(whole(w, "wakegate_apns_connection_age_seconds", RING_0) - age_s, 249, 251);
    assert_in_range(whole(w, "wakegate_apns_connection_token_age_seconds", RING_0), 249, 253);
    assert_int_equal(whole(w, "wakegate_apns_connects_total", "app=\"app\""), 2);
}

static void what_a_lost_connection_showed_is_gone(void **state) {
    struct world *w = *state;
    prove(w);
    w->react = silent;
    for (unsigned i = 0; i < 4; i++)
        push_to(w, i, APNS_LANE_BULK, NULL, 600000);
    advance(w, 60000);
    static const char labels[] = "app=\"app\",lane=\"bulk\",connection=\"0\"";
    assert_true(whole(w, "wakegate_apns_connection_streams", labels) > 0);
    assert_true(whole(w, "wakegate_apns_connection_age_seconds", labels) > 50);
    w->refuse_connects = true;
    peer_cut(w->requests[0].peer);
    advance(w, 2000);
    assert_int_equal(whole(w, "wakegate_apns_connection_streams", labels), 0);
    assert_int_equal(whole(w, "wakegate_apns_connection_streams_max", labels), 0);
    assert_int_equal(whole(w, "wakegate_apns_connection_window_bytes", labels), 0);
    assert_int_equal(whole(w, "wakegate_apns_connection_age_seconds", labels), 0);
    assert_int_equal(whole(w, "wakegate_apns_connection_token_age_seconds", labels), 0);
}

/* While old and new are there, three connections; then one number is nobody's. */
static void the_figures_of_a_number_that_nobody_has_are_zero(void **state) {
    struct world *w = *state;
    bool third = false;
    prove(w);
    for (unsigned i = 0; i < w->peer_count; i++)
        say_goaway(w->peers[i], INT32_MAX, "");
    w->react = silent;
    push_to(w, 0, APNS_LANE_RING, NULL, 60000); /* keeps its old connection for a while */
    for (unsigned i = 0; i < 30; i++) {
        advance(w, 1000);
        for (unsigned n = 2; n < 6; n++) {
            char labels[96];
            snprintf(labels, sizeof labels, "app=\"app\",lane=\"ring\",connection=\"%u\"", n);
            third = third || whole(w, "wakegate_apns_connection_streams_max", labels) > 0;
        }
    }
    assert_true(third);
    unsigned shown = 0;
    for (unsigned n = 0; n < 6; n++) {
        char labels[96];
        snprintf(labels, sizeof labels, "app=\"app\",lane=\"ring\",connection=\"%u\"", n);
        shown += whole(w, "wakegate_apns_connection_streams_max", labels) > 0;
    }
    assert_int_equal(shown, 2);
    assert_int_equal(alive(w, APNS_LANE_RING), 2);
}

static void refuse_tokens(struct world *w, struct request *r) {
    (void)w;
    respond(r, strcmp(r->token, "02") == 0 ? 410 : 400,
            strcmp(r->token, "02") == 0 ? "Unregistered" : "BadDeviceToken");
}

static void error_pressure_is_the_refusals_of_the_last_whole_minute(void **state) {
    struct world *w = *state;
    prove(w);
    advance(w, 60000);
    w->react = refuse_tokens;
    for (unsigned i = 0; i < 5; i++)
        push_to(w, i, APNS_LANE_RING, "01", 30000);
    push_to(w, 5, APNS_LANE_RING, "02", 30000); /* a device that left is nobody's fault */
    advance(w, 1000);
    assert_int_equal(whole(w, "wakegate_apns_error_pressure", "app=\"app\""), 0);
    advance(w, 60000);
    assert_int_equal(whole(w, "wakegate_apns_error_pressure", "app=\"app\""), 5);
    advance(w, 60000);
    assert_int_equal(whole(w, "wakegate_apns_error_pressure", "app=\"app\""), 0);
}

static void refuse_oddly(struct world *w, struct request *r) {
    (void)w;
    respond(r, 400, "so\\\"so");
}

static void strange_names_and_reasons_stay_in_their_quotes(void **state) {
    struct world *w = *state;
    w->credential = world_credential(w, "a\"b\\c");
    push(w, 0);
    assert_int_equal(apns_core_withdraw(w->credential, w->results[0].id), 0);
    assert_int_equal(whole(w, PUSHES, "app=\"a\\\"b\\\\c\",result=\"withdrawn\",reason=\"\""), 1);
    w->react = refuse_oddly;
    push(w, 1);
    advance(w, 5000);
    assert_string_equal(w->results[1].reason, "so\"so");
    assert_int_equal(whole(w, PUSHES, "app=\"a\\\"b\\\\c\",result=\"rejected\",reason=\"so\\\"so\""), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_metered, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_metric_has_its_type_and_a_help_text),
        TEST(results_are_counted_by_what_became_of_the_push),
        TEST(a_withdrawn_push_is_counted_as_such),
        TEST(retries_are_counted_by_class),
        TEST(hedges_are_counted),
        TEST(waits_and_answers_have_histograms),
        TEST(each_connection_shows_its_figures),
        TEST(what_a_lost_connection_showed_is_gone),
        TEST(the_figures_of_a_number_that_nobody_has_are_zero),
        TEST(error_pressure_is_the_refusals_of_the_last_whole_minute),
        TEST(strange_names_and_reasons_stay_in_their_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
