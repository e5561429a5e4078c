/* SPDX-License-Identifier: Apache-2.0 */
/* What became of many pushes: counts by verdict, error and tries, and how long they took. Thread: one. */
#ifndef TESTS_LOAD_PUSH_TALLY_H
#define TESTS_LOAD_PUSH_TALLY_H

#include "apns/apns.h"

#include <stdio.h>

struct push_tally;

/* For so many pushes; the times of the first warm_up are not looked at. Returns NULL when memory is out. */
struct push_tally *push_tally_new(unsigned pushes, unsigned warm_up);
struct push_tally *push_tally_free(struct push_tally *t);
/* Push number `push` (below `pushes`) was taken, and its deadline (monotonic). */
void push_tally_sent(struct push_tally *t, unsigned push, uint64_t deadline_ms);
/* One was not taken; err: why. */
void push_tally_not_taken(struct push_tally *t, int err);
/* Its result; more than one for a push is counted. */
void push_tally_result(struct push_tally *t, unsigned push, const struct apns_result *r, uint64_t now_ms);
void push_tally_alarm(struct push_tally *t, enum apns_alarm alarm);
/* Those without a result until now hang. */
void push_tally_end(struct push_tally *t);
unsigned push_tally_under_way(const struct push_tally *t);
/* Nothing hangs, and nothing had two results. */
bool push_tally_whole(const struct push_tally *t);
/* One line of JSON:
 *   sent, results, twice, hung        pushes taken; results; those with several; those without one
 *   not_taken, verdicts, errors       objects: how often each; not_taken and errors by err_str
 *   tries                             array: how many pushes went out 0, 1, 2, 3 or more times
 *   hedged, alarms                    numbers
 *   over_ms                           how long after its deadline the latest result came; 0: none did
 *   answer_us, queue_us               {p50, p99, max} of what was accepted: taken to answered, taken to written */
void push_tally_print(struct push_tally *t, FILE *out);

#endif
