/* SPDX-License-Identifier: Apache-2.0 */
/* wakegate-phone: command line around tests/peers/phone.h. Events go to stdout as JSON lines. */
#include "base/log.h"
#include "tests/peers/phone.h"

#include <getopt.h>
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
    "  --handoff MODES         what the app can do, in order (transfer,sdes,dtls)\n"
    "  --ui callkit|lck|alert  how it reports calls (callkit)\n"
    "  --os VERSION            iOS version (26.4); before 26.4 there is no mustReport\n"
    "  --app-version VERSION   (1.0)\n"
    "  --habit HABIT           answers, declines, busy, ignores, no-report, filtered, silent (answers)\n"
    "  --foreground            stay attached in the foreground\n"
    "  --on-call               another call is active\n"
    "  --wake-ms N (150), --answer-ms N (300), --hangup-ms N (0: the caller ends the call)\n"
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

static int habit_by_name(const char *name) {
    static const char *const names[] = {"answers", "declines", "busy", "ignores", "no-report", "filtered", "silent"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    return -1;
}

enum {
    OPT_FLAG_FOREGROUND = 256,
    OPT_FLAG_ON_CALL,
    OPT_FLAG_ONCE,
    OPT_HELP,
    OPT_VERSION,
    OPT_TEXT,
    OPT_NUMBER,
    OPT_REAL
};

struct option_place {
    const char *name;
    int kind;
    void *place;
};

static int parse(struct program *p, struct phone_config *cfg, const char **api, const char **token_file,
                 const char **habit, int argc, char **argv) {
    const struct option_place places[] = {
        {"sim", OPT_TEXT, &cfg->sim_url},
        {"api", OPT_TEXT, api},
        {"api-token-file", OPT_TEXT, token_file},
        {"ca-file", OPT_TEXT, &cfg->ca_file},
        {"device", OPT_TEXT, &cfg->device},
        {"user", OPT_TEXT, &cfg->user},
        {"app", OPT_TEXT, &cfg->app},
        {"bundle", OPT_TEXT, &cfg->bundle_id},
        {"environment", OPT_TEXT, &cfg->environment},
        {"push-token", OPT_TEXT, &cfg->push_token},
        {"handoff", OPT_TEXT, &cfg->handoff},
        {"ui", OPT_TEXT, &cfg->ui},
        {"os", OPT_TEXT, &cfg->os_version},
        {"app-version", OPT_TEXT, &cfg->app_version},
        {"habit", OPT_TEXT, habit},
        {"ready-file", OPT_TEXT, &p->ready_file},
        {"wake-ms", OPT_NUMBER, &cfg->wake_ms},
        {"answer-ms", OPT_NUMBER, &cfg->answer_ms},
        {"hangup-ms", OPT_NUMBER, &cfg->hangup_ms},
        {"tone", OPT_REAL, &cfg->tone_hz},
        {"expect-tone", OPT_REAL, &cfg->expect_hz},
        {"foreground", OPT_FLAG_FOREGROUND, &cfg->foreground},
        {"on-call", OPT_FLAG_ON_CALL, &cfg->on_call},
        {"once", OPT_FLAG_ONCE, &p->once},
        {"help", OPT_HELP, NULL},
        {"version", OPT_VERSION, NULL},
    };
    enum { COUNT = sizeof places / sizeof *places };
    struct option options[COUNT + 1] = {0};
    int which = 0;
    for (int i = 0; i < COUNT; i++) {
        bool argument = places[i].kind >= OPT_TEXT;
        options[i] = (struct option){places[i].name, argument ? required_argument : no_argument, NULL, places[i].kind};
    }
    for (int c; (c = getopt_long(argc, argv, "", options, &which)) != -1;) {
        void *place = c == '?' ? NULL : places[which].place;
        if (c == OPT_TEXT)
            *(const char **)place = optarg;
        else if (c == OPT_NUMBER)
            *(unsigned *)place = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == OPT_REAL)
            *(double *)place = strtod(optarg, NULL);
        else if (c == OPT_FLAG_FOREGROUND || c == OPT_FLAG_ON_CALL || c == OPT_FLAG_ONCE)
            *(bool *)place = true;
        else
            return c;
    }
    return 0;
}

static void close_and_drain(struct program *p) {
    uv_close((uv_handle_t *)&p->sigterm, NULL);
    uv_close((uv_handle_t *)&p->sigint, NULL);
    if (p->phone)
        phone_close(p->phone);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    p->phone = phone_free(p->phone);
    uv_loop_close(&p->loop);
}

int main(int argc, char **argv) {
    struct program p = {0};
    struct err_text et = {""};
    const char *api = NULL, *token_file = NULL, *habit = "answers";
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
    switch (parse(&p, &cfg, &api, &token_file, &habit, argc, argv)) {
    case 0:
        break;
    case OPT_HELP:
        fputs(usage, stdout);
        return 0;
    case OPT_VERSION:
        puts("wakegate-phone " WAKEGATE_VERSION);
        return 0;
    default:
        fputs(usage, stderr);
        return 1;
    }
    int h = habit_by_name(habit);
    if (!cfg.sim_url || !api || !token_file || !cfg.device || !cfg.user || h < 0) {
        fprintf(
            stderr,
            "wakegate-phone: --sim, --api, --api-token-file, --device and --user are needed, and a known --habit\n%s",
            usage);
        return 1;
    }
    cfg.habit = (enum phone_habit)h;
    snprintf(cfg.api.base, sizeof cfg.api.base, "%s", api);
    cfg.api.ca_file = cfg.ca_file;
    if (peer_http_token_file(&cfg.api, token_file, &et) != 0) {
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
    return p.status;
}
