/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/push_doctor.h"

#include "apns/apns_doctor.h"
#include "gateway/credential.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void say(const char *step, bool good, const char *sentence, void *arg) {
    (void)arg;
    printf("  %-11s %-5s %s\n", step, good ? "ok" : "FAILS", sentence);
    fflush(stdout);
}

static int examine(const struct config_app *app, const struct config_apns *apns, bool sandbox, const char *device) {
    struct credential c;
    struct err_text et = {""};
    printf("%s (%s, %s, %s:%u)\n", app->name, app->bundle_id, sandbox ? "sandbox" : "production", apns->host,
           apns->port);
    int err = credential_read(&c, apns, app->name, &et);
    if (err == 0) {
        const struct apns_doctor_config cfg = {
            .credential = &c.apns, .bundle_id = app->bundle_id, .device_token = device, .say = say};
        err = apns_doctor(&cfg);
    } else {
        say(c.files[0].p ? "password" : apns->certificate_file[0] ? "certificate" : "key", false, et.s, NULL);
    }
    credential_wipe(&c);
    return err;
}

/* With a device, the app's own environment only: a token belongs to one of them. */
static int examine_app(const struct config_app *app, const char *device) {
    bool sandbox = app->environment == CONFIG_ENV_SANDBOX;
    int err = examine(app, &app->apns, sandbox, device), other = 0;
    if (app->other_environment && !device)
        other = examine(app, app->other_environment, !sandbox, NULL);
    return err ? err : other;
}

int push_doctor(const struct config *c, const char *app, const char *device, struct err_text *et) {
    size_t len = device ? strlen(device) : 0;
    int first = 0;
    signal(SIGPIPE, SIG_IGN); /* a server that hangs up is a finding */
    if (app && !config_app(c, app))
        return err_say(et, E_NOTFOUND, "push-doctor: the configuration has no app \"%s\"", app);
    if (device && (len == 0 || len > APNS_TOKEN_MAX_CHARS || strspn(device, "0123456789abcdefABCDEF") != len))
        return err_say(et, E_INVAL, "push-doctor: --device takes a device token in hex, as the app registered it");
    if (device && !app && c->apps_count != 1)
        return err_say(et, E_INVAL, "push-doctor: --device needs --app, since a token belongs to one app");
    for (unsigned i = 0; i < c->apps_count; i++) {
        if (app && strcmp(app, c->apps[i].name) != 0)
            continue;
        int err = examine_app(&c->apps[i], device);
        first = first ? first : err;
    }
    return first;
}
