/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/phone_busy.h"

#include "base/clock.h"
#include "tests/peers/peer_json.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct phone_busy {
    struct phone_busy *prev, *next, **list;
    const struct phone_config *cfg;
    struct peer_ws *ws;
    json_t *push; /* the payload's "wakegate" object */
};

static void send_json(struct peer_ws *w, json_t *message) {
    char *text = json_dumps(message, JSON_COMPACT);
    if (text)
        peer_ws_send(w, text, strlen(text));
    free(text);
    json_decref(message);
}

static void on_open(void *arg) {
    struct phone_busy *b = arg;
    send_json(b->ws, json_pack("{s:s,s:s,s:s,s:s,s:b}", "type", "hello", "device", b->cfg->device, "token",
                               peer_text(b->push, "token"), "call", peer_text(b->push, "call"), "on_call", 1));
}

static void refuse(struct phone_busy *b) {
    char at[CLOCK_RFC3339_BYTES];
    bool known;
    bool must = phone_must_report(b->cfg->os_version, b->cfg->foreground, true, clock_wall_ms(), 0, &known);
    send_json(b->ws,
              json_pack("{s:s,s:s,s:s,s:o,s:b,s:s,s:s}", "type", "receipt", "call", peer_text(b->push, "call"), "push",
                        peer_text(b->push, "push"), "must_report", known ? json_boolean(must) : json_null(), "on_call",
                        1, "received_at", clock_rfc3339(at, clock_wall_ms()), "reported", known ? "none" : b->cfg->ui));
    send_json(b->ws,
              json_pack("{s:s,s:s,s:s}", "type", "decline", "call", peer_text(b->push, "call"), "reason", "busy"));
    peer_ws_close(b->ws);
}

static void on_text(const char *text, size_t len, void *arg) {
    json_t *m = json_loadb(text, len, 0, NULL);
    if (strcmp(peer_text(m, "type"), "welcome") == 0)
        refuse(arg);
    json_decref(m);
}

static void busy_free(struct phone_busy *b) {
    DL_DELETE(*b->list, b);
    json_decref(b->push);
    free(b);
}

static void on_closed(const char *why, void *arg) {
    (void)why;
    busy_free(arg);
}

void phone_busy_new(struct phone_busy **list, struct peer_net *net, const struct phone_config *cfg,
                    const json_t *payload) {
    static const struct peer_ws_ops ops = {on_open, on_text, on_closed};
    struct phone_busy *b = calloc(1, sizeof *b);
    if (!b)
        return;
    b->list = list;
    b->cfg = cfg;
    b->push = json_deep_copy(json_object_get(payload, "wakegate"));
    DL_APPEND(*list, b);
    if (peer_ws_connect(&b->ws, net, peer_text(b->push, "attach"), "wakegate.v1", &ops, b) != 0)
        busy_free(b);
}

void phone_busy_free_all(struct phone_busy **list) {
    struct phone_busy *b, *next;
    DL_FOREACH_SAFE(*list, b, next) {
        busy_free(b);
    }
}
