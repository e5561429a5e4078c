/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors of lists that go from the newest row back: the last row's time and id. Thread: any. */
#ifndef GATEWAY_PAGE_H
#define GATEWAY_PAGE_H

#include "base/bytes.h"

#define PAGE_CURSOR_BYTES 80 /* "TIME.UUID"; one that is cut here is none */

struct page_cursor {
    uint64_t before_ms; /* Unix; 0: from the newest */
    char before_id[UUID_BYTES];
};

/* "" is from the newest. Returns whether it is a cursor. */
bool page_cursor_read(struct page_cursor *c, const char *text);
/* Returns out. */
char *page_cursor_write(char out[static PAGE_CURSOR_BYTES], uint64_t at_ms, const char *id);

#endif
