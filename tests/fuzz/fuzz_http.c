/* SPDX-License-Identifier: Apache-2.0 */
/* What a request's headers and query may hold: lists of entity tags, and cursors. */
#include "gateway/http.h"
#include "gateway/page.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char tag[] = "\"0aa17b6e2ac4d2ae6b5fba5b6f1ab6e4\"";
    char *text = malloc(size + sizeof tag + 1), cursor[PAGE_CURSOR_BYTES]; /* of that size, for the address sanitizer */
    struct page_cursor c, again;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    check(!http_etag_listed(text, tag, false) || http_etag_listed(text, tag, true));
    if (page_cursor_read(&c, text) && *text) {
        check(page_cursor_read(&again, page_cursor_write(cursor, c.before_ms, c.before_id)));
        check(c.before_ms == again.before_ms && strcmp(c.before_id, again.before_id) == 0);
    }
    /* Whatever comes behind it, the first of a list is found. */
    memcpy(text, tag, sizeof tag - 1);
    text[sizeof tag - 1] = ',';
    memcpy(text + sizeof tag, data, size);
    text[size + sizeof tag] = 0;
    check(http_etag_listed(text, tag, false));
    free(text);
    return 0;
}
