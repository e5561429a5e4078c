/* SPDX-License-Identifier: Apache-2.0 */
/* One REST request at a time beside a running loop: peer_http_call on libuv's thread pool. Thread: the loop's. */
#ifndef TESTS_PEERS_PEER_REQUEST_H
#define TESTS_PEERS_PEER_REQUEST_H

#include "base/err.h"
#include "tests/peers/peer_http.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define PEER_PATH_BYTES 128 /* "/v1/calls/UUID/timeline" fits */

struct peer_request;

/* r->status, r->reply, r->error and the times are valid until it returns; it may start the next request with r. */
typedef void (*peer_request_cb)(struct peer_request *r, void *arg);

/* Embedded by its owner, zeroed at first; must stay in place while busy. */
struct peer_request {
    uv_work_t work;
    const struct peer_http *http;
    const char *method; /* static */
    char path[PEER_PATH_BYTES];
    json_t *body;
    peer_request_cb cb;
    void *arg;
    bool busy;

    int status; /* HTTP status, or E_IO with `error` */
    json_t *reply;
    struct err_text error;
    uint64_t began_us, ended_us; /* monotonic, on the thread that did it */
};

/* body is stolen; NULL: none. http must outlive the request. Only when not busy; cb comes once, from the loop. */
void peer_request_start(struct peer_request *r, uv_loop_t *loop, const struct peer_http *http, const char *method,
                        const char *path, json_t *body, peer_request_cb cb, void *arg);
/* One sentence on a reply that is not what was hoped for: the problem document's detail, status and field. */
void peer_request_problem(const struct peer_request *r, struct err_text *et);

#endif
