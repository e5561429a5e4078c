/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/media.h"

#include "base/secret.h"
#include "base/slots.h"
#include "dtls/media_worker.h"
#include "dtls/rtp_crypt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utlist.h>

#define CALLS_MAX_LIMIT                                                                                                \
    (1U << 24) /* slots of one worker: 24 bits of a media_id; the worker's number has the next 8                       \
                */

#define COMMANDS_RESERVED 512 /* of a worker's ring: a phone that sends much data keeps no other call from its end */

#define RESUME_WAIT_MS 5000

/* An identity that calls use, or that new ones will. */
struct media_identity {
    struct dtls_identity *dtls;
    unsigned calls;
    bool current;
    struct media_identity *next; /* in media.loaded */
};

/* What the loop keeps of a call. */
struct media_place {
    unsigned worker;
    struct media_identity *identity;
};

struct media {
    unsigned count;
    const struct ringback *ringback;
    int poll_fd; /* an epoll set of the workers' event rings, so that the loop polls one descriptor */
    unsigned next;
    struct dtls_identity_params identity;
    struct media_identity *identities[MEDIA_WORKERS_MAX]; /* the current one; older ones are with their calls */
    struct media_identity *loaded;                        /* current as well, until media_identities_settle */
    struct slots *slots[MEDIA_WORKERS_MAX];
    struct media_worker workers[];
};

static media_id make_id(unsigned worker, slot_id slot) {
    return slot | (uint64_t)worker << 24;
}

unsigned media_worker_of(media_id id) {
    return (unsigned)(id >> 24) & 0xff;
}

static slot_id slot_of(media_id id) {
    return id & ~((uint64_t)0xff << 24);
}

/* When no call uses it, and no new one will. Sessions that still do keep what they need of it. */
static void free_identity(struct media_identity *i) {
    if (!i || i->current || i->calls)
        return;
    dtls_identity_free(i->dtls);
    free(i);
}

static int new_identity(struct media *m, unsigned worker, struct err_text *et) {
    struct media_identity *i = calloc(1, sizeof *i), *old = m->identities[worker];
    if (!i)
        return err_say(et, E_NOMEM, "media: out of memory");
    int err = dtls_identity_make(&i->dtls, &m->identity, et);
    if (err != 0) {
        free(i);
        return err;
    }
    i->current = true;
    m->identities[worker] = i;
    if (old)
        old->current = false;
    free_identity(old);
    return 0;
}

int media_rotate(struct media *m, struct err_text *et) {
    int err = 0;
    for (unsigned i = 0; i < m->count && err == 0 && !m->identity.certificate_file; i++)
        err = new_identity(m, i, et);
    return err;
}

static int start_workers(struct media *m, const struct media_config *cfg, struct err_text *et) {
    for (unsigned i = 0; i < cfg->workers; i++) {
        struct media_worker *w = &m->workers[i];
        w->number = i;
        m->count = i + 1;
        int err = slots_new(&m->slots[i], sizeof(struct media_place), cfg->calls_max);
        if (err != 0) {
            w->fd = -1;
            return err_say(et, err, "media: out of memory");
        }
        err = new_identity(m, i, et);
        if (err == 0)
            err = media_worker_start(w, cfg, cfg->port ? (uint16_t)(cfg->port + i) : 0, et);
        else
            w->fd = -1;
        if (err != 0)
            return err;
        struct epoll_event ev = {.events = EPOLLIN};
        if (epoll_ctl(m->poll_fd, EPOLL_CTL_ADD, ring_fd(w->events), &ev) != 0)
            return err_say(et, E_IO, "media: the event rings cannot be polled");
    }
    return 0;
}

int media_start(struct media **mp, const struct media_config *cfg, struct err_text *et) {
    if (cfg->workers < 1 || cfg->workers > MEDIA_WORKERS_MAX)
        return err_say(et, E_INVAL, "media.workers: %u; 1 to %d", cfg->workers, MEDIA_WORKERS_MAX);
    if (cfg->calls_max < 1 || cfg->calls_max > CALLS_MAX_LIMIT)
        return err_say(et, E_INVAL, "media.calls_max: %u; 1 to %u", cfg->calls_max, CALLS_MAX_LIMIT);
    size_t bytes = sizeof(struct media) + cfg->workers * sizeof(struct media_worker);
    struct media *m = calloc(1, bytes);
    if (!m)
        return err_say(et, E_NOMEM, "media: out of memory");
    int err = rtp_crypt_init(et);
    if (err != 0) {
        free(m);
        return err;
    }
    m->identity = cfg->identity;
    m->ringback = cfg->ringback;
    m->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    err = m->poll_fd < 0 ? err_say(et, E_IO, "media: no epoll") : start_workers(m, cfg, et);
    if (err != 0) {
        media_stop(m);
        return err;
    }
    *mp = m;
    return 0;
}

