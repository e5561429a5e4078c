/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulator does beyond the rules, as one table: each row is an option of the command line, a key of a
 * scenario file and a key of the control API's /v1/behaviour. Thread: the loop's. */
#ifndef APNS_SIM_SIM_BEHAVIOUR_H
#define APNS_SIM_SIM_BEHAVIOUR_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SIM_TEXT_BYTES 1024 /* of one text value; scopes of some twenty keys */

/* Values of the choices, in the order of their words in the table. */
enum sim_handshake { SIM_HANDSHAKE_NORMAL, SIM_HANDSHAKE_STALL, SIM_HANDSHAKE_RESET };
enum sim_tls { SIM_TLS_ANY, SIM_TLS_1_2, SIM_TLS_1_3 };
enum sim_after_rejection { SIM_REJECTION_OFF, SIM_REJECTION_STRICT, SIM_REJECTION_GENTLE };
enum sim_above_limit { SIM_ABOVE_REFUSE, SIM_ABOVE_REFUSE_TWICE, SIM_ABOVE_GOAWAY };
enum sim_unique_id { SIM_UNIQUE_SANDBOX, SIM_UNIQUE_ALWAYS, SIM_UNIQUE_NEVER };
enum sim_goaway_body { SIM_GOAWAY_JSON, SIM_GOAWAY_TEXT, SIM_GOAWAY_EMPTY };
enum sim_goaway_last { SIM_LAST_AT, SIM_LAST_BELOW, SIM_LAST_ABOVE, SIM_LAST_ZERO };
enum sim_goaway_then { SIM_THEN_CLOSE, SIM_THEN_LATER, SIM_THEN_STAY, SIM_THEN_SILENT };
enum sim_black_hole { SIM_HOLE_OFF, SIM_HOLE_STOP_READING, SIM_HOLE_SILENT, SIM_HOLE_NO_ANSWERS, SIM_HOLE_DROP_PING };

/* Numbers, flags and choices are int64_t, texts are char[SIM_TEXT_BYTES]. What each means stands in the table. */
struct sim_behaviour {
    int64_t clock_speed, clock_offset_s, seed;
    int64_t tls, accept_delay_ms, handshake;
    int64_t settings_streams, streams_at_start, frame_max_bytes;
    int64_t after_rejection, streams_after_rejection;
    int64_t above_limit;
    int64_t environment_key_reason, unique_id;
    int64_t upper_case_id;
    int64_t token_age_max_s, token_change_min_s, token_skew_s, wedge_s;
    int64_t binding;
    int64_t client_certificates;
    int64_t goaway_every, goaway_code, goaway_body, goaway_last, goaway_offset, goaway_times, goaway_then;
    int64_t goaway_delay_ms;
    int64_t shutdown;
    int64_t error_budget, error_budget_window_s;
    int64_t window_bytes, withhold_windows, header_table_bytes, header_list_max_bytes;
    int64_t black_hole, answer_delay_ms;
    int64_t device_limit, device_limit_window_s, retry_after_s;
    int64_t connect_limit, connect_window_ms, connect_refuse_ms;
    int64_t delivery_delay_ms, delivery_drop, delivery_drop_percent, delivery_duplicate_percent;
    int64_t delivery_reorder_percent, delivery_reorder_ms, delivery_store, delivery_collapse;
    int64_t journal_frames;
    int64_t bench;
    char key_scopes[SIM_TEXT_BYTES], goaway_text[SIM_TEXT_BYTES];
};

enum sim_kind { SIM_FLAG, SIM_NUMBER, SIM_CHOICE, SIM_TEXT };

struct sim_field {
    int section; /* of the table of contents in README.md: the number of the behaviour; 0: all of them */
    const char *name;
    enum sim_kind kind;
    size_t at;          /* offset in struct sim_behaviour */
    int64_t first, max; /* numbers: the default, and the largest; the smallest is 0 */
    const char *words;  /* choices: "a|b|c"; texts: the default */
    const char *help;
};

const struct sim_field *sim_behaviour_table(size_t *count);
void sim_behaviour_defaults(struct sim_behaviour *b);
/* One row from text, as the command line has it; name with '_' or '-', value NULL for a flag that stands alone.
 * Returns 0, E_NOTFOUND for a name that is none, E_INVAL with a sentence. */
int sim_behaviour_set_text(struct sim_behaviour *b, const char *name, const char *value, struct err_text *et);
/* All keys of a JSON object, or nothing: E_INVAL with a sentence. */
int sim_behaviour_set_json(struct sim_behaviour *b, const json_t *o, struct err_text *et);
/* Every row; the caller owns it. */
json_t *sim_behaviour_json(const struct sim_behaviour *b);
/* One line for each row, as --help shows it. */
void sim_behaviour_help(struct buf *out);
/* The position of a word in "a|b|c", or -1. */
int sim_choice_find(const char *words, const char *word);

#endif
