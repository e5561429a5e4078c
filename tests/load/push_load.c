/* SPDX-License-Identifier: Apache-2.0 */
/* push-load: many pushes by the public API of apns/, and one JSON line of what became of them. For tests that disturb
 * the server meanwhile. */
#include "apns/apns.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "tests/load/push_names.h"
#include "tests/load/push_tally.h"
#include "tests/peers/peer_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM         "push-load"
#define PAYLOAD         "{\"aps\":{}}"
#define CREDENTIALS_MAX 16
#define TICK_MS         1
#define GRACE_MS        5000 /* behind the last deadline; who has no result then hangs */

static const char usage[] =
    "usage: push-load --port N --ca FILE --key FILE [OPTION]...\n"
    "Send pushes for com.example.vcs to an APNs; print counts and times as one JSON line (tests/load/push_tally.h).\n"
    "Exit status 0 when every push had one result, whatever it was.\n\n"
    "  --host NAME (localhost), --addresses A,B...   what the name stands for, in place of DNS\n"
    "  --count N (1000)         pushes\n"
    "  --rate PER_S (0)         0: as fast as --outstanding lets them\n"
    "  --burst N (1)            with --rate: so many at once, and longer pauses\n"
    "  --outstanding N (500)    so many without a result at once\n"
    "  --deadline-ms N (30000)  of each push, from when it is taken\n"
    "  --lane ring|probe|bulk   (ring)\n"
    "  --tokens N (1)           device tokens 00f0...0 and so on, one after the other\n"
    "  --bad PER_MILLE (0), --bad-lane ring|probe|bulk (ring)\n"
    "                           pushes to tokens that begin with bad, a new one each time\n"
    "  --ring-connections N (0: by the addresses), --hedge-ms N (0: 300), --no-hedge\n"
    "  --credentials N (1)      apps with the same key; they take turns\n"
    "  --warm-up N (0)          the first so many are not timed\n"
    "  --ready-ms N (0)         wait so long for a ring connection before the first push\n"
    "  --log                    the client's log, on stderr\n"
    "  --help, --version\n";

struct load {
    const char *host, *addresses, *ca_file, *key_file;
    unsigned port, count, rate, burst, outstanding, warm_up, deadline_ms, ready_ms;
    unsigned tokens, bad_per_mille, credentials, ring_connections, hedge_ms;
    bool no_hedge, log;
    int lane, bad_lane;
    struct apns *client;
    struct apns_credential *credential[CREDENTIALS_MAX];
    struct push_tally *tally;
    struct ticket *tickets; /* count of them */
    unsigned next;
    uint64_t began_us, first_us, last_deadline_ms; /* first_us: of the first push; 0: not yet */
    uv_timer_t timer;
};

/* The callback's argument: which push. */
struct ticket {
    struct load *l;
    unsigned push;
};

static void on_result(const struct apns_result *r, void *arg) {
    const struct ticket *ticket = arg;
    push_tally_result(ticket->l->tally, ticket->push, r, clock_mono_ms());
}

static void on_alarm(enum apns_alarm alarm, const char *credential, const char *sentence, void *arg) {
    struct load *l = arg;
    (void)credential;
    (void)sentence;
    push_tally_alarm(l->tally, alarm);
}

/* Bad tokens are spread evenly. */
static bool is_bad(const struct load *l, unsigned push) {
    uint64_t share = l->bad_per_mille;
    return push * share / 1000 != (push + 1) * share / 1000;
}

static void push_one(struct load *l) {
    unsigned push = l->next++;
    bool bad = is_bad(l, push);
    char token[65], id[UUID_BYTES];
    struct err_text et;
    apns_push_id push_id;
    struct apns_push p = {.token = token,
                          .apns_id = id,
                          .topic = "com.example.vcs.voip",
                          .type = APNS_TYPE_VOIP,
                          .priority = 10,
                          .payload = PAYLOAD,
                          .payload_len = strlen(PAYLOAD),
                          .deadline_ms = clock_mono_ms() + l->deadline_ms,
                          .lane = (enum apns_lane)(bad ? l->bad_lane : l->lane)};
    snprintf(token, sizeof token, "%s%061x", bad ? "bad" : "00f", bad ? push : push % l->tokens);
    snprintf(id, sizeof id, "8b1a9953-c461-4296-a827-%012x", push);
    l->tickets[push] = (struct ticket){l, push};
    l->last_deadline_ms = p.deadline_ms;
    int err = apns_push(l->credential[push % l->credentials], &p, on_result, &l->tickets[push], &push_id, &et);
    if (err == 0)
        push_tally_sent(l->tally, push, p.deadline_ms);
    else
        push_tally_not_taken(l->tally, err);
}

static void on_closed(void *arg) {
    (void)arg;
}

static void on_timer_closed(uv_handle_t *h) {
    struct load *l = h->data;
    apns_close(l->client, on_closed, NULL);
}

static bool ready(const struct load *l) {
    bool all = true;
    for (unsigned i = 0; i < l->credentials; i++)
        all = all && apns_credential_ready(l->credential[i]);
    return all || clock_mono_us() - l->began_us >= l->ready_ms * 1000ULL;
}

static void on_tick(uv_timer_t *t) {
    struct load *l = t->data;
    if (!l->first_us && !ready(l))
        return;
    if (!l->first_us)
        l->first_us = clock_mono_us();
    uint64_t due = l->rate ? (clock_mono_us() - l->first_us) * l->rate / 1000000 + l->burst : UINT64_MAX;
    due -= due % l->burst;
    while (l->next < l->count && l->next < due && push_tally_under_way(l->tally) < l->outstanding)
        push_one(l);
    unsigned under_way = push_tally_under_way(l->tally);
    if (l->next < l->count || (under_way > 0 && clock_mono_ms() < l->last_deadline_ms + GRACE_MS))
        return;
    push_tally_end(l->tally);
    uv_close((uv_handle_t *)t, on_timer_closed);
}

