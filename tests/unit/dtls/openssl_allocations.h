/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what OpenSSL allocates: CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free), before
 * anything else of it is called. */
#ifndef TESTS_UNIT_DTLS_OPENSSL_ALLOCATIONS_H
#define TESTS_UNIT_DTLS_OPENSSL_ALLOCATIONS_H

#include <stddef.h>
#include <stdlib.h>

static unsigned allocations; /* of OpenSSL */

static void *counted_malloc(size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    allocations++;
    return malloc(n);
}

static void *counted_realloc(void *p, size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    allocations++;
    return realloc(p, n);
}

static void counted_free(void *p, const char *file, int line) {
    (void)file;
    (void)line;
    free(p);
}

#endif
