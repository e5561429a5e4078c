/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/http_priv.h"
#include "gateway/text.h"

#include <stdio.h>
#include <string.h>

#define KEY_BYTES 65 /* of a key that is told, and the NUL */

/* The string that ends at p + end, without its quotes and cut. */
static const char *string_before(char out[static KEY_BYTES], const char *p, size_t end) {
    size_t close = end > 0 && p[end - 1] == '"' ? end - 1 : 0, open = close;
    while (open > 0 && (p[open - 1] != '"' || (open > 1 && p[open - 2] == '\\')))
        open--;
    text_clean(out, KEY_BYTES, p + open, close - open);
    return out;
}

static void refuse_json(struct http *h, http_id id, const char *p, const json_error_t *why) {
    char key[KEY_BYTES];
    switch (json_error_code(why)) {
    case json_error_duplicate_key:
        string_before(key, p, (size_t)why->position);
        http_problem(h, id, 400, "bad-json", key, "the body has the key \"%s\" twice: line %d, column %d", key,
                     why->line, why->column);
        return;
    case json_error_end_of_input_expected:
        http_problem(h, id, 400, "bad-json", NULL, "something follows the JSON object: line %d, column %d", why->line,
                     why->column);
        return;
    case json_error_premature_end_of_input:
        http_problem(h, id, 400, "bad-json", NULL, "the body ends before its JSON does: line %d, column %d", why->line,
                     why->column);
        return;
    default:
        http_problem(h, id, 400, "bad-json", NULL, "the body is not JSON: line %d, column %d: %s", why->line,
                     why->column, why->text);
    }
}

/* Returns 0, or it was replied to. */
static int check_body(struct http *h, const struct http_request *r) {
    const char *nul = memchr(r->body, 0, r->body_len);
    if (!http_content_is(r, "application/json")) {
        http_problem(h, r->id, 415, "unsupported-media-type", "content-type", "application/json is expected");
        return E_UNSUPPORTED;
    }
    if (r->body_len == 0)
        http_problem(h, r->id, 400, "bad-json", NULL, "the body is empty; a JSON object is expected");
    else if (nul)
        http_problem(h, r->id, 400, "bad-json", NULL, "the body has a NUL byte: its byte %zu",
                     (size_t)(nul - r->body) + 1);
    else if (text_json_depth(r->body, r->body_len) > HTTP_JSON_DEPTH_MAX)
        http_problem(h, r->id, 400, "bad-json", NULL, "the body is nested more than %d levels deep",
                     HTTP_JSON_DEPTH_MAX);
    else
        return 0;
    return E_MALFORMED;
}

json_t *http_json_body(struct http *h, const struct http_request *r) {
    json_error_t why;
    struct buf mended = {0};
    if (check_body(h, r) != 0)
        return NULL;
    const char *p = r->body;
    json_t *o = json_loadb(p, r->body_len, JSON_REJECT_DUPLICATES, &why);
    if (!o) { /* a caller's name in broken UTF-8 is no reason not to ring */
        text_mend_json(&mended, r->body, r->body_len);
        p = mended.p ? mended.p : "";
        o = json_loadb(p, mended.len, JSON_REJECT_DUPLICATES, &why);
    }
    if (!o)
        refuse_json(h, r->id, p, &why);
    else if (!json_is_object(o))
        http_problem(h, r->id, 400, "bad-json", NULL, "the body is not a JSON object");
    buf_wipe(&mended);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}
