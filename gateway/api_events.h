/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/events. Thread: loop. */
#ifndef GATEWAY_API_EVENTS_H
#define GATEWAY_API_EVENTS_H

#include "gateway/events.h"
#include "gateway/http.h"

struct api_events {
    struct http *http;
    struct events *events;
};

extern const struct http_route api_events_routes[]; /* arg: struct api_events */
extern const size_t api_events_route_count;

#endif
