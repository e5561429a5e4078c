/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define TEXT_MAX     5
#define NUMBER_MAX   60

struct form {
    const char *text, *choice;
    bool flag;
    int tri;
    long long number;
    uint64_t time_ms;
    const json_t *object;
};

static const char *const colours[] = {"red", "green", NULL};
static const struct field fields[] = {
    {"text", FIELD_TEXT, offsetof(struct form, text), false, TEXT_MAX, NULL},
    {"choice", FIELD_CHOICE, offsetof(struct form, choice), false, 0, colours},
    {"flag", FIELD_BOOL, offsetof(struct form, flag), false, 0, NULL},
    {"tri", FIELD_TRI, offsetof(struct form, tri), false, 0, NULL},
    {"number", FIELD_NUMBER, offsetof(struct form, number), false, NUMBER_MAX, NULL},
    {"time", FIELD_TIME, offsetof(struct form, time_ms), false, 0, NULL},
    {"object", FIELD_OBJECT, offsetof(struct form, object), false, 0, NULL},
};
static const struct field needed[] = {
    {"text", FIELD_TEXT, offsetof(struct form, text), true, TEXT_MAX, NULL},
    {"choice", FIELD_CHOICE, offsetof(struct form, choice), true, 0, colours},
};

struct world {
    json_t *json; /* what the form's texts belong to */
    struct form form;
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    if (!w)
        return -1;
    w->form = (struct form){"before", "before", true, 1, 7, 8, NULL};
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    json_decref(w->json);
    free(w);
    return 0;
}

static int read_table(struct world *w, const char *text, const struct field *table, size_t count,
                      struct field_error *fe) {
    json_decref(w->json);
    w->json = json_loads(text, 0, NULL);
    assert_non_null(w->json);
    return fields_read(&w->form, w->json, table, count, "", fe);
}

static void read_ok(struct world *w, const char *text) {
    struct field_error fe = {"", {""}};
    if (read_table(w, text, fields, COUNT(fields), &fe) != 0)
        fail_msg("%s", fe.text.s);
}

static void assert_refused_by(struct world *w, const struct field *table, size_t count, const char *text,
                              const char *field, const char *sentence) {
    struct field_error fe = {"", {""}};
    assert_int_equal(read_table(w, text, table, count, &fe), E_MALFORMED);
    assert_string_equal(fe.field, field);
    assert_string_equal(fe.text.s, sentence);
}

static void assert_refused(struct world *w, const char *text, const char *field, const char *sentence) {
    assert_refused_by(w, fields, COUNT(fields), text, field, sentence);
}

static void every_kind_is_read_to_its_place(void **state) {
    struct world *w = *state;
    read_ok(w, "{\"text\":\"12345\",\"choice\":\"green\",\"flag\":false,\"tri\":false,\"number\":60,"
               "\"time\":1790000000123,\"object\":{\"a\":1}}");
    assert_string_equal(w->form.text, "12345");
    assert_string_equal(w->form.choice, "green");
    assert_false(w->form.flag);
    assert_int_equal(w->form.tri, 0);
    assert_int_equal(w->form.number, 60);
    assert_int_equal(w->form.time_ms, 1790000000123);
    assert_int_equal(json_integer_value(json_object_get(w->form.object, "a")), 1);
}

static void a_field_that_is_absent_keeps_its_default(void **state) {
    struct world *w = *state;
    read_ok(w, "{}");
    assert_string_equal(w->form.text, "before");
    assert_true(w->form.flag);
    assert_int_equal(w->form.tri, 1);
    assert_int_equal(w->form.number, 7);
    assert_int_equal(w->form.time_ms, 8);
    assert_null(w->form.object);
}

static void a_field_that_is_null_keeps_its_default(void **state) {
    struct world *w = *state;
    read_ok(w, "{\"text\":null,\"choice\":null,\"flag\":null,\"number\":null,\"time\":null,\"object\":null}");
    assert_string_equal(w->form.text, "before");
    assert_string_equal(w->form.choice, "before");
    assert_true(w->form.flag);
    assert_int_equal(w->form.number, 7);
    assert_int_equal(w->form.time_ms, 8);
}

static void null_is_the_third_value_of_a_tri(void **state) {
    struct world *w = *state;
    read_ok(w, "{\"tri\":null}");
    assert_int_equal(w->form.tri, -1);
    read_ok(w, "{\"tri\":true}");
    assert_int_equal(w->form.tri, 1);
}

static void unknown_fields_are_left_alone(void **state) {
    struct world *w = *state;
    read_ok(w, "{\"of_tomorrow\":[1],\"text\":\"a\"}");
    assert_string_equal(w->form.text, "a");
}

static void a_time_is_a_number_or_rfc_3339(void **state) {
    struct world *w = *state;
    read_ok(w, "{\"time\":\"2026-01-02T03:04:05.678Z\"}");
    assert_int_equal(w->form.time_ms, 1767323045678);
    read_ok(w, "{\"time\":\"2026-01-02T04:04:05.678+01:00\"}");
    assert_int_equal(w->form.time_ms, 1767323045678);
    read_ok(w, "{\"time\":1767323045678.9}");
    assert_int_equal(w->form.time_ms, 1767323045678);
    read_ok(w, "{\"time\":0}");
    assert_int_equal(w->form.time_ms, 0);
}

