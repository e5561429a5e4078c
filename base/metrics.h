/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, gauges and histograms, rendered as Prometheus text (exposition format 0.0.4).
 * Thread: creation and rendering on the loop; add/set/observe on any thread (relaxed atomics). */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/buf.h"

#include <stdint.h>

struct metrics;
struct metric; /* owned by its registry, lives as long as it */

int metrics_new(struct metrics **mp);
struct metrics *metrics_free(struct metrics *m);

/* The metric of this name and label pair list; made on first use. labels: "reason=\"BadTopic\",app=\"vcs\"" or "" (the
 * caller escapes values with metrics_escape). Returns NULL only when memory is out, and every call below takes NULL. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help, const char *labels);
/* Buckets in seconds: 0.1 ms .. 60 s, doubling-ish. */
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help, const char *labels);

void metric_add(struct metric *c, uint64_t n);
void metric_set(struct metric *g, int64_t v);
void metric_observe_us(struct metric *h, uint64_t us);
uint64_t metric_value(const struct metric *c);

/* Escape a label value into out (backslash, quote, newline), cut at cap. Returns out. */
char *metrics_escape(char *out, size_t cap, const char *value);
void metrics_render(const struct metrics *m, struct buf *out);

#endif
