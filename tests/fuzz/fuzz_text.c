/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes on their way into JSON: valid UTF-8 comes out, and a parser takes it as a string. */
#include "base/bytes.h"
#include "gateway/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_BYTES 24
#define LARGE_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

static void clean(const char *in, size_t len, size_t cap) {
    char *out = malloc(cap); /* of that size, for the address sanitizer */
    struct buf quoted = {0};
    if (!out)
        return;
    size_t n = text_clean(out, cap, in, len);
    check(n < cap && out[n] == 0 && strlen(out) == n && utf8_valid(out, n));
    text_json_string(&quoted, out);
    json_t *j = json_loadb(quoted.p, quoted.len, JSON_DECODE_ANY, NULL);
    check(j && strcmp(json_string_value(j), out) == 0);
    json_decref(j);
    buf_free(&quoted);
    free(out);
}

static size_t depth_of(const json_t *v) {
    size_t most = 0, n, i;
    const char *key;
    json_t *inside;
    json_array_foreach(v, i, inside) {
        n = depth_of(inside);
        most = n > most ? n : most;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, inside) {
        n = depth_of(inside);
        most = n > most ? n : most;
    }
    return json_is_array(v) || json_is_object(v) ? most + 1 : most;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *in = (const char *)data;
    struct buf mended = {0}, again = {0};
    clean(in, size, SMALL_BYTES);
    clean(in, size, LARGE_BYTES);
    clean(in, size, 1);
    text_mend_json(&mended, in, size);
    check(utf8_valid(mended.p ? mended.p : "", mended.len));
    /* What a strict parser takes already stays as it is. */
    json_t *j = json_loadb(in, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (j)
        check(text_json_depth(in, size) == depth_of(j));
    if (j)
        check(mended.len == size && memcmp(mended.p, in, size) == 0);
    json_decref(j);
    text_mend_json(&again, mended.p ? mended.p : "", mended.len);
    check(again.len == mended.len && (again.len == 0 || memcmp(again.p, mended.p, again.len) == 0));
    buf_free(&again);
    buf_free(&mended);
    return 0;
}
