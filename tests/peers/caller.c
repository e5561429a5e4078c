/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/caller.h"

#include "base/clock.h"
#include "tests/peers/caller_offer.h"
#include "tests/peers/peer_json.h"
#include "tests/peers/peer_media.h"
#include "tests/peers/peer_request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_LONGER_MS 3000
#define LISTEN_AGAIN_MS  100

enum phase {
    CREATING, /* POST is out */
    RINGING,  /* until `active` */
    TALKING,  /* until duration_ms are over */
    WAITING,  /* for the other side, or for the gateway to act on close_notify */
    DELETING,
    LOOKING, /* at the ended call, once */
    READING, /* the timeline */
    CLOSING
};

struct caller {
    uv_loop_t *loop;
    const struct caller_config *cfg;
    caller_done_cb done;
    void *arg;
    char ufrag[9], pwd[33];
    int fd;            /* no_ice: the socket that the offer names; else 0 */
    struct addr plain; /* no_ice: what the offer says */
    struct peer_request request;
    struct peer_media *media;
    uv_timer_t look, deadline;
    unsigned open_handles; /* timers and media */
    enum phase phase;
    uint64_t requested_us;
    unsigned longer_ms;          /* that it talks beyond duration_ms, to hear the tone */
    char remote[ADDR_STR_BYTES]; /* the candidate in use */
    struct caller_result result;
};

static void advance(struct caller *c);
static void on_deadline(uv_timer_t *t);

/* The first failure is the one that is told. */
__attribute__((format(printf, 2, 3))) static void fail(struct caller *c, const char *fmt, ...) {
    va_list ap;
    if (c->result.failure.s[0])
        return;
    va_start(ap, fmt);
    vsnprintf(c->result.failure.s, sizeof c->result.failure.s, fmt, ap);
    va_end(ap);
}

static void fail_by_reply(struct caller *c) {
    struct err_text et;
    peer_request_problem(&c->request, &et);
    fail(c, "%s", et.s);
}

/* What was heard and sent, for the result. */
static void take_report(struct caller *c) {
    struct caller_result *r = &c->result;
    if (!c->media)
        return;
    const struct peer_media_report *m = peer_media_report(c->media);
    r->heard_hz = peer_media_heard_hz(c->media);
    r->heard_expected = peer_tone_is(r->heard_hz, c->cfg->expect_hz);
    r->rx_pkts = m->rx_pkts;
    r->gap_us = m->gap_us;
    r->refused_pkts = m->refused_pkts;
    r->tx_pkts = m->tx_pkts;
    snprintf(r->heard_data, sizeof r->heard_data, "%s", m->heard_data);
    r->dtls_us = m->keys_us ? m->keys_us - c->requested_us : 0;
    r->first_packet_us = m->first_rx_us ? m->first_rx_us - c->requested_us : 0;
}

static void judge(struct caller *c) {
    const struct caller_config *cfg = c->cfg;
    struct caller_result *r = &c->result;
    if (!r->answered)
        fail(c, "the call was not answered; it ended: %s", r->reason[0] ? r->reason : r->state);
    if (!cfg->no_media) {
        if (r->rx_pkts == 0)
            fail(c, "no packet came from the callee; the call ended: %s", r->reason);
        if (!r->active)
            fail(c, "media did not flow both ways: the call was never active, and ended: %s", r->reason);
        if (cfg->expect_hz > 0 && r->heard_hz == 0)
            fail(c, "a tone of %.0f Hz was expected, and none was heard in %" PRIu64 " packets", cfg->expect_hz,
                 r->rx_pkts);
        else if (cfg->expect_hz > 0 && !r->heard_expected)
            fail(c, "a tone of %.0f Hz was expected, and %.0f Hz was heard", cfg->expect_hz, r->heard_hz);
        if (cfg->ringback_hz > 0 && !r->heard_ringback)
            fail(c, "a ringback tone of %.0f Hz was expected, and not heard", cfg->ringback_hz);
    }
    r->ok = !r->failure.s[0];
}

static void one_closed(void *of) {
    struct caller *c = of;
    if (--c->open_handles > 0)
        return;
    struct caller_result result = c->result;
    caller_done_cb done = c->done;
    void *arg = c->arg;
    if (c->fd > 0)
        close(c->fd);
    free(c);
    done(&result, arg);
    json_decref(result.timeline);
}

