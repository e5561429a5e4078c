/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4
#define ADDS    20000

static struct metrics *m;

static int setup(void **state) {
    (void)state;
    return metrics_new(&m);
}

static int teardown(void **state) {
    (void)state;
    m = metrics_free(m);
    return m != NULL;
}

static void assert_rendered(const char *want) {
    struct buf out = {0};
    metrics_render(m, &out);
    assert_string_equal(out.p ? out.p : "", want);
    buf_free(&out);
}

static void assert_line(const char *want, bool there) {
    struct buf out = {0};
    metrics_render(m, &out);
    if ((strstr(out.p, want) != NULL) != there)
        fail_msg("%s\n%s", want, out.p);
    buf_free(&out);
}

static void an_empty_registry_renders_nothing(void **state) {
    (void)state;
    assert_rendered("");
}

static void a_family_stands_under_one_help_and_one_type(void **state) {
    (void)state;
    metric_add(metrics_counter(m, "wakegate_pushes_total", "Pushes.", "app=\"a\""), 2);
    metric_set(metrics_gauge(m, "wakegate_calls", "Calls.", ""), -3);
    metric_add(metrics_counter(m, "wakegate_pushes_total", "Pushes.", "app=\"b\""), 5);
    assert_rendered("# HELP wakegate_pushes_total Pushes.\n"
                    "# TYPE wakegate_pushes_total counter\n"
                    "wakegate_pushes_total{app=\"a\"} 2\n"
                    "wakegate_pushes_total{app=\"b\"} 5\n"
                    "# HELP wakegate_calls Calls.\n"
                    "# TYPE wakegate_calls gauge\n"
                    "wakegate_calls -3\n");
}

static void the_same_name_and_labels_are_the_same_metric(void **state) {
    struct metric *a = metrics_counter(m, "n", "h", "l=\"1\"");
    (void)state;
    assert_non_null(a);
    assert_ptr_equal(metrics_counter(m, "n", "h", "l=\"1\""), a);
    assert_ptr_not_equal(metrics_counter(m, "n", "h", "l=\"2\""), a);
    metric_add(a, 1);
    metric_add(metrics_counter(m, "n", "h", "l=\"1\""), 1);
    assert_int_equal(metric_value(a), 2);
}

static void a_name_has_one_kind(void **state) {
    (void)state;
    assert_non_null(metrics_counter(m, "n", "h", ""));
    assert_null(metrics_gauge(m, "n", "h", ""));
    assert_null(metrics_histogram(m, "n", "h", "x=\"1\""));
}

static void no_metric_takes_every_call(void **state) {
    (void)state;
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe_us(NULL, 1);
    assert_int_equal(metric_value(NULL), 0);
    assert_null(metrics_counter(NULL, "n", "h", ""));
}

static void buckets_are_cumulative_and_their_bounds_inclusive(void **state) {
    struct metric *h = metrics_histogram(m, "t_seconds", "Time.", "");
    (void)state;
    metric_observe_us(h, 100);
    metric_observe_us(h, 101);
    metric_observe_us(h, 1500);
    metric_observe_us(h, 60000000);
    metric_observe_us(h, 60000001);
    assert_line("# TYPE t_seconds histogram\n", true);
    assert_line("t_seconds_bucket{le=\"0.0001\"} 1\n", true);
    assert_line("t_seconds_bucket{le=\"0.0002\"} 2\n", true);
    assert_line("t_seconds_bucket{le=\"0.001\"} 2\n", true);
    assert_line("t_seconds_bucket{le=\"0.002\"} 3\n", true);
    assert_line("t_seconds_bucket{le=\"30\"} 3\n", true);
    assert_line("t_seconds_bucket{le=\"60\"} 4\n", true);
    assert_line("t_seconds_bucket{le=\"+Inf\"} 5\n", true);
    assert_line("t_seconds_sum 120.001702\n", true);
    assert_line("t_seconds_count 5\n", true);
}

static void a_histogram_keeps_its_labels(void **state) {
    (void)state;
    metric_observe_us(metrics_histogram(m, "t", "Time.", "app=\"a\""), 1);
    assert_line("t_bucket{app=\"a\",le=\"0.0001\"} 1\n", true);
    assert_line("t_bucket{app=\"a\",le=\"+Inf\"} 1\n", true);
    assert_line("t_sum{app=\"a\"} 0.000001\n", true);
    assert_line("t_count{app=\"a\"} 1\n", true);
}

static void label_values_are_escaped(void **state) {
    char out[64];
    (void)state;
    assert_string_equal(metrics_escape(out, sizeof out, "a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    assert_string_equal(metrics_escape(out, sizeof out, ""), "");
}

static void a_long_label_value_is_cut_between_escapes(void **state) {
    char out[16];
    (void)state;
    for (size_t cap = 1; cap <= sizeof out; cap++) {
        memset(out, 'x', sizeof out);
        metrics_escape(out, cap, "\"\"\"\"\"\"\"\"\"\"\"\"");
        assert_in_range(strlen(out), 0, cap - 1);
        assert_int_equal(strlen(out) % 2, 0);
    }
}

static void *add_many(void *arg) {
    for (int i = 0; i < ADDS; i++)
        metric_add(arg, 1);
    return NULL;
}

static void threads_add_to_one_counter(void **state) {
    struct metric *c = metrics_counter(m, "n", "h", "");
    pthread_t t[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, add_many, c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(metric_value(c), THREADS * ADDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_registry_renders_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_family_stands_under_one_help_and_one_type, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_name_and_labels_are_the_same_metric, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_has_one_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(no_metric_takes_every_call, setup, teardown),
        cmocka_unit_test_setup_teardown(buckets_are_cumulative_and_their_bounds_inclusive, setup, teardown),
        cmocka_unit_test_setup_teardown(a_histogram_keeps_its_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(label_values_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_label_value_is_cut_between_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_add_to_one_counter, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
