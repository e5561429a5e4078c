/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_request.h"

#include "base/clock.h"
#include "tests/peers/peer_json.h"

#include <assert.h>
#include <stdio.h>

static void on_pool(uv_work_t *work) {
    struct peer_request *r = work->data;
    r->began_us = clock_mono_us();
    r->status = peer_http_call(r->http, r->method, r->path, r->body, &r->reply, &r->error);
    r->ended_us = clock_mono_us();
}

static void on_done(uv_work_t *work, int status) {
    struct peer_request *r = work->data;
    json_t *reply = r->reply;
    (void)status; /* nothing cancels the work */
    json_decref(r->body);
    r->body = NULL;
    r->busy = false;
    /* cb may start the next request, or free r. */
    r->cb(r, r->arg);
    json_decref(reply);
}

void peer_request_start(struct peer_request *r, uv_loop_t *loop, const struct peer_http *http, const char *method,
                        const char *path, json_t *body, peer_request_cb cb, void *arg) {
    assert(!r->busy);
    r->work.data = r;
    r->http = http;
    r->method = method;
    snprintf(r->path, sizeof r->path, "%s", path);
    r->body = body;
    r->cb = cb;
    r->arg = arg;
    r->reply = NULL;
    r->error.s[0] = 0;
    r->busy = true;
    uv_queue_work(loop, &r->work, on_pool, on_done);
}

void peer_request_problem(const struct peer_request *r, struct err_text *et) {
    const char *detail = peer_text(r->reply, "detail"), *field = peer_text(r->reply, "field");
    if (r->status < 0)
        err_say(et, E_IO, "%s", r->error.s);
    else
        err_say(et, E_DENIED, "%s %s answered %d%s%s: %s", r->method, r->path, r->status, *field ? ", field " : "",
                field, *detail ? detail : "no reason given");
}
