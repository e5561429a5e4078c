/* SPDX-License-Identifier: Apache-2.0 */
/* wakegate-phone: command line around tests/peers/phone.h. Events go to stdout as JSON lines. */
#include "base/log.h"
#include "dtls/rtp_crypt.h"
#include "tests/peers/peer_options.h"
#include "tests/peers/phone.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PHONES_MAX 256
#define NAME_BYTES 140 /* of a device or user, and a number */

struct program {
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    struct phone *phones[PHONES_MAX];
    struct phone_config configs[PHONES_MAX];
    char names[PHONES_MAX][2][NAME_BYTES];
    unsigned count, ready;
    struct peer_net *net;
    const char *ca_file;
    const char *ready_file;
    bool once;
    int status;
};

static const char usage[] =
    "usage: wakegate-phone --sim URL --api URL --api-token-file FILE --device ID --user USER [OPTION]...\n"
    "A simulated iPhone: sleeps until the APNs simulator delivers a push, attaches to the gateway, takes the media.\n"
    "Events are printed as JSON lines.\n\n"
    "  --sim URL               control address of wakegate-apns-sim, e.g. ws://127.0.0.1:2180\n"
    "  --api URL               the gateway, e.g. http://127.0.0.1:8080\n"
    "  --api-token-file FILE   API token with the scope devices\n"
    "  --ca-file FILE          trust this CA for https and wss\n"
    "  --device ID, --user USER, --app NAME (vcs), --bundle ID (com.example.vcs), --environment ENV (production)\n"
    "  --push-token HEX        register this device token (default: the simulator makes one)\n"
    "  --handoff MODES         what the app can do, in order: transfer, sealed, sdes, dtls (transfer,sdes,dtls)\n"
    "  --ui callkit|lck|alert  how it reports calls (callkit)\n"
    "  --os VERSION            iOS version (26.4); before 26.4 there is no mustReport\n"
    "  --app-version VERSION   (1.0)\n"
    "  --habit HABIT           answers, declines, busy, ignores, no-report, filtered, silent, confesses, late, fails\n"
    "                          (answers); the manual page says what each does\n"
    "  --foreground            stay attached in the foreground\n"
    "  --on-call               another call is active\n"
    "  --wake-ms N (150), --answer-ms N (300), --hangup-ms N (0: the caller ends the call)\n"
    "  --report-ms N           habit late: from the receipt to the report (3000); the system waits for 7000\n"
    "  --block-after N         violations after which the system launches the app no more (0: it always does)\n"
    "  --tap-ms N              from a visible notification to the tap on it (0: nobody looks)\n"
    "  --network NAME          what receipts say of the network, e.g. wifi\n"
    "  --count N               so many phones, ID-1 and USER-1 to ID-N and USER-N\n"
    "  --attach-ms N           from running code to the connection to the gateway (0)\n"
    "  --tone HZ (880), --expect-tone HZ (440)\n"
    "  --once                  leave after one call; exit 0 when the expected tone was heard\n"
    "  --ready-file FILE       write {\"device\": ...} there once the phone is registered\n"
    "  --help, --version\n";

static void on_event(const char *event, const json_t *fields, void *arg) {
    struct program *p = arg;
    json_t *line = json_pack("{s:s}", "event", event);
    if (fields)
        json_object_update(line, (json_t *)(uintptr_t)fields);
    json_dumpf(line, stdout, JSON_COMPACT);
    fputc('\n', stdout);
    fflush(stdout);
    json_decref(line);
    if (strcmp(event, "ready") == 0 && ++p->ready == p->count && p->ready_file) {
        FILE *f = fopen(p->ready_file, "w");
        if (f) {
            json_dumpf(fields, f, JSON_COMPACT);
            fclose(f);
        }
    }
    if (p->once && strcmp(event, "call_over") == 0) {
        p->status = json_is_true(json_object_get(fields, "heard_expected")) ? 0 : 1;
        uv_stop(&p->loop);
    }
}

static void on_signal(uv_signal_t *s, int signum) {
    (void)signum;
    uv_stop(s->loop);
}

