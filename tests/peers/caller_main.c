/* SPDX-License-Identifier: Apache-2.0 */
/* wakegate-caller: command line around tests/peers/caller.h; one call, or a load of many. */
#include "base/log.h"
#include "dtls/rtp_crypt.h"
#include "tests/peers/caller.h"
#include "tests/peers/caller_report.h"
#include "tests/peers/peer_options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM      "wakegate-caller"
#define LOOK_MS      100
#define LOOK_LOAD_MS 500 /* many callers that look often would measure themselves */
#define PACE_MS      5
#define CALLS_MAX    1000000U

static const char usage[] =
    "usage: wakegate-caller --api URL --api-token-file FILE --callee NAME [OPTION]...\n"
    "A DTLS-SRTP caller: places a call over REST, plays a tone, hears the callee, ends the call.\n"
    "Exit status 0 when every call was answered, media flowed both ways and the expected tone was heard.\n\n"
    "  --api URL               the gateway, e.g. http://127.0.0.1:8080\n"
    "  --api-token-file FILE   API token with the scope calls\n"
    "  --ca-file FILE          trust this CA for https\n"
    "  --callee NAME           whom to call\n"
    "  --handle H, --name N    who calls (+15550100, \"Ward 3\")\n"
    "  --tone HZ (440), --expect-tone HZ (880; 0: any packets will do)\n"
    "  --expect-ringback HZ    a tone that has to be heard before the answer (0: it does not matter)\n"
    "  --codec pcmu|opus       (pcmu)\n"
    "  --setup actpass|active|passive  the offer's a=setup (actpass)\n"
    "  --profile gcm128|gcm256|cm80    offer this SRTP profile alone (default: all)\n"
    "  --duration-ms N         how long to talk once the call is active (2000)\n"
    "  --hangup delete|dtls|never      end the call over REST, by close_notify, or leave it to the callee (delete)\n"
    "  --timeout-ms N          for the call to become active (60000)\n"
    "  --data TEXT             say this over DTLS, beside the media; with --json, what comes back is told\n"
    "  --no-media              no offer: the call only rings\n"
    "  --no-ice                offer as a PBX does: an address, no ICE\n"
    "  --address IP            with --no-ice: where the socket is bound (127.0.0.1)\n"
    "  --claim HOST:PORT       with --no-ice: what the offer says instead of the socket's address, as behind a NAT\n"
    "  --timeline              print the call's timeline\n"
    "  --json                  one JSON line for each call at its end\n"
    "  --calls N (1), --rate PER_S (0: as fast as they end), --concurrent N (1; with --rate: no limit)\n"
    "  --help, --version\n";

struct program {
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    uv_timer_t pace;
    struct caller_config cfg;
    const char *api, *token_file, *address, *claim;
    bool json, stopping;
    double rate_per_s;
    unsigned calls, concurrent;
    int profile;
    uint64_t began_ms;
    unsigned started, running;
    struct caller **callers; /* a slot for each call; NULL before it starts and after it is done */
    struct caller_totals totals;
    int status;
};

struct slot {
    struct program *program;
    unsigned index;
};

static void finish(struct program *p) {
    uv_close((uv_handle_t *)&p->pace, NULL);
    uv_close((uv_handle_t *)&p->sigterm, NULL);
    uv_close((uv_handle_t *)&p->sigint, NULL);
}

static void start_due(struct program *p);

static void on_done(const struct caller_result *r, void *arg) {
    struct slot *s = arg;
    struct program *p = s->program;
    p->callers[s->index] = NULL;
    p->running--;
    free(s);
    caller_totals_add(&p->totals, r);
    if (p->cfg.timeline && r->timeline)
        caller_print_timeline(stdout, r);
    if (p->json)
        caller_print_json(stdout, r);
    start_due(p);
}

static bool start_one(struct program *p) {
    struct slot *s = calloc(1, sizeof *s);
    if (!s)
        return false;
    *s = (struct slot){p, p->started};
    if (caller_start(&p->callers[s->index], &p->loop, &p->cfg, on_done, s) != 0) {
        free(s);
        return false;
    }
    p->started++;
    p->running++;
    return true;
}