/* Calls whose end nobody polled any more, and their identities. */
static void free_places(struct media *m, unsigned worker) {
    const struct media_place *place;
    uint32_t cursor = 0;
    slot_id slot;
    while (m->slots[worker] && (place = slots_next(m->slots[worker], &cursor, &slot)) != NULL) {
        place->identity->calls--;
        free_identity(place->identity);
    }
    slots_free(m->slots[worker]);
    if (m->identities[worker])
        m->identities[worker]->current = false;
    free_identity(m->identities[worker]);
}

struct media *media_stop(struct media *m) {
    if (!m)
        return NULL;
    for (unsigned i = 0; i < m->count; i++) {
        media_worker_stop(&m->workers[i]);
        free_places(m, i);
    }
    media_identities_settle(m, NULL, NULL);
    if (m->poll_fd >= 0)
        close(m->poll_fd);
    rtp_crypt_shutdown();
    free(m);
    return NULL;
}

unsigned media_workers(const struct media *m) {
    return m->count;
}

uint16_t media_port(const struct media *m, unsigned worker) {
    return m->workers[worker].port;
}

const char *media_fingerprint(const struct media *m, unsigned worker) {
    return dtls_identity_fingerprint(m->identities[worker]->dtls);
}

const char *media_call_fingerprint(const struct media *m, media_id id) {
    const struct media_place *place =
        media_worker_of(id) < m->count ? slots_get(m->slots[media_worker_of(id)], slot_of(id)) : NULL;
    return place ? dtls_identity_fingerprint(place->identity->dtls) : NULL;
}

const struct ringback *media_ringback(const struct media *m) {
    return m->ringback;
}

unsigned media_pick_worker(const struct media *m) {
    unsigned best = 0;
    for (unsigned i = 1; i < m->count; i++)
        if (slots_used(m->slots[i]) < slots_used(m->slots[best]))
            best = i;
    return best;
}

/* Commands hold keys: the caller's copy is wiped here. */
static int push(struct media *m, struct media_command *cmd) {
    int err = E_NOTFOUND;
    if (media_worker_of(cmd->id) < m->count && slots_get(m->slots[media_worker_of(cmd->id)], slot_of(cmd->id)))
        err = ring_push(m->workers[media_worker_of(cmd->id)].commands, cmd);
    secret_wipe(cmd, sizeof *cmd);
    return err;
}

static int push_kind(struct media *m, media_id id, enum media_command_kind kind) {
    struct media_command cmd = {.kind = kind, .id = id};
    return push(m, &cmd);
}

/* Of many calls at once, before anything else is asked of the worker: it makes room soon. */
static int push_patiently(struct media *m, struct media_command *cmd) {
    struct ring *commands = m->workers[media_worker_of(cmd->id)].commands;
    for (int i = 0; i < RESUME_WAIT_MS && ring_room(commands) == 0; i++)
        usleep(1000);
    return push(m, cmd);
}

int media_open(struct media *m, const struct media_far *far, media_id *id) {
    slot_id slot;
    if (far->worker >= m->count)
        return E_INVAL;
    struct media_place *place = slots_alloc(m->slots[far->worker], &slot);
    if (!place)
        return E_FULL;
    place->worker = far->worker;
    place->identity = m->identities[far->worker];
    *id = make_id(far->worker, slot);
    struct media_command cmd = {
        .kind = MEDIA_CMD_OPEN, .id = *id, .u.open = {.far = *far, .identity = place->identity->dtls}};
    int err = push(m, &cmd);
    if (err != 0)
        slots_release(m->slots[far->worker], slot);
    else
        place->identity->calls++;
    return err;
}

