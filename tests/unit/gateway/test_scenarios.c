/* SPDX-License-Identifier: Apache-2.0 */
/* Runs every file of tests/scenario against the call state machine, on a fake clock.
 *
 * A scenario says `devices N`, `ring MS`, `media sendrecv|sendonly|recvonly|none` (the caller's direction),
 * `receipt|suspect|second MS`, `path none|alert|others|event`, `repeat yes`, `ways WAY,WAY...` (one for each phone:
 * push, connection, alert, both, busy; with a ? behind it: suspect), then one line for each input: `MS INPUT [DEVICE] |
 * ACTION[:DEVICE] ... ; STATE [REASON]`. '!' among the actions: the input is refused.
 */
#include "base/err.h"
#include "gateway/call_fsm.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct scenario {
    const char *name;
    unsigned line;
    struct call_fsm_config cfg;
    struct call_fsm fsm;
    bool begun;
    char ways[64];
};

static void trim(char *s) {
    char *out = s;
    for (char *p = s; *p; p++) {
        if (*p == '\n' || *p == '\r')
            *p = ' ';
        if (*p != ' ' || (out > s && out[-1] != ' '))
            *out++ = *p;
    }
    while (out > s && out[-1] == ' ')
        out--;
    *out = 0;
}

static void set(struct scenario *sc, const char *key, const char *value) {
    if (strcmp(key, "devices") == 0) {
        sc->cfg.devices = (unsigned)atoi(value);
    } else if (strcmp(key, "ring") == 0) {
        sc->cfg.expires_ms = strtoull(value, NULL, 10);
    } else if (strcmp(key, "media") == 0) {
        sc->cfg.media = strcmp(value, "none") != 0;
        sc->cfg.media_to_near = strcmp(value, "sendrecv") == 0 || strcmp(value, "sendonly") == 0;
        sc->cfg.media_to_far = strcmp(value, "sendrecv") == 0 || strcmp(value, "recvonly") == 0;
    } else if (strcmp(key, "receipt") == 0) {
        sc->cfg.receipt_ms = (unsigned)atoi(value);
    } else if (strcmp(key, "suspect") == 0) {
        sc->cfg.suspect_ms = (unsigned)atoi(value);
    } else if (strcmp(key, "second") == 0) {
        sc->cfg.second_ms = (unsigned)atoi(value);
    } else if (strcmp(key, "path") == 0) {
        while (strcmp(call_second_path_name(sc->cfg.second), value) != 0 && sc->cfg.second < CONFIG_SECOND_PATH_EVENT)
            sc->cfg.second++;
    } else if (strcmp(key, "repeat") == 0) {
        sc->cfg.repeat_push = strcmp(value, "yes") == 0;
    } else if (strcmp(key, "ways") == 0) {
        snprintf(sc->ways, sizeof sc->ways, "%s", value);
    } else {
        fail_msg("%s:%u: unknown setting %s", sc->name, sc->line, key);
    }
}

static void set_ways(struct scenario *sc) {
    static const char *const names[] = {"push", "connection", "alert", "both", "busy"};
    char *save = NULL;
    unsigned device = 0;
    for (char *way = strtok_r(sc->ways, ",", &save); way; way = strtok_r(NULL, ",", &save), device++) {
        char *doubt = strchr(way, '?');
        int k = 0;
        if (doubt)
            *doubt = 0;
        while (k < CALL_WAY_BUSY && strcmp(names[k], way) != 0)
            k++;
        call_fsm_set_way(&sc->fsm, device, (enum call_way)k, doubt);
    }
}

static struct call_input input_of(const struct scenario *sc, const char *name, unsigned device) {
    for (int k = 0; k < CALL_INPUTS; k++)
        if (strcmp(call_input_name((enum call_input_kind)k), name) == 0)
            return (struct call_input){(enum call_input_kind)k, device};
    fail_msg("%s:%u: unknown input %s", sc->name, sc->line, name);
    return (struct call_input){CALL_INPUTS, 0};
}

static void write_actions(char *out, size_t cap, int err, const struct call_actions *actions) {
    size_t n = (size_t)snprintf(out, cap, "%s", err == E_STATE ? "!" : "");
    for (size_t i = 0; i < actions->count; i++) {
        const struct call_action *a = &actions->a[i];
        bool of_phone = a->kind != CALL_DO_STATE && a->kind != CALL_DO_GATE && a->kind != CALL_DO_CLOSE;
        n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? " " : "", call_action_name(a->kind));
        if (of_phone)
            n += (size_t)snprintf(out + n, cap - n, ":%u", a->device);
    }
}

static void step(struct scenario *sc, char *line) {
    char name[32], got[512], state[64];
    unsigned long long at_ms;
    unsigned device = 0;
    struct call_actions actions;
    char *expected = strchr(line, '|'), *expected_state = strchr(line, ';');
    if (!expected || !expected_state || sscanf(line, "%llu %31s %u", &at_ms, name, &device) < 2) {
        fail_msg("%s:%u: not an input line", sc->name, sc->line);
        return;
    }
    *expected++ = 0;
    *expected_state++ = 0;
    trim(expected);
    trim(expected_state);
    if (!sc->begun) {
        call_fsm_init(&sc->fsm, &sc->cfg);
        set_ways(sc);
    }
    sc->begun = true;
    int err = call_fsm_step(&sc->fsm, input_of(sc, name, device), at_ms, &actions);
    write_actions(got, sizeof got, err, &actions);
    if (strcmp(got, expected) != 0)
        fail_msg("%s:%u: actions \"%s\", expected \"%s\"", sc->name, sc->line, got, expected);
    snprintf(state, sizeof state, "%s%s%s", call_state_name(sc->fsm.state), sc->fsm.reason ? " " : "",
             call_reason_name(sc->fsm.reason));
    if (strcmp(state, expected_state) != 0)
        fail_msg("%s:%u: state \"%s\", expected \"%s\"", sc->name, sc->line, state, expected_state);
}

static void run(const char *path, const char *name) {
    struct scenario sc = {.name = name};
    char line[512], key[32], value[32];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        sc.line++;
        trim(line);
        if (line[0] == 0 || line[0] == '#')
            continue;
        if (line[0] >= '0' && line[0] <= '9')
            step(&sc, line);
        else if (sscanf(line, "%31s %31s", key, value) == 2)
            set(&sc, key, value);
        else
            fail_msg("%s:%u: not understood", name, sc.line);
    }
    fclose(f);
    assert_true(sc.begun);
}

static void every_scenario_ends_as_written(void **state) {
    char path[1024];
    unsigned count = 0;
    (void)state;
    DIR *d = opendir(TEST_DIR "/scenario");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 4, ".txt") != 0)
            continue;
        snprintf(path, sizeof path, "%s/scenario/%s", TEST_DIR, e->d_name);
        run(path, e->d_name);
        count++;
    }
    closedir(d);
    assert_true(count >= 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_scenario_ends_as_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
