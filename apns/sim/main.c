/* SPDX-License-Identifier: Apache-2.0 */
/* wakegate-apns-sim: command line around apns/sim/sim.h. */
#include "apns/sim/sim.h"
#include "base/log.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 160

static const char usage[] =
    "usage: wakegate-apns-sim --cert FILE --key FILE --auth-key TEAM:KEYID:FILE --bundle ID [OPTION]...\n"
    "A simulator of the Apple Push Notification service.\n\n"
    "  --listen ADDRESS:PORT       HTTP/2 for providers (127.0.0.1:2197); repeatable: several addresses\n"
    "  --control ADDRESS:PORT      control API and simulated phones (127.0.0.1:2180)\n"
    "  --cert FILE, --key FILE     the server's certificate and key in PEM\n"
    "  --auth-key TEAM:KEYID:FILE  a provider key that is accepted: a public or private key on P-256 in PEM; "
    "repeatable\n"
    "  --bundle ID                 an app's bundle id that may be sent to; repeatable\n"
    "  --client-ca FILE            client certificates must lead to one of these; without it any is trusted\n"
    "  --environment ENV           production or sandbox (production)\n"
    "  --scenario FILE             JSON: {\"behaviour\", \"bundles\", \"devices\", \"rules\"}\n"
    "  --rule JSON                 a rule of the script, after those of the scenario; repeatable\n"
    "  --log-format FORMAT         logfmt or json (logfmt)\n"
    "  --ready-file FILE           write {\"listen\": ..., \"control\": ...} there once up\n"
    "  --help, --version\n\n"
    "Behaviour. The same names, with _ for -, are keys of a scenario's \"behaviour\" and of /v1/behaviour.\n"
    "Time is the virtual clock's.\n";

struct program {
    struct sim_config cfg;
    struct sim_behaviour behaviour;
    json_t *scenario, *rules;
    bool listens; /* --listen was given */
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
    OPT_CLIENT_CA,
    OPT_ENVIRONMENT,
    OPT_SCENARIO,
    OPT_RULE,
    OPT_FORMAT,
    OPT_READY,
    OPT_HELP,
    OPT_VERSION,
    OPT_BEHAVIOUR = 512 /* and the row of the behaviour's table */
};

static int help(void) {
    struct buf rows = {0};
    fputs(usage, stdout);
    sim_behaviour_help(&rows);
    fputs(rows.p, stdout);
    buf_free(&rows);
    return 0;
}

static int add_listen(struct program *p, const char *text) {
    struct sim_config *cfg = &p->cfg;
    if (!p->listens) {
        cfg->listen = text;
        p->listens = true;
        return -1;
    }
    if (cfg->listen_more_count == SIM_LISTENERS_MAX - 1)
        return fail("--listen: at most 16");
    cfg->listen_more[cfg->listen_more_count++] = text;
    return -1;
}

static int add_rule(struct program *p, const char *text) {
    json_error_t why;
    json_t *rule = json_loads(text, 0, &why);
    char said[256];
    if (rule && json_array_append_new(p->rules, rule) == 0)
        return -1;
    snprintf(said, sizeof said, "--rule: %s", why.text);
    return fail(said);
}

static int take_behaviour(struct program *p, unsigned row) {
    struct err_text et = {""};
    char said[ERR_TEXT_BYTES + 4];
    size_t count;
    const char *name = sim_behaviour_table(&count)[row].name;
    if (sim_behaviour_set_text(&p->behaviour, name, optarg, &et) == 0)
        return -1;
    snprintf(said, sizeof said, "--%s", et.s);
    for (char *s = said; *s && *s != ':'; s++)
        if (*s == '_')
            *s = '-';
    return fail(said);
}

