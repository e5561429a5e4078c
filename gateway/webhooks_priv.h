/* SPDX-License-Identifier: Apache-2.0 */
/* What webhooks.c (deliveries) and webhook_hooks.c (the configuration's webhooks) share. */
#ifndef GATEWAY_WEBHOOKS_PRIV_H
#define GATEWAY_WEBHOOKS_PRIV_H

#include "gateway/webhook_client.h"
#include "gateway/webhook_rules.h"
#include "gateway/webhooks.h"

#define WEBHOOK_ID_BYTES 64

/* A delivery that was read from the store, until the store knows how it went. */
struct flight {
    struct hook *hook;
    uint64_t id, started_us;
    unsigned attempts;
    char message_id[WEBHOOK_ID_BYTES];
    char *body;
    struct webhook_post *post; /* NULL: it waits, or its result is on its way to the store */
    bool over;
    struct flight *prev, *next;
};

struct hook {
    struct webhooks *owner;
    char *name, *url, *ca_file, *tenant; /* ca_file: NULL, the system's */
    bool allow_private, disabled;
    unsigned types, *retry_s, retry_count;
    struct webhook_secret secret;
    struct flight *flights;
    unsigned count, active;
    bool asked, more; /* more: the store may have some that are due */
    uint64_t pending, drop_logged_ms;
    struct metric *m_delivered, *m_failed, *m_dead, *m_dropped, *m_pending;
    struct hook *prev, *next;
};

struct pending {
    char *name;
    uint64_t count;
    struct pending *next;
};

struct webhooks {
    struct webhooks_deps d;
    struct webhook_client *client;
    struct hook *hooks;
    uv_timer_t timer;
    unsigned ticks;
    bool closing;
    struct metric *m_seconds;
    struct pending *pending; /* what the store had at start, or when the webhook was in the configuration last */
};

/* NULL: there is none of that name. */
struct hook *webhooks_find(const struct webhooks *w, const char *name);
/* Cuts off what is on its way. */
void webhook_flight_free(struct flight *f);
/* The webhooks of the list and the list end. */
void webhook_hooks_free(struct hook **list);
/* So many deliveries of this webhook are in the store. Without memory: none, and they are found later. */
void webhooks_note_pending(const char *webhook, uint64_t count, void *w);
/* What is due goes out, now and from now on. Stops where there is no webhook. */
void webhooks_run(struct webhooks *w);

#endif
