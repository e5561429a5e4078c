/* SPDX-License-Identifier: Apache-2.0 */
/* REST handlers of dead letters: events that a webhook did not take in all its attempts. Thread: loop. */
#ifndef GATEWAY_API_WEBHOOKS_H
#define GATEWAY_API_WEBHOOKS_H

#include "gateway/http.h"
#include "gateway/store.h"
#include "gateway/webhooks.h"

struct api_webhooks {
    struct http *http;
    struct store *store;
    struct webhooks *webhooks;
};

extern const struct http_route api_webhooks_routes[]; /* arg: struct api_webhooks */
extern const size_t api_webhooks_route_count;

#endif
