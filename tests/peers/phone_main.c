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

struct program {
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    struct phone *phone;
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
    "  --habit HABIT           answers, declines, busy, ignores, no-report, filtered, silent (answers)\n"
    "  --foreground            stay attached in the foreground\n"
    "  --on-call               another call is active\n"
    "  --wake-ms N (150), --answer-ms N (300), --hangup-ms N (0: the caller ends the call)\n"
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
    if (strcmp(event, "ready") == 0 && p->ready_file) {
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
    static const char *const habits[] = {"answers",   "declines", "busy",   "ignores",
                                         "no-report", "filtered", "silent", NULL};
    int habit = PHONE_ANSWERS;
    const struct peer_option options[] = {
        {"sim", PEER_OPTION_TEXT, &cfg->sim_url, NULL},
        {"api", PEER_OPTION_TEXT, api, NULL},
        {"api-token-file", PEER_OPTION_TEXT, token_file, NULL},
        {"ca-file", PEER_OPTION_TEXT, &cfg->ca_file, NULL},
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
    if (p->phone)
        phone_close(p->phone);
    while (uv_run(&p->loop, UV_RUN_DEFAULT) != 0) {
        /* libwebsockets stops the loop when its own handles are gone, ours may not be yet. */
    }
    p->phone = phone_free(p->phone);
    uv_loop_close(&p->loop);
}

int main(int argc, char **argv) {
    struct program p = {0};
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
    /* libsrtp tests itself, which takes longer than a handshake: not within a call. */
    if (peer_http_init(&cfg.api, api, token_file, cfg.ca_file, &et) != 0 || rtp_crypt_init(&et) != 0) {
        fprintf(stderr, "wakegate-phone: %s\n", et.s);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&p.loop);
    uv_signal_init(&p.loop, &p.sigterm);
    uv_signal_init(&p.loop, &p.sigint);
    uv_signal_start(&p.sigterm, on_signal, SIGTERM);
    uv_signal_start(&p.sigint, on_signal, SIGINT);
    if (phone_new(&p.phone, &p.loop, &cfg, on_event, &p, &et) != 0) {
        fprintf(stderr, "wakegate-phone: %s\n", et.s);
        p.status = 1;
    } else {
        uv_run(&p.loop, UV_RUN_DEFAULT);
    }
    close_and_drain(&p);
    rtp_crypt_shutdown();
    return p.status;
}
