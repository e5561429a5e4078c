/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim_script.h"

#include "apns/sim/sim_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define RULES_MAX    256 /* a script that a person can read */
#define TIME_TICK_MS 10
#define DAYS_S       (400LL * 86400) /* as in the behaviour's table: */
#define DAYS_MS      (DAYS_S * 1000)
#define COUNT        1000000000LL
#define TIMES        10

struct sim_rule {
    struct sim_rule *prev, *next;
    json_t *source;
    struct sim_action action;
    enum sim_event event;
    uint64_t connection, every, after, from_request, at_ms, count; /* 0: any */
    int64_t percent;
    const char *address, *token, *topic; /* in source; NULL: any */
    uint64_t matched, acted;
};

static const char event_words[] = "request|connect|time";
static const char type_words[] =
    "pass|answer|ignore|wedge|black-hole|goaway|shutdown|reset-stream|streams|reset|close|stall|set";
static const char hole_words[] = "off|stop-reading|silent|no-answers|drop-ping";

/* Keys of an action, and where they go: numbers (max), choices (words) and texts (bytes). */
#define A(field) offsetof(struct sim_action, field)
static const struct {
    const char *key, *words;
    size_t at, bytes;
    int64_t max;
} action_keys[] = {{"delay_ms", NULL, A(delay_ms), 0, DAYS_MS},
                   {"status", NULL, A(status), 0, 599},
                   {"retry_after_s", NULL, A(retry_after_s), 0, DAYS_S},
                   {"ms", NULL, A(ms), 0, DAYS_MS},
                   {"n", NULL, A(n), 0, COUNT},
                   {"code", NULL, A(code), 0, UINT32_MAX},
                   {"offset", NULL, A(offset), 0, COUNT},
                   {"times", NULL, A(times), 0, TIMES},
                   {"close_ms", NULL, A(close_ms), 0, DAYS_MS},
                   {"mode", hole_words, A(mode), 0, 0},
                   {"body", "json|text|empty", A(body), 0, 0},
                   {"last", "at|below|above|zero", A(last), 0, 0},
                   {"then", "close|later|stay|silent", A(then), 0, 0},
                   {"reason", NULL, A(reason), sizeof((struct sim_action *)0)->reason, 0},
                   {"text", NULL, A(text), sizeof((struct sim_action *)0)->text, 0}};

static int set_text(char *at, size_t bytes, const char *key, const char *text, struct err_text *et) {
    if (!text || strlen(text) >= bytes)
        return err_say(et, E_INVAL, "action: %s: a text of at most %zu characters is needed", key, bytes - 1);
    snprintf(at, bytes, "%s", text);
    return 0;
}

static int set_key(struct sim_action *a, const char *key, const json_t *v, struct err_text *et) {
    size_t i = 0, keys = sizeof action_keys / sizeof *action_keys;
    const char *text = json_string_value(v);
    while (i < keys && strcmp(action_keys[i].key, key) != 0)
        i++;
    if (i == keys)
        return err_say(et, E_INVAL, "action: %.64s: no such key", key);
    const char *words = action_keys[i].words;
    char *at = (char *)a + action_keys[i].at;
    if (action_keys[i].bytes)
        return set_text(at, action_keys[i].bytes, key, text, et);
    int64_t n = words ? sim_choice_find(words, text ? text : "") : json_is_integer(v) ? json_integer_value(v) : -1;
    if (words && n < 0)
        return err_say(et, E_INVAL, "action: %s: %s is needed", key, words);
    if (!words && (n < 0 || n > action_keys[i].max))
        return err_say(et, E_INVAL, "action: %s: a number from 0 to %lld is needed", key,
                       (long long)action_keys[i].max);
    *(int64_t *)(void *)at = n;
    return 0;
}