/* Returns -1 to go on, else the exit status. */
static int take_option(struct program *p, int c) {
    struct sim_config *cfg = &p->cfg;
    switch (c) {
    case OPT_LISTEN:
        return add_listen(p, optarg);
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
    case OPT_CLIENT_CA:
        cfg->client_ca_file = optarg;
        return -1;
    case OPT_ENVIRONMENT:
        cfg->sandbox = strcmp(optarg, "sandbox") == 0;
        return cfg->sandbox || strcmp(optarg, "production") == 0 ? -1 : fail("--environment: production or sandbox");
    case OPT_RULE:
        return add_rule(p, optarg);
    case OPT_FORMAT:
        log_setup(LOG_LEVEL_INFO, strcmp(optarg, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT);
        return -1;
    case OPT_READY:
        p->ready_file = optarg;
        return -1;
    case OPT_SCENARIO: /* it was read before all others, so that they go before it */
        return -1;
    case OPT_HELP:
        return help();
    case OPT_VERSION:
        puts("wakegate-apns-sim " WAKEGATE_VERSION);
        return 0;
    default:
        if (c >= OPT_BEHAVIOUR)
            return take_behaviour(p, (unsigned)(c - OPT_BEHAVIOUR));
        fputs("wakegate-apns-sim: --help tells what there is\n", stderr);
        return 1;
    }
}

/* The fixed options, then one for each row of the behaviour's table, its name with '-'. */
static void make_options(struct option *out, char names[][64]) {
    static const struct option fixed[] = {{"listen", required_argument, NULL, OPT_LISTEN},
                                          {"control", required_argument, NULL, OPT_CONTROL},
                                          {"cert", required_argument, NULL, OPT_CERT},
                                          {"key", required_argument, NULL, OPT_KEY},
                                          {"auth-key", required_argument, NULL, OPT_AUTH},
                                          {"bundle", required_argument, NULL, OPT_BUNDLE},
                                          {"client-ca", required_argument, NULL, OPT_CLIENT_CA},
                                          {"environment", required_argument, NULL, OPT_ENVIRONMENT},
                                          {"scenario", required_argument, NULL, OPT_SCENARIO},
                                          {"rule", required_argument, NULL, OPT_RULE},
                                          {"log-format", required_argument, NULL, OPT_FORMAT},
                                          {"ready-file", required_argument, NULL, OPT_READY},
                                          {"help", no_argument, NULL, OPT_HELP},
                                          {"version", no_argument, NULL, OPT_VERSION}};
    size_t count, n = sizeof fixed / sizeof *fixed;
    const struct sim_field *table = sim_behaviour_table(&count);
    memcpy(out, fixed, sizeof fixed);
    for (size_t i = 0; i < count && n + 1 < OPTIONS_MAX; i++, n++) {
        snprintf(names[i], sizeof names[i], "%s", table[i].name);
        for (char *s = names[i]; *s; s++)
            if (*s == '_')
                *s = '-';
        out[n] = (struct option){names[i], table[i].kind == SIM_FLAG ? optional_argument : required_argument, NULL,
                                 OPT_BEHAVIOUR + (int)i};
    }
    out[n] = (struct option){0};
}

/* Returns -1 to go on, else the exit status. */
static int read_scenario(struct program *p, const char *path) {
    struct err_text et = {""};
    json_error_t why;
    char said[ERR_TEXT_BYTES + 256];
    json_decref(p->scenario);
    p->scenario = json_load_file(path, 0, &why);
    const json_t *behaviour = json_object_get(p->scenario, "behaviour");
    if (!json_is_object(p->scenario))
        err_say(&et, E_INVAL, "line %d: %s", why.line, p->scenario ? "a JSON object is needed" : why.text);
    else if (!behaviour || sim_behaviour_set_json(&p->behaviour, behaviour, &et) == 0)
        return -1;
    snprintf(said, sizeof said, "--scenario: %.200s: %s", path, et.s);
    return fail(said);
}

static int parse(struct program *p, int argc, char **argv) {
    struct option options[OPTIONS_MAX];
    char names[OPTIONS_MAX][64];
    int status = -1, errors = opterr;
    make_options(options, names);
    sim_behaviour_defaults(&p->behaviour);
    p->rules = json_array();
    opterr = 0;
    for (int c; status < 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (c == OPT_SCENARIO)
            status = read_scenario(p, optarg);
    opterr = errors;
    optind = 1;
    for (int c; status < 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        status = take_option(p, c);
    if (status >= 0)
        return status;
    bool bundles = p->cfg.bundle_count || json_array_size(json_object_get(p->scenario, "bundles"));
    p->cfg.behaviour = &p->behaviour;
    p->cfg.scenario = p->scenario;
    p->cfg.rules = p->rules;
    if (optind < argc || !p->cfg.certificate_file || !p->cfg.key_file)
        return fail("--cert, --key, --auth-key and --bundle are needed; --help tells more");
    bool tokens = p->cfg.key_count || p->behaviour.client_certificates;
    return p->behaviour.bench || (tokens && bundles)
               ? -1
               : fail("--cert, --key, --auth-key and --bundle are needed; --help tells more");
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
        fprintf(f, "{\"listen\":\"%s\",\"control\":\"%s\",\"addresses\":[\"%s\"", listen_text, control, listen_text);
        for (unsigned i = 1; sim_address_more(p->sim, i); i++)
            fprintf(f, ",\"%s\"", addr_str(listen_text, sim_address_more(p->sim, i)));
        fputs("]}\n", f);
        fclose(f);
    }
}

static int serve(struct program *p) {
    struct err_text et = {""};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&p->loop);
    if (sim_start(&p->sim, &p->loop, &p->cfg, &et) != 0) {
        uv_loop_close(&p->loop);
        return fail(et.s);
    }
    uv_signal_init(&p->loop, &p->sigterm);
    uv_signal_init(&p->loop, &p->sigint);
    uv_signal_start(&p->sigterm, on_signal, SIGTERM);
    uv_signal_start(&p->sigint, on_signal, SIGINT);
    announce(p);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&p->sigterm, NULL);
    uv_close((uv_handle_t *)&p->sigint, NULL);
    sim_close(p->sim, on_closed, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
    return 0;
}

int main(int argc, char **argv) {
    struct program p = {.cfg = {.listen = "127.0.0.1:2197", .control = "127.0.0.1:2180"}};
    log_service("apns-sim");
    int status = parse(&p, argc, argv);
    if (status < 0)
        status = serve(&p);
    json_decref(p.scenario);
    json_decref(p.rules);
    return status;
}
