/* SPDX-License-Identifier: Apache-2.0 */
/* Long command line options of a peer program, as a table. Thread: main. */
#ifndef TESTS_PEERS_PEER_OPTIONS_H
#define TESTS_PEERS_PEER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#define PEER_OPTIONS_MAX 40

enum peer_option_kind {
    PEER_OPTION_FLAG,   /* place: bool */
    PEER_OPTION_TEXT,   /* place: const char *, into argv */
    PEER_OPTION_NUMBER, /* place: unsigned */
    PEER_OPTION_REAL,   /* place: double, not negative */
    PEER_OPTION_CHOICE  /* place: int, the index of the word in `choices` */
};

struct peer_option {
    const char *name; /* without the dashes */
    enum peer_option_kind kind;
    void *place;
    const char *const *choices; /* ends with NULL */
};

/* Fills the places from argv; --help and --version are dealt with here. Returns true to go on; false when the program
 * has nothing more to do, with its exit status (0 after help and version, 1 after a mistake, which is told on stderr
 * in one sentence). */
bool peer_options_parse(const char *program, const char *usage, const struct peer_option *options, size_t count,
                        int argc, char **argv, int *status);

#endif
