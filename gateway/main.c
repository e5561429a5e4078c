/* SPDX-License-Identifier: Apache-2.0 */
/* wakegate: serve, check, route, push-doctor, backup, token. */
#include "base/log.h"
#include "base/secret.h"
#include "gateway/gateway.h"
#include "gateway/push_doctor.h"
#include "gateway/store_backup.h"
#include "gateway/webhooks.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: wakegate COMMAND [OPTION]...\n"
    "A gateway that rings sleeping iPhones: wakes them by APNs, finishes ICE and DTLS with the caller meanwhile, and "
    "hands\n"
    "the media over.\n\n"
    "  serve -c FILE [--ready-file FILE]   run the gateway\n"
    "  check -c FILE                       is the configuration good? exit 0, or 1 and FILE:LINE: KEY: what to mend\n"
    "  route -c FILE --callee X [--caller Y] [--tenant T]\n"
    "                                      which route takes such a call, rule by rule\n"
    "  push-doctor -c FILE [--app NAME] [--device TOKEN]\n"
    "                                      goes the way of a push step by step and says what is wrong and how to mend "
    "it;\n"
    "                                      with a device token it sends that device one real VoIP push\n"
    "  backup -c FILE --to PATH            copies the database to a file that does not exist yet, while the gateway "
    "runs\n"
    "  token new [--scope S]... [--name N] [--tenant T]\n"
    "                                      a new API token, and its line for the configuration\n"
    "                                      (scopes: calls, devices, admin; default: calls and devices)\n"
    "  --help, --version\n\n"
    "-c, --config FILE names the configuration; config/wakegate.yaml is an example with every key.\n";

#define SCOPES_MAX 3

struct options {
    const char *config, *ready_file, *callee, *caller, *tenant, *name, *app, *device, *to;
    const char *scopes[SCOPES_MAX];
    unsigned scope_count;
};

static int fail(const char *text) {
    fprintf(stderr, "wakegate: %s\n", text);
    return 1;
}

