/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool page_cursor_read(struct page_cursor *c, const char *text) {
    char time[PAGE_CURSOR_BYTES];
    const char *dot = strchr(text, '.');
    *c = (struct page_cursor){0};
    if (!*text)
        return true;
    if (!dot || dot - text >= (ptrdiff_t)sizeof time || !uuid_valid(dot + 1))
        return false;
    snprintf(time, sizeof time, "%.*s", (int)(dot - text), text);
    uuid_lower(c->before_id, dot + 1);
    return decimal_parse(&c->before_ms, time) && c->before_ms > 0;
}

char *page_cursor_write(char out[static PAGE_CURSOR_BYTES], uint64_t at_ms, const char *id) {
    snprintf(out, PAGE_CURSOR_BYTES, "%" PRIu64 ".%s", at_ms, id);
    return out;
}
