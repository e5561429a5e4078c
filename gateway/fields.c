/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/fields.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The mistake as the end of a sentence, or NULL. say: room for one that is made up. */
typedef const char *(*field_reader)(void *place, const struct field *f, const json_t *v, struct err_text *say);

static const char *said(struct err_text *say, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static const char *said(struct err_text *say, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(say->s, sizeof say->s, fmt, ap);
    va_end(ap);
    return say->s;
}

static const char *read_text(void *place, const struct field *f, const json_t *v, struct err_text *say) {
    if (!json_is_string(v))
        return "must be a string";
    if (json_string_length(v) > f->max)
        return said(say, "has %zu bytes; at most %zu are taken", json_string_length(v), f->max);
    if (f->required && json_string_length(v) == 0)
        return "must not be empty";
    *(const char **)place = json_string_value(v);
    return NULL;
}

static const char *read_choice(void *place, const struct field *f, const json_t *v, struct err_text *say) {
    for (size_t i = 0; json_is_string(v) && f->choices[i]; i++) {
        if (strcmp(json_string_value(v), f->choices[i]) == 0) {
            *(const char **)place = f->choices[i];
            return NULL;
        }
    }
    size_t n = (size_t)snprintf(say->s, sizeof say->s, "is none of");
    for (size_t i = 0; f->choices[i] && n < sizeof say->s; i++)
        n += (size_t)snprintf(say->s + n, sizeof say->s - n, "%s %s", i ? "," : "", f->choices[i]);
    return say->s;
}

static const char *read_bool(void *place, const struct field *f, const json_t *v, struct err_text *say) {
    (void)say;
    (void)f;
    if (!json_is_boolean(v))
        return "must be true or false";
    *(bool *)place = json_is_true(v);
    return NULL;
}

static const char *read_tri(void *place, const struct field *f, const json_t *v, struct err_text *say) {
    (void)say;
    (void)f;
    if (!json_is_boolean(v) && !json_is_null(v))
        return "must be true, false or null";
    *(int *)place = json_is_null(v) ? -1 : json_is_true(v);
    return NULL;
}

static const char *read_number(void *place, const struct field *f, const json_t *v, struct err_text *say) {
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > (json_int_t)f->max)
        return said(say, "must be a whole number of 1 to %zu", f->max);
    *(long long *)place = json_integer_value(v);
    return NULL;
}

static const char *read_time(void *place, const struct field *f, const json_t *v, struct err_text *say) {
    (void)say;
    (void)f;
    if (json_is_number(v) && json_number_value(v) >= 0 && json_number_value(v) < 1e15) {
        *(uint64_t *)place = (uint64_t)json_number_value(v);
        return NULL;
    }
    if (json_is_string(v) && clock_rfc3339_parse(place, json_string_value(v)) == 0)
        return NULL;
    return "must be a time as RFC 3339 writes it";
}

static const char *read_object(void *place, const struct field *f, const json_t *v, struct err_text *say) {
    (void)say;
    (void)f;
    if (!json_is_object(v))
        return "must be an object";
    *(const json_t **)place = v;
    return NULL;
}

static const field_reader readers[] = {
    [FIELD_TEXT] = read_text,     [FIELD_CHOICE] = read_choice, [FIELD_BOOL] = read_bool,    [FIELD_TRI] = read_tri,
    [FIELD_NUMBER] = read_number, [FIELD_TIME] = read_time,     [FIELD_OBJECT] = read_object};

static int complain(struct field_error *fe, const char *prefix, const char *name, const char *mistake) {
    if (fe) {
        snprintf(fe->field, sizeof fe->field, "%s%s", prefix, name);
        err_say(&fe->text, E_MALFORMED, "%s %s", fe->field, mistake);
    }
    return E_MALFORMED;
}

int fields_read(void *out, const json_t *o, const struct field *table, size_t count, const char *prefix,
                struct field_error *fe) {
    struct err_text say;
    for (size_t i = 0; i < count; i++) {
        const struct field *f = &table[i];
        const json_t *v = json_object_get(o, f->name);
        if (!v || (json_is_null(v) && f->kind != FIELD_TRI)) {
            if (f->required)
                return complain(fe, prefix, f->name, "is missing");
            continue;
        }
        const char *mistake = readers[f->kind]((char *)out + f->offset, f, v, &say);
        if (mistake)
            return complain(fe, prefix, f->name, mistake);
    }
    return 0;
}
