/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for one HTTP/2 session: what it gives back is kept for its next request, so that a push costs no allocation
 * once the session has seen its busiest moment. Thread: one. */
#ifndef APNS_APNS_MEM_H
#define APNS_APNS_MEM_H

#include <stddef.h>

#define APNS_MEM_CLASSES 12 /* blocks of 64 bytes << class; larger ones come from malloc and go back to it */

struct apns_mem_block;

/* Zeroed: empty. */
struct apns_mem {
    struct apns_mem_block *spare[APNS_MEM_CLASSES];
};

/* As malloc, free, calloc and realloc. */
void *apns_mem_get(struct apns_mem *m, size_t size);
void apns_mem_put(struct apns_mem *m, void *p);
void *apns_mem_zeroed(struct apns_mem *m, size_t count, size_t size);
void *apns_mem_resize(struct apns_mem *m, void *p, size_t size);
/* Release what is spare; all blocks must have been put back. */
void apns_mem_free(struct apns_mem *m);

#endif