static void on_timer_closed(uv_handle_t *h) {
    one_closed(h->data);
}

static void close_media(struct caller *c) {
    if (c->media)
        peer_media_close(c->media, one_closed, c);
    c->media = NULL;
}

static void close_all(struct caller *c) {
    judge(c);
    close_media(c);
    uv_close((uv_handle_t *)&c->look, on_timer_closed);
    uv_close((uv_handle_t *)&c->deadline, on_timer_closed);
}

/* The media of the call */

/* Is there a route to this address? */
static bool is_reachable(const struct addr *a) {
    int fd = socket(a->u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, &a->u.sa, addr_len(a)) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

static const struct addr *usable_candidate(const struct sdp *answer) {
    for (size_t i = 0; i < answer->candidate_count; i++)
        if (is_reachable(&answer->candidates[i]))
            return &answer->candidates[i];
    return NULL;
}

/* Without ICE the address is in the offer, so the socket comes first. */
static int bind_plain(struct caller *c) {
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    const struct addr *a = &c->cfg->address;
    int fd = socket(a->u.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return E_IO;
    if (bind(fd, &a->u.sa, addr_len(a)) != 0 || getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        close(fd);
        return E_IO;
    }
    c->fd = fd;
    addr_from_sockaddr(&c->plain, (struct sockaddr *)&bound);
    if (addr_is_set(&c->cfg->claim))
        c->plain = c->cfg->claim;
    return 0;
}

static int start_media(struct caller *c, const struct sdp *answer, struct err_text *et) {
    const struct addr *remote = usable_candidate(answer);
    struct peer_endpoint_params params = {
        .local_ufrag = c->ufrag,
        .local_pwd = c->pwd,
        .remote_ufrag = answer->ice_ufrag,
        .remote_pwd = answer->ice_pwd,
        .plain = c->cfg->no_ice,
        .fd = c->fd,
        /* RFC 5763 5: whoever is active sends the ClientHello. */
        .dtls = answer->setup == SDP_SETUP_ACTIVE ? PEER_DTLS_SERVER : PEER_DTLS_CLIENT,
        .identity = c->cfg->identity,
        .fingerprints = answer->fingerprints,
        .fingerprint_count = answer->fingerprint_count,
    };
    if (!remote)
        return err_say(et, E_UNSUPPORTED, "the answer has no candidate that can be reached from here");
    if (answer->setup == SDP_SETUP_ACTPASS || answer->setup == SDP_SETUP_NONE || answer->setup == c->cfg->setup)
        return err_say(et, E_MALFORMED, "the answer's a=setup does not fit the offer's");
    if (!c->cfg->no_ice != !!answer->ice_ufrag[0])
        return err_say(et, E_MALFORMED, "the answer's ICE attributes do not fit the offer's");
    params.remote = *remote;
    params.more = remote + 1;
    params.more_count = answer->candidate_count - (size_t)(params.more - answer->candidates);
    addr_str(c->remote, remote);
    int err = peer_media_new(&c->media, c->loop, answer, &params, c->cfg->tone_hz, et);
    if (err != 0)
        return err;
    c->open_handles++;
    peer_media_play(c->media);
    peer_media_say(c->media, c->cfg->say);
    return 0;
}

static void take_answer(struct caller *c) {
    const char *text = peer_text(c->request.reply, "answer");
    struct sdp *answer = NULL;
    struct err_text et = {""};
    int err = sdp_parse(&answer, text, strlen(text), &et);
    if (err == 0)
        err = start_media(c, answer, &et);
    if (err != 0)
        fail(c, "the gateway's SDP answer: %s", et.s);
    sdp_free(answer);
}

static bool media_failed(struct caller *c) {
    const struct peer_media_report *m = c->media ? peer_media_report(c->media) : NULL;
    if (!m || !m->closed || m->closed_err == 0)
        return false;
    fail(c, "DTLS with the gateway at %s failed: %s", c->remote, err_str(m->closed_err));
    return true;
}

/* The call */

static void end_call(struct caller *c) {
    take_report(c);
    uv_timer_stop(&c->look);
    uv_timer_stop(&c->deadline);
    c->phase = c->result.id[0] ? DELETING : CLOSING;
    advance(c);
}

static void on_ended(struct caller *c) {
    if (c->phase != LOOKING) /* there it was taken before the DELETE */
        take_report(c);
    uv_timer_stop(&c->look);
    uv_timer_stop(&c->deadline);
    c->phase = c->cfg->timeline ? READING : CLOSING;
}

static void fail_late(struct caller *c) {
    const struct peer_media_report *m = c->media ? peer_media_report(c->media) : NULL;
    const char *state = c->result.state;
    unsigned ms = c->cfg->timeout_ms;
    if (c->phase == CREATING)
        fail(c, "the gateway did not take the call within %u ms", ms);
    else if (c->phase == WAITING)
        fail(c, "the call did not end within %u ms; it is %s", ms, state);
    else if (m && !m->path_up)
        fail(c, "no response to ICE checks from %s within %u ms; the call is %s", c->remote, ms, state);
    else if (m && !m->keys_up)
        fail(c, "the DTLS handshake with %s was not done within %u ms; the call is %s", c->remote, ms, state);
    else
        fail(c, "the call was not active within %u ms; it is %s", ms, state);
}

static void hang_up(struct caller *c) {
    if (c->cfg->hangup == CALLER_DELETES) {
        end_call(c);
        return;
    }
    if (c->cfg->hangup == CALLER_CLOSES_DTLS) {
        take_report(c);
        close_media(c);
    }
    c->phase = WAITING;
    uv_timer_start(&c->deadline, on_deadline, c->cfg->timeout_ms, 0);
}

/* A machine that stands still for a moment makes the tone late, and it takes half a second to be told. */
static bool listens_on(struct caller *c) {
    double expect_hz = c->cfg->expect_hz;
    if (!c->media || expect_hz == 0 || c->longer_ms >= LISTEN_LONGER_MS ||
        peer_tone_is(peer_media_heard_hz(c->media), expect_hz))
        return false;
    c->longer_ms += LISTEN_AGAIN_MS;
    uv_timer_start(&c->deadline, on_deadline, LISTEN_AGAIN_MS, 0);
    return true;
}

static void on_deadline(uv_timer_t *t) {
    struct caller *c = t->data;
    if (c->phase == TALKING) {
        if (!listens_on(c))
            hang_up(c);
        return;
    }
    fail_late(c);
    if (c->phase != CREATING) /* else on_created ends it, when the reply is there */
        end_call(c);
}

static void take_state(struct caller *c) {
    struct caller_result *r = &c->result;
    const json_t *reply = c->request.reply;
    snprintf(r->state, sizeof r->state, "%s", peer_text(reply, "state"));
    snprintf(r->reason, sizeof r->reason, "%s", peer_text(reply, "reason"));
    if (strcmp(r->state, "active") == 0)
        r->active = true;
    /* Between two looks a call can be answered and ended. */
    if (r->active || strcmp(r->state, "answered") == 0 || *peer_text(reply, "answered_at"))
        r->answered = true;
}

static void on_state(struct peer_request *q, void *arg) {
    struct caller *c = arg;
    bool last = c->phase == LOOKING;
    if (q->status < 0 && !last) { /* a gateway that restarts; the deadline is the limit */
        advance(c);
        return;
    }
    if (q->status != 200)
        fail_by_reply(c);
    else
        take_state(c);
    if (last || strcmp(c->result.state, "ended") == 0) {
        on_ended(c);
    } else if (q->status != 200) {
        end_call(c);
        return;
    } else if (c->phase == RINGING && (c->result.active || (c->cfg->no_media && c->result.answered))) {
        c->phase = TALKING;
        uv_timer_start(&c->deadline, on_deadline, c->cfg->duration_ms, 0);
    }
    advance(c);
}

static void on_deleted(struct peer_request *q, void *arg) {
    struct caller *c = arg;
    if (q->status != 204)
        fail_by_reply(c);
    c->phase = LOOKING;
    advance(c);
}

static void on_timeline(struct peer_request *q, void *arg) {
    struct caller *c = arg;
    if (q->status == 200 && json_is_array(q->reply))
        c->result.timeline = json_incref(q->reply);
    else
        fail_by_reply(c);
    c->phase = CLOSING;
    advance(c);
}

static void ask(struct caller *c, const char *method, const char *suffix, peer_request_cb cb) {
    char path[PEER_PATH_BYTES];
    snprintf(path, sizeof path, "/v1/calls/%s%s", c->result.id, suffix);
    peer_request_start(&c->request, c->loop, &c->cfg->api, method, path, NULL, cb, c);
}

/* The request that the phase wants, when none is out. */
static void advance(struct caller *c) {
    if (c->request.busy)
        return;
    if (c->phase == DELETING)
        ask(c, "DELETE", "", on_deleted);
    else if (c->phase == LOOKING)
        ask(c, "GET", "", on_state);
    else if (c->phase == READING)
        ask(c, "GET", "/timeline", on_timeline);
    else if (c->phase == CLOSING)
        close_all(c);
}

static void on_look(uv_timer_t *t) {
    struct caller *c = t->data;
    if (c->cfg->ringback_hz > 0 && c->media && !c->result.answered &&
        peer_tone_is(peer_media_heard_hz(c->media), c->cfg->ringback_hz))
        c->result.heard_ringback = true;
    if (media_failed(c))
        end_call(c);
    else if (!c->request.busy)
        ask(c, "GET", "", on_state);
}

static void on_created(struct peer_request *q, void *arg) {
    struct caller *c = arg;
    struct caller_result *r = &c->result;
    c->requested_us = q->began_us;
    if (q->status != 201) {
        fail_by_reply(c);
        c->phase = CLOSING;
        advance(c);
        return;
    }
    r->created_us = q->ended_us - q->began_us;
    snprintf(r->id, sizeof r->id, "%s", peer_text(q->reply, "id"));
    take_state(c);
    if (!c->cfg->no_media && !r->failure.s[0])
        take_answer(c);
    if (r->failure.s[0]) {
        end_call(c);
        return;
    }
    c->phase = RINGING;
    uv_timer_start(&c->look, on_look, c->cfg->look_ms, c->cfg->look_ms);
}

static json_t *call_body(struct caller *c) {
    const struct caller_config *cfg = c->cfg;
    struct buf offer = {0};
    json_t *body =
        json_pack("{s:s,s:{s:s,s:s}}", "callee", cfg->callee, "caller", "handle", cfg->handle, "name", cfg->name);
    if (cfg->no_media)
        return body;
    struct caller_offer o = {
        .ufrag = random_alnum(c->ufrag, sizeof c->ufrag - 1),
        .pwd = random_alnum(c->pwd, sizeof c->pwd - 1),
        .plain = cfg->no_ice ? &c->plain : NULL,
        .fingerprint = dtls_identity_fingerprint(cfg->identity),
        .setup = cfg->setup,
        .first = cfg->codec,
        .session_id = clock_wall_us(),
    };
    caller_offer_write(&offer, &o);
    json_object_set_new(body, "offer", json_stringn(offer.p, offer.len));
    buf_free(&offer);
    return body;
}

int caller_start(struct caller **cp, uv_loop_t *loop, const struct caller_config *cfg, caller_done_cb done, void *arg) {
    struct caller *c = calloc(1, sizeof *c);
    if (!c)
        return E_NOMEM;
    c->loop = loop;
    c->cfg = cfg;
    c->done = done;
    c->arg = arg;
    if (cfg->no_ice && !cfg->no_media && bind_plain(c) != 0) {
        free(c);
        return E_IO;
    }
    uv_timer_init(loop, &c->look);
    uv_timer_init(loop, &c->deadline);
    c->look.data = c->deadline.data = c;
    c->open_handles = 2;
    uv_timer_start(&c->deadline, on_deadline, cfg->timeout_ms, 0);
    peer_request_start(&c->request, loop, &cfg->api, "POST", "/v1/calls", call_body(c), on_created, c);
    *cp = c;
    return 0;
}

void caller_stop(struct caller *c) {
    fail(c, "interrupted while the call was %s", c->result.state[0] ? c->result.state : "being placed");
    if (c->phase == RINGING || c->phase == TALKING || c->phase == WAITING)
        end_call(c);
}
