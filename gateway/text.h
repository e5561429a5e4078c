/* SPDX-License-Identifier: Apache-2.0 */
/* Text from outside on its way into JSON: always valid UTF-8, always bounded. Thread: any. */
#ifndef GATEWAY_TEXT_H
#define GATEWAY_TEXT_H

#include "base/buf.h"

#include <stddef.h>

/* Copy for display on a phone: broken UTF-8 becomes U+FFFD, control characters become spaces, and what does not fit is
 * cut between characters. out is NUL-terminated; cap includes the NUL. Returns the length. */
size_t text_clean(char *out, size_t cap, const char *in, size_t len);

/* Mend a JSON text that a strict parser refuses for its characters alone: broken UTF-8, \u0000 and halves of surrogate
 * pairs become U+FFFD. Everything else stays. */
void text_mend_json(struct buf *out, const char *in, size_t len);

/* How deep arrays and objects go in a JSON text, 0: there are none. Of what is no JSON, at least as deep as a parser
 * goes before it sees that. */
size_t text_json_depth(const char *p, size_t len);

/* s as a JSON string with its quotes; s must be valid UTF-8. */
void text_json_string(struct buf *out, const char *s);

#endif
