/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's own state over HTTP: liveness, readiness, metrics, the API's description. Thread: loop. */
#ifndef GATEWAY_API_SYSTEM_H
#define GATEWAY_API_SYSTEM_H

#include "dtls/media.h"
#include "gateway/http.h"
#include "gateway/push_service.h"
#include "gateway/store.h"

struct api_system {
    struct http *http;
    struct metrics *metrics;
    const struct store *store;
    const struct media *media;
    const struct push_service *pushes;
    bool draining;
};

extern const struct http_route api_system_routes[]; /* arg: struct api_system */
extern const size_t api_system_route_count;

#endif
