/* SPDX-License-Identifier: Apache-2.0 */
/* Time. Protocol code takes `now` as an argument; only loops and programs read the clock. Thread: any. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_us(void); /* CLOCK_MONOTONIC, microseconds */
uint64_t clock_mono_ms(void); /* CLOCK_MONOTONIC, milliseconds */
uint64_t clock_wall_ms(void); /* Unix time, milliseconds */
uint64_t clock_wall_us(void); /* Unix time, microseconds */

#define CLOCK_RFC3339_BYTES 32 /* "2026-01-02T03:04:05.678Z" and the NUL */

/* RFC 3339 in UTC with milliseconds. Returns out. */
char *clock_rfc3339(char out[static CLOCK_RFC3339_BYTES], uint64_t wall_ms);
/* Parse RFC 3339 (offset and fraction allowed) into Unix milliseconds. Returns 0 or E_MALFORMED. */
int clock_rfc3339_parse(uint64_t *wall_ms, const char *s);

#endif