static bool parse(struct load *l, int argc, char **argv, int *status) {
    static const char *const lanes[] = {"ring", "probe", "bulk", NULL};
    const struct peer_option options[] = {
        {"host", PEER_OPTION_TEXT, &l->host, NULL},
        {"addresses", PEER_OPTION_TEXT, &l->addresses, NULL},
        {"port", PEER_OPTION_NUMBER, &l->port, NULL},
        {"ca", PEER_OPTION_TEXT, &l->ca_file, NULL},
        {"key", PEER_OPTION_TEXT, &l->key_file, NULL},
        {"count", PEER_OPTION_NUMBER, &l->count, NULL},
        {"rate", PEER_OPTION_NUMBER, &l->rate, NULL},
        {"burst", PEER_OPTION_NUMBER, &l->burst, NULL},
        {"outstanding", PEER_OPTION_NUMBER, &l->outstanding, NULL},
        {"deadline-ms", PEER_OPTION_NUMBER, &l->deadline_ms, NULL},
        {"lane", PEER_OPTION_CHOICE, &l->lane, lanes},
        {"tokens", PEER_OPTION_NUMBER, &l->tokens, NULL},
        {"bad", PEER_OPTION_NUMBER, &l->bad_per_mille, NULL},
        {"bad-lane", PEER_OPTION_CHOICE, &l->bad_lane, lanes},
        {"ring-connections", PEER_OPTION_NUMBER, &l->ring_connections, NULL},
        {"hedge-ms", PEER_OPTION_NUMBER, &l->hedge_ms, NULL},
        {"no-hedge", PEER_OPTION_FLAG, &l->no_hedge, NULL},
        {"credentials", PEER_OPTION_NUMBER, &l->credentials, NULL},
        {"warm-up", PEER_OPTION_NUMBER, &l->warm_up, NULL},
        {"ready-ms", PEER_OPTION_NUMBER, &l->ready_ms, NULL},
        {"log", PEER_OPTION_FLAG, &l->log, NULL},
    };
    if (!peer_options_parse(PROGRAM, usage, options, sizeof options / sizeof *options, argc, argv, status))
        return false;
    *status = 1;
    const struct {
        bool wrong;
        const char *mend;
    } checks[] = {
        {!l->port || l->port > UINT16_MAX, "--port: 1 to 65535 is needed"},
        {!l->ca_file, "--ca: a file is needed"},
        {!l->key_file, "--key: a file is needed"},
        {!l->count || !l->tokens || !l->outstanding || !l->burst,
         "--count, --tokens, --outstanding, --burst: at least 1 is needed"},
        {l->bad_per_mille > 1000, "--bad: at most 1000"},
        {!l->credentials || l->credentials > CREDENTIALS_MAX, "--credentials: 1 to 16 are needed"},
        {l->addresses && !push_names_set(l->addresses), "--addresses: 1 to 16 are needed, with commas between"},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (checks[i].wrong) {
            fprintf(stderr, PROGRAM ": %s\n", checks[i].mend);
            return false;
        }
    }
    return true;
}

static int add_credentials(struct load *l, struct err_text *et) {
    char *pem, name[16];
    size_t pem_len;
    int err = secret_file_read(&pem, &pem_len, l->key_file, et);
    if (err != 0)
        return err;
    for (unsigned i = 0; i < l->credentials && err == 0; i++) {
        const struct apns_credential_config cfg = {.name = name,
                                                   .host = l->host,
                                                   .port = (uint16_t)l->port,
                                                   .ca_file = l->ca_file,
                                                   .team_id = "ABCDE12345",
                                                   .key_id = "FGHIJ67890",
                                                   .key_pem = pem,
                                                   .key_pem_len = pem_len,
                                                   .ring_connections = l->ring_connections,
                                                   .hedge_ms = l->no_hedge ? APNS_HEDGE_OFF : l->hedge_ms};
        snprintf(name, sizeof name, "load-%u", i);
        err = apns_credential_add(l->client, &l->credential[i], &cfg, et);
    }
    secret_free(pem, pem_len);
    return err;
}

int main(int argc, char **argv) {
    static struct load l = {.host = "localhost",
                            .count = 1000,
                            .burst = 1,
                            .outstanding = 500,
                            .deadline_ms = 30000,
                            .tokens = 1,
                            .credentials = 1};
    struct err_text et = {"out of memory"};
    uv_loop_t *loop = uv_default_loop();
    int status;
    if (!parse(&l, argc, argv, &status))
        return status;
    log_setup(l.log ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR + 1, LOG_FORMAT_LOGFMT);
    l.tally = push_tally_new(l.count, l.warm_up);
    l.tickets = calloc(l.count, sizeof *l.tickets);
    if (!l.tally || !l.tickets || apns_new(&l.client, loop, NULL) != 0 || add_credentials(&l, &et) != 0) {
        fprintf(stderr, PROGRAM ": %s\n", et.s);
        return 1;
    }
    apns_set_alarm(l.client, on_alarm, &l);
    l.began_us = clock_mono_us();
    uv_timer_init(loop, &l.timer);
    l.timer.data = &l;
    uv_timer_start(&l.timer, on_tick, 0, TICK_MS);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    push_tally_print(l.tally, stdout);
    status = push_tally_whole(l.tally) ? 0 : 1;
    l.tally = push_tally_free(l.tally);
    free(l.tickets);
    return status;
}
