/* SPDX-License-Identifier: Apache-2.0 */
/* Is this JSON (RFC 8259), and an object? Looks, allocates nothing. Thread: any. */
#ifndef APNS_APNS_JSON_H
#define APNS_APNS_JSON_H

#include <stddef.h>

#define APNS_JSON_DEPTH_MAX 64 /* objects and arrays within each other */

/* NULL when good, else what is wrong, in static storage. */
const char *apns_json_object_check(const char *p, size_t len);

#endif
