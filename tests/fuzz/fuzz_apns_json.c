/* SPDX-License-Identifier: Apache-2.0 */
/* A payload: what is taken for a JSON object is one for a parser too, and the other way round. */
#include "apns/apns_json.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

/* How deep the brackets of a good text are, outside of strings. */
static size_t depth_of(const char *p, size_t size) {
    size_t depth = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (quoted && p[i] == '\\')
            i++;
        else if (p[i] == '"')
            quoted = !quoted;
        else if (!quoted && (p[i] == '{' || p[i] == '['))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!quoted && (p[i] == '}' || p[i] == ']'))
            depth--;
    }
    return deepest;
}

/* The parser wants more than RFC 8259 does: surrogates in pairs, and numbers that fit. */
static bool strict_only(const char *p, size_t size, const json_error_t *why) {
    return json_error_code(why) == json_error_numeric_overflow || memmem(p, size, "\\ud", 3) ||
           memmem(p, size, "\\uD", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_error_t why;
    char *p = malloc(size ? size : 1); /* of that size, for the address sanitizer */
    if (!p)
        return 0;
    if (size)
        memcpy(p, data, size);
    const char *wrong = apns_json_object_check(p, size);
    json_t *o = json_loadb(p, size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    if (!wrong)
        check(json_is_object(o) || (!o && strict_only(p, size, &why)));
    else if (json_is_object(o))
        check(depth_of(p, size) > APNS_JSON_DEPTH_MAX || memchr(p, 0, size)); /* the parser takes 1<NUL> for a 1 */
    json_decref(o);
    free(p);
    return 0;
}
