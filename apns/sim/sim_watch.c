/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim_watch.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define IDS_MAX        200000 /* apns-ids that are remembered: some 25 MB */
#define PEERS_MAX      4096
#define EXAMPLES_MAX   20 /* of what broke an assertion */
#define EXAMPLE_FRAMES 16
#define CONNECT_MIN_MS 1000
#define ID_BYTES       37

struct seen_id {
    char id[ID_BYTES];
    uint64_t connection;
    UT_hash_handle hh;
};

struct seen_peer {
    char key[128];
    uint64_t last_ms;
    UT_hash_handle hh;
};

struct state {
    uint64_t checked, broken;
    json_t *examples;
};

struct sim_watch {
    struct sim_frame *frames;
    size_t frame_max, frame_count, frame_next;
    struct seen_id *ids;
    struct seen_peer *peers;
    struct state states[SIM_ASSERTIONS];
};

static const struct {
    const char *name, *text;
} names[SIM_ASSERTIONS] = {
    [SIM_ASSERT_ONCE] = {"answered_once", "no push is accepted twice"},
    [SIM_ASSERT_CONNECTS] = {"connect_rate", "at most one connection a second to one address"},
    [SIM_ASSERT_TOKENS] = {"token_changes", "never two provider tokens within 20 minutes on a connection"},
    [SIM_ASSERT_START] = {"one_stream_at_start", "one stream until SETTINGS and the first valid provider token"},
    [SIM_ASSERT_LIMIT] = {"stream_limit", "never more streams than the acknowledged SETTINGS allow"},
    [SIM_ASSERT_EXPIRED] = {"token_age", "no provider token older than an hour"}};

static const char *const types[] = {"DATA",         "HEADERS", "PRIORITY", "RST_STREAM",    "SETTINGS",
                                    "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW_UPDATE", "CONTINUATION"};

struct sim_watch *sim_watch_new(void) {
    return calloc(1, sizeof(struct sim_watch));
}

void sim_watch_reset(struct sim_watch *w) {
    struct seen_id *id, *next_id;
    struct seen_peer *peer, *next_peer;
    if (!w)
        return;
    HASH_ITER(hh, w->ids, id, next_id) {
        HASH_DEL(w->ids, id); /* NOLINT(clang-analyzer-*): what a uthash macro does */
        free(id);
    }
    HASH_ITER(hh, w->peers, peer, next_peer) {
        HASH_DEL(w->peers, peer); /* NOLINT(clang-analyzer-*): what a uthash macro does */
        free(peer);
    }
    for (int i = 0; i < SIM_ASSERTIONS; i++) {
        json_decref(w->states[i].examples);
        w->states[i] = (struct state){0};
    }
    w->frame_count = w->frame_next = 0;
}

struct sim_watch *sim_watch_free(struct sim_watch *w) {
    sim_watch_reset(w);
    if (w)
        free(w->frames);
    free(w);
    return NULL;
}

/* Frames */

void sim_watch_keep(struct sim_watch *w, size_t frames) {
    if (!w || w->frame_max == frames)
        return;
    free(w->frames);
    w->frames = frames ? calloc(frames, sizeof *w->frames) : NULL;
    w->frame_max = w->frames ? frames : 0;
    w->frame_count = w->frame_next = 0;
}

bool sim_watch_frames(const struct sim_watch *w) {
    return w && w->frame_max > 0;
}

void sim_watch_frame(struct sim_watch *w, const struct sim_frame *f) {
    if (!sim_watch_frames(w))
        return;
    w->frames[w->frame_next] = *f;
    w->frame_next = (w->frame_next + 1) % w->frame_max;
    w->frame_count += w->frame_count < w->frame_max;
}

static json_t *frame_json(const struct sim_frame *f) {
    char at[CLOCK_RFC3339_BYTES];
    return json_pack("{s:s,s:I,s:s,s:s,s:i,s:i,s:i,s:i}", "at", clock_rfc3339(at, f->at_ms), "connection",
                     (json_int_t)f->connection, "direction", f->out ? "out" : "in", "type",
                     f->type < sizeof types / sizeof *types ? types[f->type] : "UNKNOWN", "flags", (int)f->flags,
                     "stream", (int)f->stream, "length", (int)f->length, "code", (int)f->code);
}