int media_kept(struct media *m, media_id id, const struct media_leg_state *leg) {
    struct media_command cmd = {.kind = MEDIA_CMD_KEPT,
                                .id = id,
                                .u.kept = {.near = leg->near, .rtcp = leg->rtcp, .record = leg->dtls.record.tx_seq}};
    return leg->waits ? 0 : push(m, &cmd);
}

int media_tell_states(struct media *m, media_id id) {
    return push_kind(m, id, MEDIA_CMD_TELL_STATES);
}

static unsigned worker_by_port(const struct media *m, uint16_t port) {
    unsigned i = 0;
    while (i < m->count && m->workers[i].port != port)
        i++;
    return i;
}

static struct media_identity *identity_of(const struct media *m, unsigned worker, const char *fingerprint) {
    struct media_identity *i = m->identities[worker];
    if (strcmp(dtls_identity_fingerprint(i->dtls), fingerprint) == 0)
        return i;
    for (i = m->loaded; i && strcmp(dtls_identity_fingerprint(i->dtls), fingerprint) != 0;)
        i = i->next;
    return i;
}

int media_resume(struct media *m, const struct media_resume *r, media_id *id, struct err_text *et) {
    unsigned worker = worker_by_port(m, r->port);
    slot_id slot;
    if (worker == m->count)
        return err_say(et, E_NOTFOUND, "no worker has the port %u any more", r->port);
    struct media_identity *identity = identity_of(m, worker, r->fingerprint);
    if (!identity)
        return err_say(et, E_NOTFOUND, "the DTLS identity that its peers know is gone");
    struct media_place *place = slots_alloc(m->slots[worker], &slot);
    if (!place)
        return err_say(et, E_FULL, "media.calls_max is reached");
    *place = (struct media_place){worker, identity};
    identity->calls++;
    *id = make_id(worker, slot);
    struct media_command cmd = {
        .kind = MEDIA_CMD_RESUME, .id = *id, .u.resume = {.call = r->call, .far = r->far, .identity = identity->dtls}};
    int err = push_patiently(m, &cmd);
    return err == 0 ? 0 : err_say(et, err, "the worker does not listen");
}

int media_resume_near(struct media *m, media_id id, const struct media_leg_state *near) {
    struct media_command cmd = {.kind = MEDIA_CMD_RESUME_NEAR, .id = id, .u.leg = *near};
    return push_patiently(m, &cmd);
}

int media_identity_save(const struct media *m, unsigned worker, char **pem, size_t *len) {
    return dtls_identity_pem(m->identities[worker]->dtls, pem, len);
}

int media_identity_load(struct media *m, const char *pem, size_t len, struct err_text *et) {
    struct dtls_identity_params p = {.pem = pem, .pem_len = len, .srtp_profiles = m->identity.srtp_profiles};
    struct media_identity *i = calloc(1, sizeof *i);
    if (!i)
        return err_say(et, E_NOMEM, "out of memory");
    int err = dtls_identity_make(&i->dtls, &p, et);
    if (err != 0) {
        free(i);
        return err;
    }
    i->current = true;
    LL_PREPEND(m->loaded, i);
    return 0;
}

void media_identities_settle(struct media *m, void (*gone)(const char *fingerprint, void *arg), void *arg) {
    struct media_identity *i, *next;
    LL_FOREACH_SAFE(m->loaded, i, next) {
        i->current = false;
        if (i->calls == 0 && gone)
            gone(dtls_identity_fingerprint(i->dtls), arg);
        free_identity(i);
    }
    m->loaded = NULL;
}

int media_far_restart(struct media *m, media_id id, const struct ice_lite *ice) {
    struct media_command cmd = {.kind = MEDIA_CMD_FAR_RESTART, .id = id, .u.ice = *ice};
    return push(m, &cmd);
}

int media_near_open(struct media *m, media_id id, const struct media_near *near) {
    struct media_command cmd = {.kind = MEDIA_CMD_NEAR_OPEN, .id = id, .u.near = *near};
    return push(m, &cmd);
}

static int push_number(struct media *m, media_id id, enum media_command_kind kind, unsigned number) {
    struct media_command cmd = {.kind = kind, .id = id, .u.number = number};
    return push(m, &cmd);
}

int media_near_choose(struct media *m, media_id id, unsigned number) {
    return push_number(m, id, MEDIA_CMD_NEAR_CHOOSE, number);
}

int media_near_drop(struct media *m, media_id id, unsigned number) {
    return push_number(m, id, MEDIA_CMD_NEAR_DROP, number);
}

