/* SPDX-License-Identifier: Apache-2.0 */
/* Offers in the shapes of the well-known stacks, and what is answered. For each tests/fixtures/sdp/NAME.sdp there is a
 * NAME.answer: the answer has these m-lines and no others, the lines between two of them in this order among its own,
 * and nothing that contains what stands behind an exclamation mark. "refused: WORDS" instead: the sentence contains
 * them. */
#include "dtls/sdp.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER     TEST_DIR "/fixtures/sdp/"
#define TEXT_BYTES 32768
#define SECTIONS   (SDP_MEDIA_MAX + 1)
#define OUR_HASH   "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"
#define FIXTURES   18

/* Text cut into the session's part and the m-sections. */
struct cut {
    char text[TEXT_BYTES];
    char *sections[SECTIONS];
    size_t count;
};

static void cut_text(struct cut *c) {
    c->count = 0;
    c->sections[c->count++] = c->text;
    for (char *at = c->text; *at; at++) {
        if (strncmp(at, "m=", 2) != 0 || (at != c->text && at[-1] != '\n' && at[-1] != 0))
            continue;
        if (at != c->text)
            at[-1] = 0;
        assert_in_range(c->count, 1, SECTIONS - 1);
        c->sections[c->count++] = at;
    }
    if (c->count > 1 && c->sections[1] == c->text) /* nothing before the first m-line */
        c->sections[0] = c->text + strlen(c->text);
}

static void read_file(char *out, const char *name, const char *suffix) {
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s%s", name, suffix);
    FILE *f = fopen(path, "re");
    if (!f)
        fail_msg("%s is not there", path);
    size_t n = fread(out, 1, TEXT_BYTES - 1, f);
    fclose(f);
    assert_in_range(n, 1, TEXT_BYTES - 2);
    out[n] = 0;
}

/* As on the wire. */
static void with_crlf(struct buf *out, const char *text) {
    for (const char *c = text; *c; c++)
        buf_addf(out, *c == '\n' ? "\r%c" : "%c", *c);
}

static void drop_cr(char *out, const char *text) {
    for (const char *c = text; *c; c++)
        if (*c != '\r')
            *out++ = *c;
    *out = 0;
}

/* The next line of *at, without its end; NULL at the end. Cuts the text. */
static char *next_line(char **at) {
    char *line = *at;
    if (!*line)
        return NULL;
    char *end = strchr(line, '\n');
    *at = end ? end + 1 : line + strlen(line);
    if (end)
        *end = 0;
    return line;
}

/* Where in text, from `from` on, a line of exactly this content ends; NULL: nowhere. */
static const char *after_line(const char *from, const char *line) {
    size_t n = strlen(line);
    for (const char *at = from; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, line, n) == 0 && (at[n] == '\n' || at[n] == 0))
            return at + n;
    return NULL;
}

/* @OURS in a wanted line is our fingerprint. */
static void fill_in(char out[static 512], const char *line) {
    const char *at = strstr(line, "@OURS");
    snprintf(out, 512, "%.*s%s%s", at ? (int)(at - line) : (int)strlen(line), line, at ? OUR_HASH : "",
             at ? at + strlen("@OURS") : "");
}

static void check_section(const char *name, const char *answer, char *wanted) {
    const char *from = answer;
    char line[512];
    for (const char *w; (w = next_line(&wanted)) != NULL;) {
        fill_in(line, w);
        if (w[0] == '!') {
            if (strstr(answer, w + 1))
                fail_msg("%s: \"%s\" is in\n%s", name, w + 1, answer);
            continue;
        }
        from = after_line(from, line);
        if (!from)
            fail_msg("%s: \"%s\" is not in, or not in this order:\n%s", name, line, answer);
    }
}

static struct sdp_local our_side(const struct sdp *offer, struct addr at[static 2]) {
    bool ice = sdp_has_ice(offer);
    addr_parse(&at[0], "198.51.100.1", 10000);
    addr_parse(&at[1], "2001:db8::1", 10000);
    if (!ice && offer->address.u.sa.sa_family == AF_INET6)
        at[0] = at[1];
    return (struct sdp_local){.candidates = at,
                              .candidate_count = ice ? 2 : 1,
                              .ufrag = ice ? "oursufrg" : NULL,
                              .pwd = ice ? "ourpasswordourpasswordourpasswor" : NULL,
                              .tls_id = offer->tls_id[0] ? "our-tls-id-of-this-call-0123456789" : NULL,
                              .fingerprint = "sha-256 " OUR_HASH,
                              .setup = sdp_answer_setup(offer),
                              .session_id = 42};
}

