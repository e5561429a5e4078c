/* SPDX-License-Identifier: Apache-2.0 */
/* What push_service.c (the service) and push_apps.c (the configuration's credentials) share. */
#ifndef GATEWAY_PUSH_SERVICE_PRIV_H
#define GATEWAY_PUSH_SERVICE_PRIV_H

#include "gateway/credential.h"
#include "gateway/push_service.h"

#define PUSH_ALARMS            (APNS_ALARM_BUG + 1)
#define PUSH_SEALED_NAME_BYTES 64
#define PUSH_NAME_BYTES        96 /* an app's name has 64 characters at most */

/* An app in one environment. */
struct push_entry {
    char app[PUSH_NAME_BYTES], name[PUSH_NAME_BYTES];
    bool sandbox;
    char sealed_name[PUSH_SEALED_NAME_BYTES]; /* of its provider token; "": it has none */
    char *host;
    unsigned port;
    uint8_t print[CREDENTIAL_PRINT_BYTES]; /* of all that its credential is made of */
    struct apns_credential *credential;
    uint64_t alarmed_ms[PUSH_ALARMS]; /* Unix */
    struct push_entry *prev, *next;
};

struct push_service {
    struct apns *apns;
    struct metrics *metrics;
    struct store *store;
    const struct seal *seal;
    struct push_entry *entries;
    struct push_entry *leaving; /* the configuration has them no more, but calls may still push by them */
    void (*done)(void *arg);
    void *done_arg;
};

/* NULL: there is none. */
struct push_entry *push_entry_find(const struct push_service *p, const char *app, bool sandbox);
/* Its credential stays. */
void push_entry_free(struct push_entry *e);

#endif
