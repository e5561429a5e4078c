/* SPDX-License-Identifier: Apache-2.0 */
/* wakegate-apns-sim: command line around apns/sim/sim.h. */
#include "apns/sim/sim.h"
#include "base/log.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: wakegate-apns-sim --cert FILE --key FILE --auth-key TEAM:KEYID:FILE --bundle ID [OPTION]...\n"
    "A simulator of the Apple Push Notification service.\n\n"
    "  --listen ADDRESS:PORT     HTTP/2 for providers (127.0.0.1:2197)\n"
    "  --control ADDRESS:PORT    control API and simulated phones (127.0.0.1:2180)\n"
    "  --cert FILE, --key FILE   the server's certificate and key in PEM\n"
    "  --auth-key TEAM:KEYID:FILE  a provider key that is accepted: a public or private key on P-256 in PEM; "
    "repeatable\n"
    "  --bundle ID               an app's bundle id that may be sent to; repeatable\n"
    "  --environment ENV         production or sandbox (production)\n"
    "  --settings-streams N      streams after the first valid provider token (1000)\n"
    "  --delivery-delay-ms N     between the 200 and the phone (0)\n"
    "  --delivery-drop           answer 200 and deliver nothing\n"
    "  --log-format FORMAT       logfmt or json (logfmt)\n"
    "  --ready-file FILE         write {\"listen\": ..., \"control\": ...} there once up\n"
    "  --help, --version\n";

struct program {
    struct sim_config cfg;
    const char *ready_file;
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    struct sim *sim;
};

static int fail(const char *text) {
    fprintf(stderr, "wakegate-apns-sim: %s\n", text);
    return 1;
}

/* "TEAM:KEYID:FILE"; the parts stay in argv. */
static bool add_key(struct sim_config *cfg, char *text) {
    char *key = strchr(text, ':'), *file = key ? strchr(key + 1, ':') : NULL;
    if (!file || cfg->key_count == SIM_KEYS_MAX)
        return false;
    *key++ = *file++ = 0;
    cfg->keys[cfg->key_count++] = (struct sim_key){text, key, file};
    return true;
}

enum {
    OPT_LISTEN = 256,
    OPT_CONTROL,
    OPT_CERT,
    OPT_KEY,
    OPT_AUTH,
    OPT_BUNDLE,
    OPT_ENVIRONMENT,
    OPT_STREAMS,
    OPT_DELAY,
    OPT_DROP,
    OPT_FORMAT,
    OPT_READY,
    OPT_HELP,
    OPT_VERSION
};

/* Returns -1 to go on, else the exit status. */
static int take_option(struct program *p, int c) {
    struct sim_config *cfg = &p->cfg;
    switch (c) {
    case OPT_LISTEN:
        cfg->listen = optarg;
        return -1;
    case OPT_CONTROL:
        cfg->control = optarg;
        return -1;
    case OPT_CERT:
        cfg->certificate_file = optarg;
        return -1;
    case OPT_KEY:
        cfg->key_file = optarg;
        return -1;
    case OPT_AUTH:
        return add_key(cfg, optarg) ? -1 : fail("--auth-key: TEAM:KEYID:FILE is needed, at most 16 times");
    case OPT_BUNDLE:
        if (cfg->bundle_count == SIM_BUNDLES_MAX)
            return fail("--bundle: at most 64");
        cfg->bundles[cfg->bundle_count++] = optarg;
        return -1;
    case OPT_ENVIRONMENT:
        cfg->sandbox = strcmp(optarg, "sandbox") == 0;
        return cfg->sandbox || strcmp(optarg, "production") == 0 ? -1 : fail("--environment: production or sandbox");
    case OPT_STREAMS:
        cfg->streams_max = (unsigned)strtoul(optarg, NULL, 10);
        return cfg->streams_max ? -1 : fail("--settings-streams: a number above 0 is needed");
    case OPT_DELAY:
        cfg->delivery_delay_ms = (unsigned)strtoul(optarg, NULL, 10);
        return -1;
    case OPT_DROP:
        cfg->delivery_drop = true;
        return -1;
    case OPT_FORMAT:
        log_setup(LOG_LEVEL_INFO, strcmp(optarg, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT);
        return -1;
    case OPT_READY:
        p->ready_file = optarg;
        return -1;
    case OPT_HELP:
        fputs(usage, stdout);
        return 0;
    case OPT_VERSION:
        puts("wakegate-apns-sim " WAKEGATE_VERSION);
        return 0;
    default:
        fputs(usage, stderr);
        return 1;
    }
}

static int parse(struct program *p, int argc, char **argv) {
    static const struct option options[] = {{"listen", required_argument, NULL, OPT_LISTEN},
                                            {"control", required_argument, NULL, OPT_CONTROL},
                                            {"cert", required_argument, NULL, OPT_CERT},
                                            {"key", required_argument, NULL, OPT_KEY},
                                            {"auth-key", required_argument, NULL, OPT_AUTH},
                                            {"bundle", required_argument, NULL, OPT_BUNDLE},
                                            {"environment", required_argument, NULL, OPT_ENVIRONMENT},
                                            {"settings-streams", required_argument, NULL, OPT_STREAMS},
                                            {"delivery-delay-ms", required_argument, NULL, OPT_DELAY},
                                            {"delivery-drop", no_argument, NULL, OPT_DROP},
                                            {"log-format", required_argument, NULL, OPT_FORMAT},
                                            {"ready-file", required_argument, NULL, OPT_READY},
                                            {"help", no_argument, NULL, OPT_HELP},
                                            {"version", no_argument, NULL, OPT_VERSION},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int status = take_option(p, c);
        if (status >= 0)
            return status;
    }
    if (optind < argc || !p->cfg.certificate_file || !p->cfg.key_file || !p->cfg.key_count || !p->cfg.bundle_count)
        return fail("--cert, --key, --auth-key and --bundle are needed; --help tells more");
    return -1;
}

static void on_signal(uv_signal_t *s, int signum) {
    (void)signum;
    uv_stop(s->loop);
}

static void on_closed(void *arg) {
    (void)arg;
}

static void announce(const struct program *p) {
    char listen_text[ADDR_STR_BYTES], control[ADDR_STR_BYTES];
    addr_str(listen_text, sim_address(p->sim));
    addr_str(control, sim_control_address(p->sim));
    log_info("listening", log_s("apns", listen_text), log_s("control", control));
    FILE *f = p->ready_file ? fopen(p->ready_file, "w") : NULL;
    if (f) {
        fprintf(f, "{\"listen\":\"%s\",\"control\":\"%s\"}\n", listen_text, control);
        fclose(f);
    }
}

int main(int argc, char **argv) {
    struct program p = {.cfg = {.listen = "127.0.0.1:2197", .control = "127.0.0.1:2180", .streams_max = 1000}};
    struct err_text et = {""};
    log_service("apns-sim");
    int status = parse(&p, argc, argv);
    if (status >= 0)
        return status;
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&p.loop);
    status = sim_start(&p.sim, &p.loop, &p.cfg, &et);
    if (status != 0) {
        uv_loop_close(&p.loop);
        return fail(et.s);
    }
    uv_signal_init(&p.loop, &p.sigterm);
    uv_signal_init(&p.loop, &p.sigint);
    uv_signal_start(&p.sigterm, on_signal, SIGTERM);
    uv_signal_start(&p.sigint, on_signal, SIGINT);
    announce(&p);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&p.sigterm, NULL);
    uv_close((uv_handle_t *)&p.sigint, NULL);
    sim_close(p.sim, on_closed, NULL);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    uv_loop_close(&p.loop);
    return 0;
}