static void a_time_that_is_none_is_refused(void **state) {
    static const char *const bad[] = {"\"yesterday\"", "-1", "1e15", "true", "\"\"", "[]"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"time\":%s}", bad[i]);
        assert_refused(*state, text, "time", "time must be a time as RFC 3339 writes it");
    }
}

static void a_text_over_its_limit_is_refused(void **state) {
    assert_refused(*state, "{\"text\":\"123456\"}", "text", "text has 6 bytes; at most 5 are taken");
    assert_refused(*state, "{\"text\":\"\xc3\xa9\xc3\xa9\xc3\xa9\"}", "text",
                   "text has 6 bytes; at most 5 are taken"); /* bytes, not letters */
}

static void an_optional_text_may_be_empty(void **state) {
    struct world *w = *state;
    read_ok(w, "{\"text\":\"\"}");
    assert_string_equal(w->form.text, "");
}

static void a_number_keeps_within_its_limits(void **state) {
    static const char *const bad[] = {"0", "-1", "61", "1.0", "\"1\"", "true"};
    struct world *w = *state;
    read_ok(w, "{\"number\":1}");
    assert_int_equal(w->form.number, 1);
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"number\":%s}", bad[i]);
        assert_refused(w, text, "number", "number must be a whole number of 1 to 60");
    }
    assert_int_equal(w->form.number, 1);
}

static void a_choice_outside_the_list_is_refused(void **state) {
    assert_refused(*state, "{\"choice\":\"blue\"}", "choice", "choice is none of red, green");
    assert_refused(*state, "{\"choice\":\"gree\"}", "choice", "choice is none of red, green");
    assert_refused(*state, "{\"choice\":1}", "choice", "choice is none of red, green");
}

static void a_choice_outlives_its_json(void **state) {
    struct world *w = *state;
    read_ok(w, "{\"choice\":\"red\"}");
    assert_ptr_equal(w->form.choice, colours[0]);
}

static void a_wrong_type_is_refused_with_a_sentence(void **state) {
    assert_refused(*state, "{\"text\":1}", "text", "text must be a string");
    assert_refused(*state, "{\"flag\":\"true\"}", "flag", "flag must be true or false");
    assert_refused(*state, "{\"flag\":1}", "flag", "flag must be true or false");
    assert_refused(*state, "{\"tri\":0}", "tri", "tri must be true, false or null");
    assert_refused(*state, "{\"object\":[]}", "object", "object must be an object");
}

static void a_required_field_must_be_there_and_not_null(void **state) {
    assert_refused_by(*state, needed, COUNT(needed), "{\"choice\":\"red\"}", "text", "text is missing");
    assert_refused_by(*state, needed, COUNT(needed), "{\"text\":null}", "text", "text is missing");
    assert_refused_by(*state, needed, COUNT(needed), "{\"text\":\"a\"}", "choice", "choice is missing");
}

static void a_required_text_must_not_be_empty(void **state) {
    assert_refused_by(*state, needed, COUNT(needed), "{\"text\":\"\"}", "text", "text must not be empty");
}

static void the_prefix_names_the_place(void **state) {
    struct world *w = *state;
    struct field_error fe = {"", {""}};
    w->json = json_loads("{\"text\":7}", 0, NULL);
    assert_int_equal(fields_read(&w->form, w->json, fields, COUNT(fields), "caller.", &fe), E_MALFORMED);
    assert_string_equal(fe.field, "caller.text");
    assert_string_equal(fe.text.s, "caller.text must be a string");
}

static void nobody_has_to_hear_of_the_mistake(void **state) {
    assert_int_equal(read_table(*state, "{\"text\":7}", fields, COUNT(fields), NULL), E_MALFORMED);
}

static void what_is_no_object_has_no_fields(void **state) {
    assert_refused_by(*state, needed, COUNT(needed), "[1]", "text", "text is missing");
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        case_of(every_kind_is_read_to_its_place),         case_of(a_field_that_is_absent_keeps_its_default),
        case_of(a_field_that_is_null_keeps_its_default),  case_of(null_is_the_third_value_of_a_tri),
        case_of(unknown_fields_are_left_alone),           case_of(a_time_is_a_number_or_rfc_3339),
        case_of(a_time_that_is_none_is_refused),          case_of(a_text_over_its_limit_is_refused),
        case_of(an_optional_text_may_be_empty),           case_of(a_number_keeps_within_its_limits),
        case_of(a_choice_outside_the_list_is_refused),    case_of(a_choice_outlives_its_json),
        case_of(a_wrong_type_is_refused_with_a_sentence), case_of(a_required_field_must_be_there_and_not_null),
        case_of(a_required_text_must_not_be_empty),       case_of(the_prefix_names_the_place),
        case_of(nobody_has_to_hear_of_the_mistake),       case_of(what_is_no_object_has_no_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