int sim_action_parse(const struct sim *s, struct sim_action *a, const json_t *o, struct err_text *et) {
    const struct sim_behaviour *b = &s->b;
    const char *key, *type = json_string_value(json_object_get(o, "type"));
    json_t *v;
    int position = sim_choice_find(type_words, type ? type : "");
    if (position < 0)
        return err_say(et, E_INVAL, "action: type: one of %s is needed", type_words);
    *a = (struct sim_action){.type = (enum sim_action_type)position,
                             .status = 200,
                             .code = position == SIM_ACT_STREAM ? 2 : b->goaway_code,
                             .n = b->settings_streams,
                             .body = b->goaway_body,
                             .last = b->goaway_last,
                             .offset = b->goaway_offset,
                             .times = b->goaway_times,
                             .then = b->goaway_then,
                             .close_ms = b->goaway_delay_ms,
                             .mode = SIM_HOLE_NO_ANSWERS,
                             .answer = true};
    snprintf(a->text, sizeof a->text, "%.127s", b->goaway_text);
    json_object_foreach((json_t *)(uintptr_t)o, key, v) {
        int err = 0;
        if (strcmp(key, "answer") == 0 && json_is_boolean(v))
            a->answer = json_is_true(v);
        else if (strcmp(key, "behaviour") == 0)
            a->behaviour = v;
        else if (strcmp(key, "type") != 0)
            err = set_key(a, key, v, et);
        if (err != 0)
            return err;
    }
    struct sim_behaviour trial = *b;
    if (a->type == SIM_ACT_SET)
        return sim_behaviour_set_json(&trial, a->behaviour, et);
    return a->type != SIM_ACT_ANSWER || (a->status >= 200 && a->status <= 599)
               ? 0
               : err_say(et, E_INVAL, "action: status: 200 to 599 is needed");
}

static int parse_match(struct sim_rule *r, json_t *match, struct err_text *et) {
    const struct {
        const char *key;
        uint64_t *number;
        const char **text;
    } keys[] = {{"connection", &r->connection, NULL}, {"every", &r->every, NULL}, {"after", &r->after, NULL},
                {"request", &r->from_request, NULL},  {"at_ms", &r->at_ms, NULL}, {"address", NULL, &r->address},
                {"token", NULL, &r->token},           {"topic", NULL, &r->topic}};
    const char *key;
    json_t *v;
    r->percent = 100;
    json_object_foreach(match, key, v) {
        const char *text = json_string_value(v);
        size_t i = 0, n = sizeof keys / sizeof *keys;
        while (i < n && strcmp(keys[i].key, key) != 0)
            i++;
        if (i < n && keys[i].number && json_is_integer(v) && json_integer_value(v) >= 0)
            *keys[i].number = (uint64_t)json_integer_value(v);
        else if (i < n && keys[i].text && text)
            *keys[i].text = text;
        else if (strcmp(key, "percent") == 0 && json_is_integer(v) && (uint64_t)json_integer_value(v) <= 100)
            r->percent = json_integer_value(v);
        else if (strcmp(key, "on") == 0 && text && sim_choice_find(event_words, text) >= 0)
            r->event = (enum sim_event)sim_choice_find(event_words, text);
        else
            return err_say(et, E_INVAL, "match: %.64s: no such key, or not its type", key);
    }
    return 0;
}

static void rule_free(struct sim_rule *r) {
    json_decref(r->source);
    free(r);
}

/* Of a whole rule; matched and acted are what sim_script_json adds. */
static int parse_keys(struct sim_rule *r, const json_t *o, struct err_text *et) {
    static const char keys[] = "name|match|count|action|matched|acted";
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v) {
        bool number = json_is_integer(v) && json_integer_value(v) >= 0;
        if (sim_choice_find(keys, key) < 0)
            return err_say(et, E_INVAL, "rules: %.64s: no such key", key);
        if (strcmp(key, "match") == 0 && !json_is_object(v))
            return err_say(et, E_INVAL, "match: an object is needed");
        if (strcmp(key, "count") == 0 && !number)
            return err_say(et, E_INVAL, "count: a number is needed");
    }
    r->count = (uint64_t)json_integer_value(json_object_get(o, "count"));
    return 0;
}