int media_near_fingerprints(struct media *m, media_id id, const struct sdp_fingerprint *fp, size_t count,
                            bool dtls_client) {
    struct media_command cmd = {.kind = MEDIA_CMD_NEAR_FINGERPRINTS, .id = id};
    if (count == 0 || count > SDP_FINGERPRINTS_MAX)
        return E_INVAL;
    memcpy(cmd.u.fingerprints.fp, fp, count * sizeof *fp);
    cmd.u.fingerprints.count = count;
    cmd.u.fingerprints.dtls_client = dtls_client;
    return push(m, &cmd);
}

int media_gate(struct media *m, media_id id) {
    return push_kind(m, id, MEDIA_CMD_GATE);
}

int media_keys_taken(struct media *m, media_id id) {
    return push_kind(m, id, MEDIA_CMD_KEYS_TAKEN);
}

int media_close(struct media *m, media_id id) {
    return push_kind(m, id, MEDIA_CMD_CLOSE);
}

int media_stats(struct media *m, media_id id) {
    return push_kind(m, id, MEDIA_CMD_STATS);
}

int media_data(struct media *m, media_id id, const uint8_t *p, size_t len) {
    struct media_command cmd = {.kind = MEDIA_CMD_DATA, .id = id};
    if (len == 0 || len > MEDIA_DATA_SEND_MAX_BYTES)
        return E_INVAL;
    if (media_worker_of(id) < m->count && ring_room(m->workers[media_worker_of(id)].commands) <= COMMANDS_RESERVED)
        return E_FULL;
    cmd.u.data.len = (uint16_t)len;
    memcpy(cmd.u.data.p, p, len);
    return push(m, &cmd);
}

int media_fd(const struct media *m) {
    return m->poll_fd;
}

static void release(struct media *m, media_id id) {
    const struct media_place *place = slots_get(m->slots[media_worker_of(id)], slot_of(id));
    struct media_identity *identity = place ? place->identity : NULL;
    slots_release(m->slots[media_worker_of(id)], slot_of(id));
    if (!identity)
        return;
    identity->calls--;
    free_identity(identity);
}

int media_poll(struct media *m, struct media_event *ev) {
    for (unsigned tried = 0; tried < m->count; tried++, m->next = (m->next + 1) % m->count) {
        struct media_worker *w = &m->workers[m->next];
        if (ring_pop(w->events, ev) != 0) {
            ring_clear(w->events);
            /* What came between the two calls would wait for the next signal otherwise. */
            if (ring_pop(w->events, ev) != 0)
                continue;
        }
        if (ev->kind == MEDIA_EV_CLOSED)
            release(m, ev->id);
        return 0;
    }
    return E_AGAIN;
}

static uint64_t read_counter(const _Atomic uint64_t *n) {
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void add_totals(struct media_totals *t, const struct worker_counters *n) {
    t->rx_pkts += read_counter(&n->rx_pkts);
    t->tx_pkts += read_counter(&n->tx_pkts);
    t->stun_requests += read_counter(&n->stun_requests);
    t->stun_rejected += read_counter(&n->stun_rejected);
    t->dtls_handshakes += read_counter(&n->dtls_handshakes);
    t->dtls_failed += read_counter(&n->dtls_failed);
    t->unknown_source_pkts += read_counter(&n->unknown_source_pkts);
    t->malformed_pkts += read_counter(&n->malformed_pkts);
    t->auth_failed_pkts += read_counter(&n->auth_failed_pkts);
    t->events_lost += read_counter(&n->events_lost);
    t->ringback_pkts += read_counter(&n->ringback_pkts);
    t->stun_checked += read_counter(&n->stun_checked);
    t->stun_over_budget += read_counter(&n->stun_over_budget);
    t->held_pkts += read_counter(&n->held_pkts);
    t->calls += read_counter(&n->calls);
}

void media_totals(const struct media *m, struct media_totals *t) {
    memset(t, 0, sizeof *t);
    for (unsigned i = 0; i < m->count; i++)
        add_totals(t, &m->workers[i].n);
}

void media_worker_totals(const struct media *m, unsigned worker, struct media_totals *t) {
    memset(t, 0, sizeof *t);
    if (worker < m->count)
        add_totals(t, &m->workers[worker].n);
}
