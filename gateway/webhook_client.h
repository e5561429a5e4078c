/* SPDX-License-Identifier: Apache-2.0 */
/* POSTs to webhooks, by libcurl on the loop; the only file pair of the gateway that includes it. HTTPS alone, no
 * redirects, no proxy, certificates checked, and unless it is allowed no connection to an address that is not public:
 * what is judged is the address that is connected to, whatever the name said before. Thread: loop. */
#ifndef GATEWAY_WEBHOOK_CLIENT_H
#define GATEWAY_WEBHOOK_CLIENT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct webhook_client;
struct webhook_post; /* one on its way */

int webhook_client_new(struct webhook_client **cp, uv_loop_t *loop);
/* Cuts off what is on its way, without a callback. Its handles end on the loop, and it with them. */
void webhook_client_close(struct webhook_client *c);

struct webhook_message {
    const char *url, *ca_file; /* ca_file NULL: the system's */
    bool allow_private;
    const char *id, *signature, *body;
    uint64_t timestamp_s;
};
struct webhook_result {
    int status;             /* 0: no answer, and detail says why */
    uint64_t retry_after_s; /* 0: not said */
    const char *detail;     /* lives until the callback returns */
};
/* Nothing of m is kept. cb comes once, from the loop, never from within. Returns NULL when memory is out. */
struct webhook_post *webhook_post(struct webhook_client *c, const struct webhook_message *m,
                                  void (*cb)(const struct webhook_result *r, void *arg), void *arg);
/* No callback any more. */
void webhook_post_cancel(struct webhook_post *p);

#endif