static int rule_parse(struct sim *s, struct sim_rule **rp, const json_t *o, struct err_text *et) {
    struct sim_rule *r = calloc(1, sizeof *r);
    if (!r || !json_is_object(o)) {
        free(r);
        return err_say(et, E_INVAL, "rules: each is an object with match and action");
    }
    r->source = json_deep_copy(o);
    int err = parse_keys(r, r->source, et);
    if (err == 0)
        err = parse_match(r, json_object_get(r->source, "match"), et);
    if (err == 0)
        err = sim_action_parse(s, &r->action, json_object_get(r->source, "action"), et);
    if (err == 0 && r->event == SIM_ON_TIME && r->count == 0)
        r->count = 1; /* a time comes once */
    if (err != 0) {
        rule_free(r);
        return err;
    }
    *rp = r;
    return 0;
}

static void rules_free(struct sim_rule *rules) {
    struct sim_rule *r, *next;
    DL_FOREACH_SAFE(rules, r, next) {
        rule_free(r);
    }
}

void sim_script_free(struct sim *s) {
    rules_free(s->script);
    s->script = NULL;
}

static bool rule_matches(struct sim *s, struct sim_rule *r, const struct sim_occasion *o) {
    if (r->event != o->event || (r->count && r->acted >= r->count))
        return false;
    if ((r->connection && r->connection != o->connection) || (r->from_request && r->from_request != o->request))
        return false;
    if (r->address && strcmp(r->address, o->address) != 0 && strcmp(r->address, o->ip) != 0)
        return false;
    if ((r->token && strcasecmp(r->token, o->token) != 0) || (r->topic && strcmp(r->topic, o->topic) != 0))
        return false;
    if (r->at_ms && sim_now_ms(s) < s->started_ms + r->at_ms)
        return false;
    r->matched++;
    if (r->matched <= r->after || (r->every && (r->matched - r->after) % r->every != 0))
        return false;
    return r->percent >= 100 || sim_chance(s, r->percent);
}

const struct sim_action *sim_script_match(struct sim *s, const struct sim_occasion *o) {
    struct sim_rule *r;
    DL_FOREACH(s->script, r) {
        if (rule_matches(s, r, o)) {
            r->acted++;
            return &r->action;
        }
    }
    return NULL;
}

/* Rules of time need nobody's request. */
static void on_time(struct sim *s, void *arg, bool cancelled) {
    const struct sim_occasion o = {SIM_ON_TIME, 0, 0, "", "", "", ""};
    struct sim_rule *r, *next;
    bool more = false;
    (void)arg;
    s->script_waits = false;
    if (cancelled)
        return;
    DL_FOREACH_SAFE(s->script, r, next) {
        const char *address = r->address;
        uint64_t connection = r->connection;
        if (r->event != SIM_ON_TIME)
            continue;
        r->address = NULL;
        r->connection = 0;
        bool due = rule_matches(s, r, &o);
        r->address = address;
        r->connection = connection;
        if (due) {
            r->acted++;
            sim_act_all(s, &r->action, connection, address);
        }
        more = more || r->acted < r->count;
    }
    s->script_waits = more && sim_later(s, TIME_TICK_MS, on_time, NULL) == 0;
}

int sim_script_set(struct sim *s, const json_t *rules, bool add, struct err_text *et) {
    struct sim_rule *fresh = NULL;
    int err = json_is_array(rules) && json_array_size(rules) <= RULES_MAX
                  ? 0
                  : err_say(et, E_INVAL, "rules: an array of at most %d is needed", RULES_MAX);
    for (size_t i = 0; err == 0 && i < json_array_size(rules); i++) {
        struct sim_rule *r = NULL;
        err = rule_parse(s, &r, json_array_get(rules, i), et);
        if (r)
            DL_APPEND(fresh, r);
    }
    if (err != 0) {
        rules_free(fresh);
        return err;
    }
    if (!add)
        sim_script_free(s);
    DL_CONCAT(s->script, fresh);
    if (!s->script_waits && s->loop)
        s->script_waits = sim_later(s, 1, on_time, NULL) == 0;
    return 0;
}

json_t *sim_script_json(const struct sim *s) {
    json_t *list = json_array();
    const struct sim_rule *r;
    DL_FOREACH(s->script, r) {
        json_t *o = json_deep_copy(r->source);
        json_object_set_new(o, "matched", json_integer((json_int_t)r->matched));
        json_object_set_new(o, "acted", json_integer((json_int_t)r->acted));
        json_array_append_new(list, o);
    }
    return list;
}
