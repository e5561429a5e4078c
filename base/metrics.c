/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include "base/err.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

static const uint64_t bucket_us[] = {100,    200,    500,    1000,    2000,    5000,    10000,    20000,    50000,
                                     100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000, 30000000, 60000000};
#define BUCKETS (sizeof bucket_us / sizeof *bucket_us)

struct metric {
    struct metric *next;
    char *labels;
    _Atomic int64_t value; /* counter and gauge; histogram: the count */
    _Atomic uint64_t sum_us;
    _Atomic uint64_t buckets[BUCKETS];
};

struct family {
    struct family *next;
    char *name, *help;
    enum kind kind;
    struct metric *metrics;
};

struct metrics {
    struct family *families;
};

int metrics_new(struct metrics **mp) {
    *mp = calloc(1, sizeof **mp);
    return *mp ? 0 : E_NOMEM;
}

static void family_free(struct family *f) {
    while (f->metrics) {
        struct metric *c = f->metrics;
        f->metrics = c->next;
        free(c->labels);
        free(c);
    }
    free(f->name);
    free(f->help);
    free(f);
}

struct metrics *metrics_free(struct metrics *m) {
    while (m && m->families) {
        struct family *f = m->families;
        m->families = f->next;
        family_free(f);
    }
    free(m);
    return NULL;
}

static struct family *family_get(struct metrics *m, const char *name, const char *help, enum kind kind) {
    struct family **at = &m->families;
    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->name, name) == 0)
            return (*at)->kind == kind ? *at : NULL;
    struct family *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->name = strdup(name);
    f->help = strdup(help);
    f->kind = kind;
    if (!f->name || !f->help) {
        family_free(f);
        return NULL;
    }
    *at = f;
    return f;
}

static struct metric *metric_get(struct metrics *m, const char *name, const char *help, const char *labels,
                                 enum kind kind) {
    struct family *f = m ? family_get(m, name, help, kind) : NULL;
    if (!f)
        return NULL;
    struct metric **at = &f->metrics;
    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->labels, labels) == 0)
            return *at;
    struct metric *c = calloc(1, sizeof *c);
    if (c && !(c->labels = strdup(labels))) {
        free(c);
        c = NULL;
    }
    *at = c;
    return c;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *help, const char *labels) {
    return metric_get(m, name, help, labels, KIND_COUNTER);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help, const char *labels) {
    return metric_get(m, name, help, labels, KIND_GAUGE);
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help, const char *labels) {
    return metric_get(m, name, help, labels, KIND_HISTOGRAM);
}

void metric_add(struct metric *c, uint64_t n) {
    if (c)
        atomic_fetch_add_explicit(&c->value, (int64_t)n, memory_order_relaxed);
}

void metric_set(struct metric *g, int64_t v) {
    if (g)
        atomic_store_explicit(&g->value, v, memory_order_relaxed);
}

void metric_observe_us(struct metric *h, uint64_t us) {
    if (!h)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        if (us <= bucket_us[i]) {
            atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);
            break;
        }
    }
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->value, 1, memory_order_relaxed);
}

uint64_t metric_value(const struct metric *c) {
    return c ? (uint64_t)atomic_load_explicit(&c->value, memory_order_relaxed) : 0;
}

char *metrics_escape(char *out, size_t cap, const char *value) {
    size_t n = 0;
    for (; *value && n + 2 < cap; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n')
            out[n++] = '\\';
        out[n++] = *value == '\n' ? 'n' : *value;
    }
    out[n] = 0;
    return out;
}

static void render_histogram(const struct family *f, const struct metric *h, struct buf *out) {
    const char *comma = h->labels[0] ? "," : "", *open = h->labels[0] ? "{" : "", *close = h->labels[0] ? "}" : "";
    uint64_t cumulated = 0, count = metric_value(h);
    for (size_t i = 0; i < BUCKETS; i++) {
        cumulated += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        buf_addf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", f->name, h->labels, comma, (double)bucket_us[i] / 1e6,
                 cumulated);
    }
    /* An observation may land between the reads: +Inf is never below the last bucket. */
    count = count < cumulated ? cumulated : count;
    buf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", f->name, h->labels, comma, count);
    buf_addf(out, "%s_sum%s%s%s %.6f\n", f->name, open, h->labels, close,
             (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6);
    buf_addf(out, "%s_count%s%s%s %" PRIu64 "\n", f->name, open, h->labels, close, count);
}

void metrics_render(const struct metrics *m, struct buf *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (const struct family *f = m->families; f; f = f->next) {
        buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, kinds[f->kind]);
        for (const struct metric *c = f->metrics; c; c = c->next) {
            if (f->kind == KIND_HISTOGRAM)
                render_histogram(f, c, out);
            else
                buf_addf(out, "%s%s%s%s %" PRId64 "\n", f->name, c->labels[0] ? "{" : "", c->labels,
                         c->labels[0] ? "}" : "", (int64_t)metric_value(c));
        }
    }
}
