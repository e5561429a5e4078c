/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim_behaviour.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAYS_S  (400LL * 86400)
#define DAYS_MS (DAYS_S * 1000)
#define COUNT   1000000000LL

#define NUMBER(section, field, first, max, help)                                                                       \
    { section, #field, SIM_NUMBER, offsetof(struct sim_behaviour, field), first, max, NULL, help }
#define FLAG(section, field, first, help)                                                                              \
    { section, #field, SIM_FLAG, offsetof(struct sim_behaviour, field), first, 1, NULL, help }
#define CHOICE(section, field, words, help)                                                                            \
    { section, #field, SIM_CHOICE, offsetof(struct sim_behaviour, field), 0, 0, words, help }
#define TEXT(section, field, first, help)                                                                              \
    { section, #field, SIM_TEXT, offsetof(struct sim_behaviour, field), 0, 0, first, help }

static const struct sim_field table[] = {
    NUMBER(0, clock_speed, 1, 1000000, "virtual seconds in one second; 0 stops the virtual clock"),
    NUMBER(0, clock_offset_s, 0, DAYS_S, "the virtual clock is ahead of the wall clock by this"),
    NUMBER(0, seed, 1, COUNT, "of all that is left to chance; the same seed, the same run"),
    CHOICE(1, tls, "any|1.2|1.3", "TLS versions that are accepted"),
    NUMBER(1, accept_delay_ms, 0, DAYS_MS, "wait before the first byte of a new connection is read"),
    CHOICE(1, handshake, "normal|stall|reset", "of TLS: never answered, or TCP RST at its first byte"),
    NUMBER(2, settings_streams, 1000, COUNT,
           "streams after the first valid provider token; at once with a certificate"),
    NUMBER(2, streams_at_start, 1, COUNT, "streams until the first valid provider token"),
    NUMBER(2, frame_max_bytes, 16384, 16777215, "SETTINGS_MAX_FRAME_SIZE"),
    CHOICE(3, after_rejection, "off|strict|gentle",
           "a 4xx except 410 cuts the streams: to streams_after_rejection, or by half; a 200 restores them"),
    NUMBER(3, streams_after_rejection, 1, COUNT, "what a strict cut leaves, and a gentle one at least"),
    CHOICE(4, above_limit, "refuse|refuse-twice|goaway",
           "streams above the limit: RST_STREAM REFUSED_STREAM, then also STREAM_CLOSED, or GOAWAY 7 in plain text"),
    CHOICE(5, environment_key_reason, "BadEnvironmentKeyIdInToken|BadEnvironmentKeyInToken",
           "how the reason is spelled for a key of the other environment"),
    CHOICE(5, unique_id, "sandbox|always|never", "when a 200 has apns-unique-id"),
    CHOICE(6, upper_case_id, "reject|accept", "an apns-id in upper case"),
    NUMBER(7, token_age_max_s, 3600, DAYS_S, "older provider tokens are expired"),
    NUMBER(7, token_change_min_s, 1200, DAYS_S, "another provider token on a connection before this: 429"),
    NUMBER(7, token_skew_s, 300, DAYS_S, "how far in the future a provider token may have been made"),
    NUMBER(7, wedge_s, 0, DAYS_S, "after that 429 the connection answers no request for so long"),
    FLAG(8, binding, 0, "a connection is bound to team, environment, key class and topics of its first push"),
    TEXT(8, key_scopes, "",
         "KEYID:ENV[:TOPIC+TOPIC[:RELATED]], separated by commas; ENV any, production or sandbox; no topics: the "
         "team's"),
    FLAG(9, client_certificates, 0, "ask for a certificate; the topics in it stand in place of a provider token"),
    NUMBER(10, goaway_every, 0, COUNT, "GOAWAY after so many answers on a connection; 0: never"),
    NUMBER(10, goaway_code, 0, 13, "its error code"),
    CHOICE(10, goaway_body, "json|text|empty", "its debug data: a reason in JSON, the bare text, nothing"),
    TEXT(10, goaway_text, "Shutdown", "the reason or text in it"),
    CHOICE(10, goaway_last, "at|below|above|zero", "last-stream-id against the last stream that was answered"),
    NUMBER(10, goaway_offset, 1, COUNT, "how many streams below or above"),
    NUMBER(10, goaway_times, 1, 10, "how often it is sent"),
    CHOICE(10, goaway_then, "close|later|stay|silent",
           "close at once, after goaway_delay_ms, stay open and refuse, stay open and say nothing"),
    NUMBER(10, goaway_delay_ms, 1000, DAYS_MS, "until the later close"),
    FLAG(11, shutdown, 0, "answer 503 Shutdown, then GOAWAY and close"),
    NUMBER(12, error_budget, 0, COUNT, "so many BadDeviceToken in the window, and the connection is closed; 0: any"),
    NUMBER(12, error_budget_window_s, 60, DAYS_S, "that window"),
    NUMBER(13, window_bytes, 65535, 2147483647, "flow-control window of a stream; of the connection when above 65,535"),
    FLAG(13, withhold_windows, 0, "send no WINDOW_UPDATE"),
    NUMBER(13, header_table_bytes, 4096, 1048576, "SETTINGS_HEADER_TABLE_SIZE"),
    NUMBER(13, header_list_max_bytes, 8000, 65536, "larger header lists are answered 431"),
    CHOICE(14, black_hole, "off|stop-reading|silent|no-answers|drop-ping",
           "read no more; read and say nothing; answer PING only; answer all but PING"),
    NUMBER(14, answer_delay_ms, 0, DAYS_MS, "between a request and its answer, in virtual time"),
    NUMBER(15, device_limit, 0, COUNT, "pushes for one device in the window, then 429 TooManyRequests; 0: any number"),
    NUMBER(15, device_limit_window_s, 60, DAYS_S, "that window"),
    NUMBER(15, retry_after_s, 0, DAYS_S, "Retry-After of that 429; 0: none"),
    NUMBER(16, connect_limit, 0, COUNT, "connections from one address in the window, then refusal; 0: any number"),
    NUMBER(16, connect_window_ms, 1000, DAYS_MS, "that window"),
    NUMBER(16, connect_refuse_ms, 5000, DAYS_MS, "how long that address is refused"),
    NUMBER(17, delivery_delay_ms, 0, 3600000, "between a 200 and the phone"),
    FLAG(17, delivery_drop, 0, "answer 200 and deliver nothing"),
    NUMBER(17, delivery_drop_percent, 0, 100, "of accepted pushes are lost"),
    NUMBER(17, delivery_duplicate_percent, 0, 100, "arrive twice"),
    NUMBER(17, delivery_reorder_percent, 0, 100, "arrive after later ones"),
    NUMBER(17, delivery_reorder_ms, 50, 3600000, "how much later those arrive"),
    FLAG(17, delivery_store, 1, "keep one push for each app and device that is away"),
    FLAG(17, delivery_collapse, 1, "a push takes the place of one on its way with the same apns-collapse-id"),
    NUMBER(18, journal_frames, 0, 100000, "keep the latest frames for /v1/frames; 0: none"),
    FLAG(19, bench, 0, "constant 200 for everything, nothing checked, kept or delivered"),
};

#define ROWS (sizeof table / sizeof *table)

const struct sim_field *sim_behaviour_table(size_t *count) {
    *count = ROWS;
    return table;
}

static int64_t *number_at(struct sim_behaviour *b, const struct sim_field *f) {
    return (int64_t *)(void *)((char *)b + f->at);
}

void sim_behaviour_defaults(struct sim_behaviour *b) {
    for (size_t i = 0; i < ROWS; i++) {
        if (table[i].kind == SIM_TEXT)
            snprintf((char *)b + table[i].at, SIM_TEXT_BYTES, "%s", table[i].words);
        else
            *number_at(b, &table[i]) = table[i].first;
    }
}

int sim_choice_find(const char *words, const char *word) {
    size_t len = strlen(word);
    int position = 0;
    for (const char *w = words; len > 0; position++) {
        const char *end = strchrnul(w, '|');
        if ((size_t)(end - w) == len && memcmp(w, word, len) == 0)
            return position;
        if (!*end)
            break;
        w = end + 1;
    }
    return -1;
}

static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if (*a != *b && !(*a == '_' && *b == '-'))
            return false;
    return *a == *b;
}

static const struct sim_field *field_find(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (same_name(table[i].name, name))
            return &table[i];
    return NULL;
}

static int set_number(struct sim_behaviour *b, const struct sim_field *f, int64_t v, struct err_text *et) {
    if (v < 0 || v > f->max)
        return err_say(et, E_INVAL, "%s: a number from 0 to %lld is needed", f->name, (long long)f->max);
    *number_at(b, f) = v;
    return 0;
}

static int set_word(struct sim_behaviour *b, const struct sim_field *f, const char *word, struct err_text *et) {
    int position = sim_choice_find(f->words, word);
    if (position < 0)
        return err_say(et, E_INVAL, "%s: \"%.64s\" is none of %s", f->name, word, f->words);
    *number_at(b, f) = position;
    return 0;
}

static int set_string(struct sim_behaviour *b, const struct sim_field *f, const char *text, struct err_text *et) {
    if (strlen(text) >= SIM_TEXT_BYTES)
        return err_say(et, E_INVAL, "%s: at most %d characters", f->name, SIM_TEXT_BYTES - 1);
    snprintf((char *)b + f->at, SIM_TEXT_BYTES, "%s", text);
    return 0;
}

int sim_behaviour_set_text(struct sim_behaviour *b, const char *name, const char *value, struct err_text *et) {
    const struct sim_field *f = field_find(name);
    char *end = NULL;
    if (!f)
        return err_say(et, E_NOTFOUND, "%.64s: no such behaviour", name);
    if (f->kind == SIM_FLAG) {
        int word = value ? sim_choice_find("false|true", value) : 1;
        return word >= 0 ? set_number(b, f, word, et) : err_say(et, E_INVAL, "%s: true or false is needed", f->name);
    }
    if (!value)
        return err_say(et, E_INVAL, "%s: a value is needed", f->name);
    if (f->kind == SIM_CHOICE)
        return set_word(b, f, value, et);
    if (f->kind == SIM_TEXT)
        return set_string(b, f, value, et);
    errno = 0;
    long long v = strtoll(value, &end, 10);
    return set_number(b, f, errno || end == value || *end ? -1 : v, et);
}

static int set_value(struct sim_behaviour *b, const struct sim_field *f, const json_t *v, struct err_text *et) {
    switch (f->kind) {
    case SIM_FLAG:
        return json_is_boolean(v) ? set_number(b, f, json_is_true(v), et)
                                  : err_say(et, E_INVAL, "%s: true or false is needed", f->name);
    case SIM_NUMBER:
        return set_number(b, f, json_is_integer(v) ? json_integer_value(v) : -1, et);
    case SIM_CHOICE:
        return set_word(b, f, json_is_string(v) ? json_string_value(v) : "", et);
    case SIM_TEXT:
        break;
    }
    return json_is_string(v) ? set_string(b, f, json_string_value(v), et)
                             : err_say(et, E_INVAL, "%s: a text is needed", f->name);
}

int sim_behaviour_set_json(struct sim_behaviour *b, const json_t *o, struct err_text *et) {
    struct sim_behaviour next = *b;
    const char *name;
    json_t *v;
    if (!json_is_object(o))
        return err_say(et, E_INVAL, "behaviour: a JSON object is needed");
    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        const struct sim_field *f = field_find(name);
        int err = f ? set_value(&next, f, v, et) : err_say(et, E_INVAL, "%.64s: no such behaviour", name);
        if (err != 0)
            return err;
    }
    *b = next;
    return 0;
}

static json_t *word_json(const char *words, int64_t position) {
    while (position-- > 0)
        words = strchr(words, '|') + 1;
    return json_stringn(words, (size_t)(strchrnul(words, '|') - words));
}

json_t *sim_behaviour_json(const struct sim_behaviour *b) {
    json_t *o = json_object();
    for (size_t i = 0; i < ROWS; i++) {
        const struct sim_field *f = &table[i];
        const char *at = (const char *)b + f->at;
        int64_t v = f->kind == SIM_TEXT ? 0 : *(const int64_t *)(const void *)at;
        json_t *shown = f->kind == SIM_TEXT     ? json_string(at)
                        : f->kind == SIM_CHOICE ? word_json(f->words, v)
                        : f->kind == SIM_FLAG   ? json_boolean(v)
                                                : json_integer(v);
        json_object_set_new(o, f->name, shown);
    }
    return o;
}

void sim_behaviour_help(struct buf *out) {
    static const char *const values[] = {[SIM_FLAG] = "", [SIM_NUMBER] = " N", [SIM_TEXT] = " TEXT"};
    for (size_t i = 0; i < ROWS; i++) {
        const struct sim_field *f = &table[i];
        char option[160];
        size_t n =
            (size_t)snprintf(option, sizeof option, "%s%s%s", f->name, f->kind == SIM_CHOICE ? " " : values[f->kind],
                             f->kind == SIM_CHOICE ? f->words : "");
        for (size_t k = 0; k < strlen(f->name); k++)
            if (option[k] == '_')
                option[k] = '-';
        buf_addf(out, "  --%s%s%s", option, n < 26 ? "" : "\n", n < 26 ? "" : "                              ");
        if (n < 26)
            buf_addf(out, "%*s", (int)(26 - n), "");
        buf_addf(out, "%s", f->help);
        if (f->kind == SIM_NUMBER)
            buf_addf(out, " (%lld)", (long long)f->first);
        else if (f->kind == SIM_FLAG && f->first)
            buf_adds(out, " (on; =false turns it off)");
        buf_adds(out, "\n");
    }
}
