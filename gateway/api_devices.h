/* SPDX-License-Identifier: Apache-2.0 */
/* REST handlers of devices, and of the gateway's own state. Thread: loop. */
#ifndef GATEWAY_API_DEVICES_H
#define GATEWAY_API_DEVICES_H

#include "gateway/devices_priv.h"
#include "gateway/http.h"

struct api_devices {
    struct http *http;
    struct devices *devices;
    const struct config *config;
};

extern const struct http_route api_devices_routes[]; /* arg: struct api_devices */
extern const size_t api_devices_route_count;

#endif