static json_t *frames_array(const struct sim_watch *w, uint64_t connection, size_t limit) {
    json_t *list = json_array();
    for (size_t i = 0; i < w->frame_count && json_array_size(list) < limit; i++) {
        const struct sim_frame *f = &w->frames[(w->frame_next + w->frame_max - 1 - i) % w->frame_max];
        if (!connection || f->connection == connection)
            json_array_insert_new(list, 0, frame_json(f));
    }
    return list;
}

json_t *sim_watch_frames_json(const struct sim_watch *w, uint64_t connection, size_t limit) {
    return json_pack("{s:o}", "frames", w ? frames_array(w, connection, limit) : json_array());
}

/* Assertions */

void sim_watch_checked(struct sim_watch *w, enum sim_assertion a, uint64_t connection, uint64_t now_ms,
                       const char *detail) {
    char at[CLOCK_RFC3339_BYTES];
    if (!w)
        return;
    struct state *state = &w->states[a];
    state->checked++;
    if (!detail)
        return;
    state->broken++;
    if (!state->examples)
        state->examples = json_array();
    if (json_array_size(state->examples) < EXAMPLES_MAX)
        json_array_append_new(state->examples, json_pack("{s:s,s:I,s:s,s:o}", "at", clock_rfc3339(at, now_ms),
                                                         "connection", (json_int_t)connection, "detail", detail,
                                                         "frames", frames_array(w, connection, EXAMPLE_FRAMES)));
}

void sim_watch_accepted(struct sim_watch *w, const char *apns_id, uint64_t connection, uint64_t now_ms) {
    char detail[128];
    struct seen_id *seen;
    if (!w)
        return;
    HASH_FIND_STR(w->ids, apns_id, seen); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    if (seen) {
        snprintf(detail, sizeof detail, "%.36s was accepted on connection %llu before", apns_id,
                 (unsigned long long)seen->connection);
        sim_watch_checked(w, SIM_ASSERT_ONCE, connection, now_ms, detail);
        return;
    }
    sim_watch_checked(w, SIM_ASSERT_ONCE, connection, now_ms, NULL);
    if (HASH_COUNT(w->ids) >= IDS_MAX) { /* the first in the table is the oldest */
        seen = w->ids;
        HASH_DEL(w->ids, seen); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    } else {
        seen = calloc(1, sizeof *seen);
    }
    if (!seen)
        return;
    snprintf(seen->id, sizeof seen->id, "%.36s", apns_id);
    seen->connection = connection;
    HASH_ADD_STR(w->ids, id, seen);
}

void sim_watch_connect(struct sim_watch *w, const char *peer_ip, const char *address, uint64_t connection,
                       uint64_t now_ms) {
    char key[sizeof((struct seen_peer *)0)->key], detail[192];
    struct seen_peer *peer;
    if (!w)
        return;
    snprintf(key, sizeof key, "%.60s to %.60s", peer_ip, address);
    HASH_FIND_STR(w->peers, key, peer); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    bool early = peer && now_ms - peer->last_ms < CONNECT_MIN_MS;
    snprintf(detail, sizeof detail, "%s: %llu ms after the one before", key,
             (unsigned long long)(peer ? now_ms - peer->last_ms : 0));
    sim_watch_checked(w, SIM_ASSERT_CONNECTS, connection, now_ms, early ? detail : NULL);
    if (!peer && HASH_COUNT(w->peers) < PEERS_MAX && (peer = calloc(1, sizeof *peer))) {
        memcpy(peer->key, key, sizeof key);
        HASH_ADD_STR(w->peers, key, peer);
    }
    if (peer)
        peer->last_ms = now_ms;
}

json_t *sim_watch_assertions_json(const struct sim_watch *w) {
    json_t *list = json_array();
    bool all = true;
    for (int i = 0; w && i < SIM_ASSERTIONS; i++) {
        const struct state *state = &w->states[i];
        all = all && state->broken == 0;
        json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:I,s:I,s:o}", "name", names[i].name, "text", names[i].text,
                                              "holds", state->broken == 0, "checked", (json_int_t)state->checked,
                                              "broken", (json_int_t)state->broken, "examples",
                                              state->examples ? json_incref(state->examples) : json_array()));
    }
    return json_pack("{s:b,s:o}", "holds", all, "assertions", list);
}