/* Starts the calls whose time has come; when all are done, the loop may run empty. */
static void start_due(struct program *p) {
    unsigned due = p->calls;
    if (p->rate_per_s > 0) {
        double n = 1 + (double)(uv_now(&p->loop) - p->began_ms) / 1000 * p->rate_per_s;
        due = n < due ? (unsigned)n : due;
    }
    while (!p->stopping && p->started < due && p->running < p->concurrent) {
        if (!start_one(p)) {
            err_say(&p->totals.first_failure, E_IO,
                    "a call could not be begun: out of memory, or --address is not ours");
            p->stopping = true;
        }
    }
    if (p->running == 0 && (p->stopping || p->started == p->calls) && !uv_is_closing((uv_handle_t *)&p->pace))
        finish(p);
}

static void on_pace(uv_timer_t *t) {
    start_due(t->data);
}

static void on_signal(uv_signal_t *s, int signum) {
    struct program *p = s->data;
    (void)signum;
    p->stopping = true;
    for (unsigned i = 0; i < p->started; i++)
        if (p->callers[i])
            caller_stop(p->callers[i]);
    start_due(p);
}

static bool parse(struct program *p, int argc, char **argv) {
    static const char *const setups[] = {"actpass", "active", "passive", NULL},
                             *const codecs[] = {"pcmu", "opus", NULL},
                             *const profiles[] = {"gcm128", "gcm256", "cm80", NULL},
                             *const hangups[] = {"delete", "dtls", "never", NULL};
    struct caller_config *cfg = &p->cfg;
    int setup = 0, codec = 0, hangup = CALLER_DELETES;
    const struct peer_option options[] = {
        {"api", PEER_OPTION_TEXT, &p->api, NULL},
        {"api-token-file", PEER_OPTION_TEXT, &p->token_file, NULL},
        {"ca-file", PEER_OPTION_TEXT, &cfg->api.ca_file, NULL},
        {"callee", PEER_OPTION_TEXT, &cfg->callee, NULL},
        {"handle", PEER_OPTION_TEXT, &cfg->handle, NULL},
        {"name", PEER_OPTION_TEXT, &cfg->name, NULL},
        {"tone", PEER_OPTION_REAL, &cfg->tone_hz, NULL},
        {"expect-tone", PEER_OPTION_REAL, &cfg->expect_hz, NULL},
        {"expect-ringback", PEER_OPTION_REAL, &cfg->ringback_hz, NULL},
        {"codec", PEER_OPTION_CHOICE, &codec, codecs},
        {"setup", PEER_OPTION_CHOICE, &setup, setups},
        {"profile", PEER_OPTION_CHOICE, &p->profile, profiles},
        {"duration-ms", PEER_OPTION_NUMBER, &cfg->duration_ms, NULL},
        {"hangup", PEER_OPTION_CHOICE, &hangup, hangups},
        {"timeout-ms", PEER_OPTION_NUMBER, &cfg->timeout_ms, NULL},
        {"data", PEER_OPTION_TEXT, &cfg->say, NULL},
        {"no-media", PEER_OPTION_FLAG, &cfg->no_media, NULL},
        {"no-ice", PEER_OPTION_FLAG, &cfg->no_ice, NULL},
        {"address", PEER_OPTION_TEXT, &p->address, NULL},
        {"claim", PEER_OPTION_TEXT, &p->claim, NULL},
        {"timeline", PEER_OPTION_FLAG, &cfg->timeline, NULL},
        {"json", PEER_OPTION_FLAG, &p->json, NULL},
        {"calls", PEER_OPTION_NUMBER, &p->calls, NULL},
        {"rate", PEER_OPTION_REAL, &p->rate_per_s, NULL},
        {"concurrent", PEER_OPTION_NUMBER, &p->concurrent, NULL},
    };
    if (!peer_options_parse(PROGRAM, usage, options, sizeof options / sizeof *options, argc, argv, &p->status))
        return false;
    static const enum sdp_setup setup_values[] = {SDP_SETUP_ACTPASS, SDP_SETUP_ACTIVE, SDP_SETUP_PASSIVE};
    cfg->setup = setup_values[setup];
    cfg->codec = codec == 0 ? PEER_CODEC_PCMU : PEER_CODEC_OPUS;
    cfg->hangup = (enum caller_hangup)hangup;
    return true;
}

