/* SPDX-License-Identifier: Apache-2.0 */
/* Objects addressed by slot + generation, so that a stale id finds nothing. Memory grows in chunks and objects never
 * move. Thread: one. */
#ifndef BASE_SLOTS_H
#define BASE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t slot_id; /* generation << 32 | slot; 0 is never a valid id */

struct slots;

/* max: at most this many objects live at once (1..1<<24). Returns 0, E_INVAL, E_NOMEM. */
int slots_new(struct slots **sp, size_t item_bytes, uint32_t max);
/* Returns NULL. The items' own resources must be gone. */
struct slots *slots_free(struct slots *s);
/* A zeroed item and its id. Returns NULL when max is reached or memory is out. */
void *slots_alloc(struct slots *s, slot_id *id);
/* The item, or NULL for a stale or unknown id. */
void *slots_get(const struct slots *s, slot_id id);
/* Wipes the item and retires the id; unknown ids are ignored. */
void slots_release(struct slots *s, slot_id id);
uint32_t slots_used(const struct slots *s);
/* Iterate: start with *cursor = 0; NULL at the end. The current item may be released while iterating. */
void *slots_next(const struct slots *s, uint32_t *cursor, slot_id *id);

#endif