static bool parse(struct program *p, struct phone_config *cfg, const char **api, const char **token_file, int argc,
                  char **argv) {
    static const char *const habits[] = {"answers", "declines",  "busy", "ignores", "no-report", "filtered",
                                         "silent",  "confesses", "late", "fails",   NULL};
    int habit = PHONE_ANSWERS;
    const struct peer_option options[] = {
        {"sim", PEER_OPTION_TEXT, &cfg->sim_url, NULL},
        {"api", PEER_OPTION_TEXT, api, NULL},
        {"api-token-file", PEER_OPTION_TEXT, token_file, NULL},
        {"ca-file", PEER_OPTION_TEXT, &p->ca_file, NULL},
        {"device", PEER_OPTION_TEXT, &cfg->device, NULL},
        {"user", PEER_OPTION_TEXT, &cfg->user, NULL},
        {"app", PEER_OPTION_TEXT, &cfg->app, NULL},
        {"bundle", PEER_OPTION_TEXT, &cfg->bundle_id, NULL},
        {"environment", PEER_OPTION_TEXT, &cfg->environment, NULL},
        {"push-token", PEER_OPTION_TEXT, &cfg->push_token, NULL},
        {"handoff", PEER_OPTION_TEXT, &cfg->handoff, NULL},
        {"ui", PEER_OPTION_TEXT, &cfg->ui, NULL},
        {"os", PEER_OPTION_TEXT, &cfg->os_version, NULL},
        {"app-version", PEER_OPTION_TEXT, &cfg->app_version, NULL},
        {"habit", PEER_OPTION_CHOICE, &habit, habits},
        {"ready-file", PEER_OPTION_TEXT, &p->ready_file, NULL},
        {"wake-ms", PEER_OPTION_NUMBER, &cfg->wake_ms, NULL},
        {"attach-ms", PEER_OPTION_NUMBER, &cfg->attach_ms, NULL},
        {"answer-ms", PEER_OPTION_NUMBER, &cfg->answer_ms, NULL},
        {"hangup-ms", PEER_OPTION_NUMBER, &cfg->hangup_ms, NULL},
        {"report-ms", PEER_OPTION_NUMBER, &cfg->report_ms, NULL},
        {"block-after", PEER_OPTION_NUMBER, &cfg->block_after, NULL},
        {"tap-ms", PEER_OPTION_NUMBER, &cfg->tap_ms, NULL},
        {"network", PEER_OPTION_TEXT, &cfg->network, NULL},
        {"count", PEER_OPTION_NUMBER, &p->count, NULL},
        {"tone", PEER_OPTION_REAL, &cfg->tone_hz, NULL},
        {"expect-tone", PEER_OPTION_REAL, &cfg->expect_hz, NULL},
        {"foreground", PEER_OPTION_FLAG, &cfg->foreground, NULL},
        {"on-call", PEER_OPTION_FLAG, &cfg->on_call, NULL},
        {"once", PEER_OPTION_FLAG, &p->once, NULL},
    };
    if (!peer_options_parse("wakegate-phone", usage, options, sizeof options / sizeof *options, argc, argv, &p->status))
        return false;
    cfg->habit = (enum phone_habit)habit;
    return true;
}

static void close_and_drain(struct program *p) {
    uv_close((uv_handle_t *)&p->sigterm, NULL);
    uv_close((uv_handle_t *)&p->sigint, NULL);
    for (unsigned i = 0; i < p->count; i++)
        if (p->phones[i])
            phone_close(p->phones[i]);
    if (p->net)
        peer_net_close(p->net);
    while (uv_run(&p->loop, UV_RUN_DEFAULT) != 0) {
        /* libwebsockets stops the loop when its own handles are gone, ours may not be yet. */
    }
    for (unsigned i = 0; i < p->count; i++)
        p->phones[i] = phone_free(p->phones[i]);
    p->net = peer_net_free(p->net);
    uv_loop_close(&p->loop);
}

static int start_phones(struct program *p, const struct phone_config *cfg, struct err_text *et) {
    int err = peer_net_new(&p->net, &p->loop, p->ca_file);
    if (err != 0)
        return err_say(et, err, "the network could not be set up");
    for (unsigned i = 0; i < p->count && err == 0; i++) {
        struct phone_config *own = &p->configs[i];
        *own = *cfg;
        own->net = p->net;
        if (p->count > 1) {
            snprintf(p->names[i][0], NAME_BYTES, "%.128s-%u", cfg->device, i + 1);
            snprintf(p->names[i][1], NAME_BYTES, "%.128s-%u", cfg->user, i + 1);
            own->device = p->names[i][0];
            own->user = p->names[i][1];
        }
        err = phone_new(&p->phones[i], &p->loop, own, on_event, p, et);
    }
    return err;
}

int main(int argc, char **argv) {
    static struct program p = {.count = 1};
    struct err_text et = {""};
    const char *api = NULL, *token_file = NULL;
    struct phone_config cfg = {
        .app = "vcs",
        .bundle_id = "com.example.vcs",
        .environment = "production",
        .os_version = "26.4",
        .app_version = "1.0",
        .handoff = "transfer,sdes,dtls",
        .ui = "callkit",
        .wake_ms = 150,
        .answer_ms = 300,
        .report_ms = 3000,
        .tone_hz = 880,
        .expect_hz = 440,
    };
    log_service("phone");
    if (!parse(&p, &cfg, &api, &token_file, argc, argv))
        return p.status;
    if (!cfg.sim_url || !api || !token_file || !cfg.device || !cfg.user) {
        fputs("wakegate-phone: --sim, --api, --api-token-file, --device and --user are needed; see --help\n", stderr);
        return 1;
    }
    if (p.count < 1 || p.count > PHONES_MAX || (p.count > 1 && cfg.push_token)) {
        fprintf(stderr, "wakegate-phone: --count is 1 to %d, and each of several phones has a push token of its own\n",
                PHONES_MAX);
        return 1;
    }
    /* libsrtp tests itself, which takes longer than a handshake: not within a call. */
    if (peer_http_init(&cfg.api, api, token_file, p.ca_file, &et) != 0 || rtp_crypt_init(&et) != 0) {
        fprintf(stderr, "wakegate-phone: %s\n", et.s);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&p.loop);
    uv_signal_init(&p.loop, &p.sigterm);
    uv_signal_init(&p.loop, &p.sigint);
    uv_signal_start(&p.sigterm, on_signal, SIGTERM);
    uv_signal_start(&p.sigint, on_signal, SIGINT);
    if (start_phones(&p, &cfg, &et) != 0) {
        fprintf(stderr, "wakegate-phone: %s\n", et.s);
        p.status = 1;
    } else {
        uv_run(&p.loop, UV_RUN_DEFAULT);
    }
    close_and_drain(&p);
    rtp_crypt_shutdown();
    return p.status;
}