/* What the options say together. Returns 0 or E_* with a sentence. */
static int prepare(struct program *p, struct err_text *et) {
    static const enum media_profile profiles[] = {MEDIA_PROFILE_AEAD_AES_128_GCM, MEDIA_PROFILE_AEAD_AES_256_GCM,
                                                  MEDIA_PROFILE_AES128_CM_SHA1_80};
    struct caller_config *cfg = &p->cfg;
    if (!p->api || !p->token_file || !cfg->callee)
        return err_say(et, E_INVAL, "--api, --api-token-file and --callee are needed; see --help");
    if (p->calls == 0 || p->calls > CALLS_MAX)
        return err_say(et, E_INVAL, "--calls: 1 to %u calls can be placed", CALLS_MAX);
    if (cfg->no_media && cfg->hangup == CALLER_CLOSES_DTLS)
        return err_say(et, E_INVAL, "--hangup dtls: there is no DTLS with --no-media");
    if ((p->address || p->claim) && !cfg->no_ice)
        return err_say(et, E_INVAL, "--address and --claim: they belong to --no-ice");
    if (addr_parse(&cfg->address, p->address ? p->address : "127.0.0.1", 0) != 0)
        return err_say(et, E_INVAL, "--address: \"%s\" is not an IP address", p->address);
    if (p->claim && addr_parse_hostport(&cfg->claim, p->claim) != 0)
        return err_say(et, E_INVAL, "--claim: \"%s\" is not an address and a port, e.g. 192.0.2.1:4000", p->claim);
    cfg->look_ms = p->calls > 1 ? LOOK_LOAD_MS : LOOK_MS;
    if (p->concurrent == 0)
        p->concurrent = p->rate_per_s > 0 ? p->calls : 1;
    int err = peer_http_init(&cfg->api, p->api, p->token_file, cfg->api.ca_file, et);
    if (err == 0 && !cfg->no_media)
        err = p->profile < 0
                  ? dtls_identity_new(&cfg->identity, et)
                  : dtls_identity_new_profiles(&cfg->identity, media_profile_info(profiles[p->profile])->openssl, et);
    if (err == 0 &&
        (!(p->callers = calloc(p->calls, sizeof(struct caller *))) || caller_totals_init(&p->totals, p->calls) != 0))
        err = err_say(et, E_NOMEM, "out of memory");
    return err;
}

static void run(struct program *p) {
    signal(SIGPIPE, SIG_IGN);
    if (p->concurrent > 4)
        setenv("UV_THREADPOOL_SIZE", "16", 0); /* requests wait on these threads */
    uv_loop_init(&p->loop);
    uv_signal_init(&p->loop, &p->sigterm);
    uv_signal_init(&p->loop, &p->sigint);
    uv_timer_init(&p->loop, &p->pace);
    p->sigterm.data = p->sigint.data = p->pace.data = p;
    uv_signal_start(&p->sigterm, on_signal, SIGTERM);
    uv_signal_start(&p->sigint, on_signal, SIGINT);
    p->began_ms = uv_now(&p->loop);
    uv_timer_start(&p->pace, on_pace, 0, PACE_MS);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
}

static void conclude(struct program *p) {
    struct caller_totals *t = &p->totals;
    if (p->calls > 1)
        caller_totals_print(stdout, t, p->json);
    fflush(stdout);
    if (t->ok == p->calls)
        return;
    p->status = 1;
    if (!t->first_failure.s[0])
        err_say(&t->first_failure, E_STATE, "interrupted before all calls were placed");
    if (p->calls == 1)
        fprintf(stderr, PROGRAM ": %s\n", t->first_failure.s);
    else
        fprintf(stderr, PROGRAM ": %zu of %zu calls did not succeed; the first: %s\n", t->calls - t->ok, t->calls,
                t->first_failure.s);
}

int main(int argc, char **argv) {
    struct err_text et = {""};
    struct program p = {
        .cfg = {.handle = "+15550100",
                .name = "Ward 3",
                .tone_hz = 440,
                .expect_hz = 880,
                .duration_ms = 2000,
                .timeout_ms = 60000},
        .calls = 1,
        .profile = -1,
    };
    log_service("caller");
    if (!parse(&p, argc, argv))
        return p.status;
    /* libsrtp tests itself when it starts, which takes longer than a handshake: not within a call. */
    if (prepare(&p, &et) == 0 && rtp_crypt_init(&et) == 0) {
        run(&p);
        rtp_crypt_shutdown();
        conclude(&p);
    } else {
        fprintf(stderr, PROGRAM ": %s\n", et.s);
        p.status = 1;
    }
    caller_totals_free(&p.totals);
    free(p.callers);
    dtls_identity_free(p.cfg.identity);
    return p.status;
}
