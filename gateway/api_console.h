/* SPDX-License-Identifier: Apache-2.0 */
/* The console: the page at / and its files under /console/, which are gateway/console/, built into the program.
 * There is no data in them, so they need no token; what the page shows it asks the API for. Thread: loop. */
#ifndef GATEWAY_API_CONSOLE_H
#define GATEWAY_API_CONSOLE_H

#include "gateway/http.h"

struct api_console {
    struct http *http;
    const struct config *config; /* listen.console: false, and there is none */
};

extern const struct http_route api_console_routes[]; /* arg: struct api_console */
extern const size_t api_console_route_count;

#endif
