/* SPDX-License-Identifier: Apache-2.0 */
/* REST handlers of the must-report ledger: the report, and a device's pushes. Thread: loop. */
#ifndef GATEWAY_API_REPORTS_H
#define GATEWAY_API_REPORTS_H

#include "gateway/http.h"
#include "gateway/store.h"

struct api_reports {
    struct http *http;
    struct store *store;
};

extern const struct http_route api_reports_routes[]; /* arg: struct api_reports */
extern const size_t api_reports_route_count;

#endif
