/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WALL_MS 1767323045678U
#define AT      "time=2026-01-02T03:04:05.678Z "

static char line[4096];

static const char *written(enum log_format format, const char *event, const struct log_kv *kvs) {
    log_setup(LOG_LEVEL_INFO, format);
    size_t len = log_line(line, sizeof line - 1, LOG_LEVEL_WARN, event, kvs, WALL_MS);
    line[len] = 0;
    assert_int_equal(strlen(line), len);
    return line;
}

static void a_line_has_time_level_event_and_the_fields_in_their_order(void **state) {
    const struct log_kv kvs[] = {log_s("call", "c1"), log_i("status", -200), log_b("ok", true), log_b("no", false),
                                 log_end()};
    (void)state;
    assert_string_equal(written(LOG_FORMAT_LOGFMT, "pushed", kvs),
                        AT "level=warn event=pushed call=c1 status=-200 ok=true no=false\n");
}

static void the_service_stands_on_every_line(void **state) {
    const struct log_kv none[] = {log_end()};
    (void)state;
    log_service("wakegate");
    assert_string_equal(written(LOG_FORMAT_LOGFMT, "up", none), AT "level=warn service=wakegate event=up\n");
    log_service(NULL);
    assert_string_equal(written(LOG_FORMAT_LOGFMT, "up", none), AT "level=warn event=up\n");
}

static void a_value_that_is_not_one_word_is_quoted(void **state) {
    static const struct {
        const char *value, *want;
    } rows[] = {{"two words", "\"two words\""},
                {"a\nb", "\"a\\nb\""},
                {"a=b", "\"a=b\""},
                {"say \"x\"", "\"say \\\"x\\\"\""},
                {"back\\slash", "\"back\\\\slash\""},
                {"", ""},
                {NULL, ""},
                {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
                {"\x7f", "\"\\u007f\""},
                {"\x01", "\"\\u0001\""},
                {"a\xc3", "\"a\\ufffd\""},
                {"\xff\xe2\x82", "\"\\ufffd\\ufffd\\ufffd\""}};
    char want[256];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct log_kv kvs[] = {log_s("k", rows[i].value), log_end()};
        snprintf(want, sizeof want, AT "level=warn event=e k=%s\n", rows[i].want);
        assert_string_equal(written(LOG_FORMAT_LOGFMT, "e", kvs), want);
    }
}

static void no_value_can_forge_a_line(void **state) {
    static const char evil[] = "x\ntime=2026-01-02T03:04:05.678Z level=error event=forged\r\n\x1b[2K";
    const struct log_kv kvs[] = {log_s("handle", evil), log_end()};
    (void)state;
    for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
        written((enum log_format)format, evil, kvs);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_null(strpbrk(line, "\r\x1b"));
    }
}

static void a_json_line_is_one_json_object(void **state) {
    static const char value[] = "a \"quoted\" \\ line\nand\ttab \x01 \x7f \xc3\xa4";
    const struct log_kv kvs[] = {log_s("text", value), log_i("n", INT64_MIN), log_b("ok", true), log_s("none", NULL),
                                 log_end()};
    (void)state;
    json_t *j = json_loads(written(LOG_FORMAT_JSON, "an event", kvs), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "time")), "2026-01-02T03:04:05.678Z");
    assert_string_equal(json_string_value(json_object_get(j, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(j, "event")), "an event");
    assert_string_equal(json_string_value(json_object_get(j, "text")), value);
    assert_true(json_integer_value(json_object_get(j, "n")) == INT64_MIN);
    assert_true(json_is_true(json_object_get(j, "ok")));
    assert_string_equal(json_string_value(json_object_get(j, "none")), "");
    json_decref(j);
}

/* jansson takes no broken UTF-8, and neither do those who read the log. */
static void a_json_line_is_valid_for_any_bytes(void **state) {
    char value[3] = {0};
    const struct log_kv kvs[] = {log_s("text", value), log_end()};
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        value[0] = (char)byte;
        value[1] = 'x';
        json_t *j = json_loads(written(LOG_FORMAT_JSON, "e", kvs), 0, NULL);
        if (!j)
            fail_msg("byte %d: %s", byte, line);
        json_decref(j);
    }
}

static void a_field_that_does_not_fit_is_left_out_whole(void **state) {
    char value[200];
    const struct log_kv kvs[] = {log_s("first", "1"), log_s("long", value), log_end()};
    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    for (size_t cap = 110; cap < 320; cap++) {
        size_t len = log_line(line, cap, LOG_LEVEL_INFO, "e", kvs, WALL_MS);
        assert_in_range(len, 1, cap);
        assert_int_equal(line[len - 1], '\n');
        json_t *j = json_loadb(line, len, 0, NULL);
        assert_non_null(j);
        assert_string_equal(json_string_value(json_object_get(j, "first")), "1");
        const char *text = json_string_value(json_object_get(j, "long"));
        assert_true(!text || strcmp(text, value) == 0);
        json_decref(j);
    }
}

static void levels_below_the_chosen_one_are_off(void **state) {
    (void)state;
    log_setup(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
    assert_false(log_enabled(LOG_LEVEL_DEBUG) || log_enabled(LOG_LEVEL_INFO));
    assert_true(log_enabled(LOG_LEVEL_WARN) && log_enabled(LOG_LEVEL_ERROR));
}

static void a_line_goes_to_stderr_in_one_write(void **state) {
    int fds[2], saved = dup(STDERR_FILENO);
    (void)state;
    assert_true(saved >= 0);
    assert_int_equal(pipe(fds), 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    log_debug("unheard", log_i("n", 1));
    log_info("heard", log_i("n", 2));
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    ssize_t n = read(fds[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = 0;
    close(fds[0]);
    assert_non_null(strstr(line, " level=info event=heard n=2\n"));
    assert_null(strstr(line, "unheard"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_event_and_the_fields_in_their_order),
        cmocka_unit_test(the_service_stands_on_every_line),
        cmocka_unit_test(a_value_that_is_not_one_word_is_quoted),
        cmocka_unit_test(no_value_can_forge_a_line),
        cmocka_unit_test(a_json_line_is_one_json_object),
        cmocka_unit_test(a_json_line_is_valid_for_any_bytes),
        cmocka_unit_test(a_field_that_does_not_fit_is_left_out_whole),
        cmocka_unit_test(levels_below_the_chosen_one_are_off),
        cmocka_unit_test(a_line_goes_to_stderr_in_one_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
