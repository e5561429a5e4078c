/* SPDX-License-Identifier: Apache-2.0 */
/* What tests look at afterwards: a bounded journal of frames, and assertions on the provider that are kept while it
 * runs. Every function takes a NULL watch. Thread: the loop's. */
#ifndef APNS_SIM_SIM_WATCH_H
#define APNS_SIM_SIM_WATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_watch;

enum sim_assertion {
    SIM_ASSERT_ONCE,     /* no apns-id is accepted twice */
    SIM_ASSERT_CONNECTS, /* at most one connection a second from one address to one address */
    SIM_ASSERT_TOKENS,   /* never two tokens within 20 minutes on a connection */
    SIM_ASSERT_START,    /* one stream until SETTINGS and the first valid token */
    SIM_ASSERT_LIMIT,    /* never more streams than acknowledged SETTINGS allow */
    SIM_ASSERT_EXPIRED,  /* no provider token older than an hour */
    SIM_ASSERTIONS
};

struct sim_frame {
    uint64_t at_ms, connection; /* virtual time */
    uint8_t type, flags;
    bool out;
    int32_t stream;
    uint32_t length, code; /* code: of RST_STREAM and GOAWAY */
};

struct sim_watch *sim_watch_new(void);
struct sim_watch *sim_watch_free(struct sim_watch *w);
/* Keep the latest so many frames; 0: none. Frames that are there are forgotten when the number changes. */
void sim_watch_keep(struct sim_watch *w, size_t frames);
bool sim_watch_frames(const struct sim_watch *w); /* whether frames are kept */
void sim_watch_frame(struct sim_watch *w, const struct sim_frame *f);
/* {"frames": [...]}, the latest limit; connection 0: of all. */
json_t *sim_watch_frames_json(const struct sim_watch *w, uint64_t connection, size_t limit);

void sim_watch_accepted(struct sim_watch *w, const char *apns_id, uint64_t connection, uint64_t now_ms);
void sim_watch_connect(struct sim_watch *w, const char *peer_ip, const char *address, uint64_t connection,
                       uint64_t now_ms);
/* It was looked at; detail NULL: and it held. */
void sim_watch_checked(struct sim_watch *w, enum sim_assertion a, uint64_t connection, uint64_t now_ms,
                       const char *detail);
json_t *sim_watch_assertions_json(const struct sim_watch *w);
/* Forget what was seen. */
void sim_watch_reset(struct sim_watch *w);

#endif