/* The first line that begins with this word, cut out of the text; NULL when there is none. */
static char *take_setting(char *text, const char *word) {
    size_t n = strlen(word);
    if (strncmp(text, word, n) != 0)
        return NULL;
    char *rest = text, *line = next_line(&rest), *value = strdup(line + n);
    memmove(text, rest, strlen(rest) + 1);
    return value;
}

static void check_refusal(const char *name, const struct sdp *offer, const char *sentence, const char *want) {
    struct err_text et = {""};
    if (offer && sdp_check_offer(offer, &et) == 0)
        fail_msg("%s is taken", name);
    if (!strstr(offer ? et.s : sentence, want))
        fail_msg("%s: \"%s\" is not in \"%s\"", name, want, offer ? et.s : sentence);
}

static void check_answer(const char *name, const struct sdp *offer, struct cut *want) {
    struct cut have;
    struct addr at[2];
    struct buf out = {0};
    struct err_text et = {""};
    struct sdp *again = NULL;
    if (sdp_check_offer(offer, &et) != 0)
        fail_msg("%s: %s", name, et.s);
    struct sdp_local l = our_side(offer, at);
    assert_int_equal(sdp_write_answer(&out, offer, &l, &et), 0);
    assert_int_equal(sdp_parse(&again, out.p, out.len, &et), 0);
    assert_int_equal(again->media_count, offer->media_count);
    drop_cr(have.text, out.p);
    cut_text(&have);
    cut_text(want);
    if (have.count != want->count)
        fail_msg("%s: %zu m-lines, and %zu are wanted", name, have.count - 1, want->count - 1);
    for (size_t i = 0; i < have.count; i++)
        check_section(name, have.sections[i], want->sections[i]);
    sdp_free(again);
    buf_free(&out);
}

static void check_fixture(const char *name) {
    static struct cut want;
    char offer_text[TEXT_BYTES];
    struct buf wire = {0};
    struct err_text et = {""};
    struct sdp *offer = NULL;
    read_file(offer_text, name, ".sdp");
    read_file(want.text, name, ".answer");
    with_crlf(&wire, offer_text);
    int err = sdp_parse(&offer, wire.p, wire.len, &et);
    char *refusal = take_setting(want.text, "refused: "), *fingerprints = take_setting(want.text, "fingerprints: ");
    if (err != 0 && !refusal)
        fail_msg("%s: %s", name, et.s);
    if (fingerprints)
        assert_int_equal(offer->fingerprint_count, atoi(fingerprints));
    if (refusal)
        check_refusal(name, offer, et.s, refusal);
    else
        check_answer(name, offer, &want);
    free(refusal);
    free(fingerprints);
    sdp_free(offer);
    buf_free(&wire);
}

static void every_offer_gets_its_answer(void **state) {
    DIR *d = opendir(FOLDER);
    unsigned count = 0;
    (void)state;
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char name[256];
        const char *suffix = strstr(e->d_name, ".sdp");
        if (!suffix)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(suffix - e->d_name), e->d_name);
        check_fixture(name);
        count++;
    }
    closedir(d);
    assert_int_equal(count, FIXTURES);
}

/* The offers of full agents name addresses that can be sent to; names of mDNS and TCP do not count. */
static void candidates_are_those_that_can_be_used(void **state) {
    static const struct {
        const char *name, *first;
        size_t count;
        bool ice, trickle;
    } rows[] = {{"chromium", "", 0, true, true},
                {"firefox", "", 0, true, true},
                {"safari", "203.0.113.77:54609", 1, true, false},
                {"aiortc", "", 0, true, false},
                {"pjsip", "192.0.2.25:40060", 2, true, false},
                {"baresip", "192.0.2.40:20014", 1, true, false},
                {"linphone", "[2001:db8:40::7]:58012", 2, true, false},
                {"rtpengine-ice-lite", "192.0.2.80:30186", 1, false, false},
                {"sbc", "192.0.2.200:16396", 1, false, false},
                {"sbc-ipv6-passive", "[2001:db8:200::9]:16400", 1, false, false}};
    char text[TEXT_BYTES], at[ADDR_STR_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sdp *s = NULL;
        read_file(text, rows[i].name, ".sdp");
        assert_int_equal(sdp_parse(&s, text, strlen(text), NULL), 0);
        assert_int_equal(sdp_has_ice(s), rows[i].ice);
        assert_int_equal(s->trickle, rows[i].trickle);
        if (rows[i].count) {
            assert_int_equal(s->candidate_count, rows[i].count);
            assert_string_equal(addr_str(at, &s->candidates[0]), rows[i].first);
        }
        sdp_free(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_offer_gets_its_answer),
        cmocka_unit_test(candidates_are_those_that_can_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
