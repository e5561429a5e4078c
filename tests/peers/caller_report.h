/* SPDX-License-Identifier: Apache-2.0 */
/* How calls went, for people and for programs. Thread: one. */
#ifndef TESTS_PEERS_CALLER_REPORT_H
#define TESTS_PEERS_CALLER_REPORT_H

#include "tests/peers/caller.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The value that p percent (0..100) of the samples do not exceed (nearest rank); 0 of none. Sorts the samples. */
uint64_t caller_percentile(uint64_t *samples, size_t count, double p);

/* The call's timeline as a table: offset in ms, event, the other fields. */
void caller_print_timeline(FILE *out, const struct caller_result *r);
/* One JSON line. */
void caller_print_json(FILE *out, const struct caller_result *r);

/* All calls of a load; zeroed at first. */
struct caller_totals {
    size_t calls, ok, cap;
    uint64_t *created_us, *dtls_us, *first_packet_us; /* of the calls that got so far */
    size_t created, dtls, first_packet;
    struct err_text first_failure;
};

/* Room for so many calls. Returns 0 or E_NOMEM. */
int caller_totals_init(struct caller_totals *t, size_t calls);
void caller_totals_add(struct caller_totals *t, const struct caller_result *r);
/* One line, as JSON or as text. Sorts the samples. */
void caller_totals_print(FILE *out, struct caller_totals *t, bool json);
void caller_totals_free(struct caller_totals *t);

#endif
