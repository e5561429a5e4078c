/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_OPTION = 256, KEY_HELP, KEY_VERSION };

static bool take_number(const char *text, unsigned *place) {
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno != 0 || value > UINT_MAX)
        return false;
    *place = (unsigned)value;
    return true;
}

static bool take_real(const char *text, double *place) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0)
        return false;
    *place = value;
    return true;
}

static bool take_choice(const char *text, const char *const *choices, int *place) {
    for (int i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            *place = i;
            return true;
        }
    }
    return false;
}

static bool take(const struct peer_option *o, const char *value) {
    switch (o->kind) {
    case PEER_OPTION_FLAG:
        *(bool *)o->place = true;
        return true;
    case PEER_OPTION_TEXT:
        *(const char **)o->place = value;
        return true;
    case PEER_OPTION_NUMBER:
        return take_number(value, o->place);
    case PEER_OPTION_REAL:
        return take_real(value, o->place);
    case PEER_OPTION_CHOICE:
        return take_choice(value, o->choices, o->place);
    }
    return false;
}

static void complain(const char *program, const struct peer_option *o, const char *value) {
    fprintf(stderr, "%s: --%s: \"%s\" is not ", program, o->name, value);
    if (o->kind != PEER_OPTION_CHOICE) {
        fputs(o->kind == PEER_OPTION_NUMBER ? "a whole number\n" : "a number from 0 upwards\n", stderr);
        return;
    }
    fputs("one of", stderr);
    for (const char *const *c = o->choices; *c; c++)
        fprintf(stderr, "%s %s", c == o->choices ? "" : ",", *c);
    fputc('\n', stderr);
}

bool peer_options_parse(const char *program, const char *usage, const struct peer_option *options, size_t count,
                        int argc, char **argv, int *status) {
    struct option table[PEER_OPTIONS_MAX + 3] = {0};
    int which = 0;
    assert(count <= PEER_OPTIONS_MAX);
    for (size_t i = 0; i < count; i++)
        table[i] = (struct option){
            options[i].name, options[i].kind == PEER_OPTION_FLAG ? no_argument : required_argument, NULL, KEY_OPTION};
    table[count] = (struct option){"help", no_argument, NULL, KEY_HELP};
    table[count + 1] = (struct option){"version", no_argument, NULL, KEY_VERSION};
    *status = 1;
    for (int key; (key = getopt_long(argc, argv, "", table, &which)) != -1;) {
        if (key == KEY_HELP) {
            fputs(usage, stdout);
            *status = 0;
            return false;
        }
        if (key == KEY_VERSION) {
            printf("%s %s\n", program, WAKEGATE_VERSION);
            *status = 0;
            return false;
        }
        if (key != KEY_OPTION) /* getopt has said what is wrong */
            return false;
        if (!take(&options[which], optarg)) {
            complain(program, &options[which], optarg);
            return false;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: \"%s\" is not an option; see --help\n", program, argv[optind]);
        return false;
    }
    *status = 0;
    return true;
}
