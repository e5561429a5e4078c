/* SPDX-License-Identifier: Apache-2.0 */
/* JSON objects into structs, by tables: each field has a kind, bounds and a place. Unknown fields are left alone, so
 * that newer peers can say more. Thread: any. */
#ifndef GATEWAY_FIELDS_H
#define GATEWAY_FIELDS_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define FIELD_NAME_BYTES 64

enum field_kind {
    FIELD_TEXT,   /* const char *; max: bytes */
    FIELD_CHOICE, /* const char *, one of `choices` */
    FIELD_BOOL,   /* bool */
    FIELD_TRI,    /* int: 1, 0, -1 for null */
    FIELD_NUMBER, /* long long, 1..max */
    FIELD_TIME,   /* uint64_t, Unix milliseconds: an RFC 3339 string or a number */
    FIELD_OBJECT  /* const json_t * */
};

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
    bool required;
    size_t max;
    const char *const *choices; /* ends with NULL */
};

struct field_error {
    char field[FIELD_NAME_BYTES]; /* "caller.name" */
    struct err_text text;         /* a sentence */
};

/* Fill out from o. A field that is absent or null keeps what out holds (FIELD_TRI: null is -1). Texts and objects
 * belong to o. prefix: "" or "caller.". Returns 0, or E_MALFORMED and fe (may be NULL). */
int fields_read(void *out, const json_t *o, const struct field *table, size_t count, const char *prefix,
                struct field_error *fe);

#endif