/* What would end the program waits until the gateway takes it for what it is. */
static void hold_sighup(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int cmd_serve(const struct options *o) {
    struct config *c = NULL;
    struct err_text et = {""};
    hold_sighup();
    int err = config_load(&c, o->config, &et);
    if (err == 0) {
        log_setup(c->log.level, c->log.format);
        err = gateway_run(c, o->config, o->ready_file, &et);
    }
    return err == 0 ? 0 : fail(et.s);
}

static int cmd_check(const struct options *o) {
    struct config *c = NULL;
    struct err_text et = {""};
    struct ringback *ringback = NULL;
    if (config_load(&c, o->config, &et) != 0) {
        fprintf(stderr, "%s\n", et.s);
        return 1;
    }
    if (gateway_ringback(&ringback, c, &et) != 0) {
        fprintf(stderr, "%s: %s\n", o->config, et.s);
        config_unref(c);
        return 1;
    }
    ringback_free(ringback);
    if (webhooks_check(c, &et) != 0) {
        fprintf(stderr, "%s: %s\n", o->config, et.s);
        config_unref(c);
        return 1;
    }
    printf("%s: good: %u apps, %u routes, %u tokens\n", o->config, c->apps_count, c->routes_count,
           c->auth.tokens_count);
    config_unref(c);
    return 0;
}

static int cmd_route(const struct options *o) {
    struct config *c = NULL;
    struct err_text et = {""};
    struct buf explain = {0};
    if (!o->callee)
        return fail("route: --callee is needed");
    if (config_load(&c, o->config, &et) != 0) {
        fprintf(stderr, "%s\n", et.s);
        return 1;
    }
    struct config_query q = {o->callee, o->caller ? o->caller : "", o->tenant ? o->tenant : "default"};
    const struct config_route *r = config_route(c, &q, &explain);
    fputs(explain.p ? explain.p : "", stdout);
    if (!r)
        puts("no route takes the call: it is answered with 404");
    else if (r->reject)
        printf("route \"%s\" rejects the call: %u %s\n", r->name, r->reject->status, r->reject->detail);
    else
        printf("route \"%s\" takes the call: app %s, rings for %u s\n", r->name, r->app, r->ring_timeout_s);
    bool taken = r && !r->reject;
    buf_free(&explain);
    config_unref(c);
    return taken ? 0 : 1;
}

static int cmd_push_doctor(const struct options *o) {
    struct config *c = NULL;
    struct err_text et = {""};
    if (config_load(&c, o->config, &et) != 0) {
        fprintf(stderr, "%s\n", et.s);
        return 1;
    }
    int err = push_doctor(c, o->app, o->device, &et);
    config_unref(c);
    if (et.s[0])
        return fail(et.s);
    return err == 0 ? 0 : 1;
}

static int cmd_backup(const struct options *o) {
    struct config *c = NULL;
    struct err_text et = {""};
    uint64_t bytes = 0;
    if (!o->to)
        return fail("backup: --to is needed");
    if (config_load(&c, o->config, &et) != 0) {
        fprintf(stderr, "%s\n", et.s);
        return 1;
    }
    int err = store_backup(c->store.url, o->to, &bytes, &et);
    if (err == 0)
        printf("%s: %" PRIu64 " bytes, checked\n", o->to, bytes);
    config_unref(c);
    return err == 0 ? 0 : fail(et.s);
}

static int cmd_token(const struct options *o) {
    char token[SECRET_TOKEN_BYTES], hash[SECRET_HASH_BYTES];
    struct buf scopes = {0};
    for (unsigned i = 0; i < o->scope_count; i++) {
        if (!config_scope_by_name(o->scopes[i])) {
            buf_free(&scopes);
            return fail("token: --scope is calls, devices or admin");
        }
        buf_addf(&scopes, "%s%s", i ? ", " : "", o->scopes[i]);
    }
    secret_token_new(token, SECRET_API_PREFIX);
    printf("token (shown once):  %s\n", token);
    printf("line for auth.tokens: - {name: %s, sha256: \"%s\", scopes: [%s], tenant: %s}\n",
           o->name ? o->name : "call-server", secret_hash(hash, token), scopes.len ? scopes.p : "calls, devices",
           o->tenant ? o->tenant : "default");
    secret_wipe(token, sizeof token);
    buf_free(&scopes);
    return 0;
}

static const struct command {
    const char *name, *second; /* second word, or NULL */
    bool needs_config;
    int (*run)(const struct options *o);
} commands[] = {{"serve", NULL, true, cmd_serve},   {"check", NULL, true, cmd_check},
                {"route", NULL, true, cmd_route},   {"push-doctor", NULL, true, cmd_push_doctor},
                {"backup", NULL, true, cmd_backup}, {"token", "new", false, cmd_token}};

enum { OPT_READY = 256, OPT_CALLEE, OPT_CALLER, OPT_TENANT, OPT_SCOPE, OPT_NAME, OPT_APP, OPT_DEVICE, OPT_TO };

static bool parse(struct options *o, int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"ready-file", required_argument, NULL, OPT_READY},
                                            {"callee", required_argument, NULL, OPT_CALLEE},
                                            {"caller", required_argument, NULL, OPT_CALLER},
                                            {"tenant", required_argument, NULL, OPT_TENANT},
                                            {"scope", required_argument, NULL, OPT_SCOPE},
                                            {"name", required_argument, NULL, OPT_NAME},
                                            {"app", required_argument, NULL, OPT_APP},
                                            {"device", required_argument, NULL, OPT_DEVICE},
                                            {"to", required_argument, NULL, OPT_TO},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        const char **place = c == 'c'          ? &o->config
                             : c == OPT_READY  ? &o->ready_file
                             : c == OPT_CALLEE ? &o->callee
                             : c == OPT_CALLER ? &o->caller
                             : c == OPT_TENANT ? &o->tenant
                             : c == OPT_NAME   ? &o->name
                             : c == OPT_APP    ? &o->app
                             : c == OPT_DEVICE ? &o->device
                             : c == OPT_TO     ? &o->to
                                               : NULL;
        if (c == OPT_SCOPE && o->scope_count < SCOPES_MAX)
            o->scopes[o->scope_count++] = optarg;
        else if (place)
            *place = optarg;
        else
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv) {
    struct options o = {0};
    const char *name = argc > 1 ? argv[1] : "";
    log_service("wakegate");
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        puts("wakegate " WAKEGATE_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct command *cmd = &commands[i];
        if (strcmp(cmd->name, name) != 0)
            continue;
        int words = cmd->second ? 2 : 1;
        if (cmd->second && (argc < 3 || strcmp(argv[2], cmd->second) != 0))
            break;
        if (!parse(&o, argc - words, argv + words))
            break;
        if (cmd->needs_config && !o.config)
            return fail("-c FILE is needed");
        return cmd->run(&o);
    }
    fputs(usage, stderr);
    return 1;
}
