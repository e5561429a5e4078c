/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "dtls/sdp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FP_HEX "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89"
#define FP_256 "sha-256 " FP_HEX
#define FP_384 "sha-384 " FP_HEX ":AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89"
#define FP_512 "sha-512 " FP_HEX ":" FP_HEX
#define PWD    "passwordofatleast22chars"

#define TRANSPORT                                                                                                      \
    "a=ice-ufrag:Zx9+\r\na=ice-pwd:" PWD "\r\na=ice-options:trickle\r\na=fingerprint:" FP_256 "\r\na=setup:"           \
    "actpass\r\n"
#define HEAD          "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
#define LINES_OF_HEAD 4

/* Written in the form of a browser's offer: sound, pictures with retransmission, and a data channel. */
static const char browser[] =
    HEAD "a=group:BUNDLE 0 1 2\r\n"
         "a=extmap-allow-mixed\r\n"
         "a=msid-semantic: WMS stream\r\n"
         "m=audio 51472 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n"
         "c=IN IP4 192.0.2.33\r\n"
         "a=rtcp:9 IN IP4 0.0.0.0\r\n"
         "a=candidate:1467250027 1 udp 2122260223 192.0.2.33 51472 typ host generation 0 network-id 1\r\n"
         "a=candidate:2 1 udp 2122194687 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 51473 typ host generation 0\r\n"
         "a=candidate:3 1 tcp 1518280447 192.0.2.33 9 typ host tcptype active generation 0\r\n"
         "a=candidate:4 2 udp 2122260222 192.0.2.33 51474 typ host generation 0\r\n"
         "a=candidate:5 1 UDP 1686052607 2001:db8::33 51475 typ srflx raddr 0.0.0.0 rport 0\r\n" TRANSPORT "a=mid:0\r\n"
         "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
         "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
         "a=sendrecv\r\n"
         "a=msid:stream track\r\n"
         "a=rtcp-mux\r\n"
         "a=rtcp-rsize\r\n"
         "a=rtpmap:111 opus/48000/2\r\n"
         "a=rtcp-fb:111 transport-cc\r\n"
         "a=fmtp:111 minptime=10;useinbandfec=1\r\n"
         "a=rtpmap:63 red/48000/2\r\n"
         "a=fmtp:63 111/111\r\n"
         "a=rtpmap:9 G722/8000\r\n"
         "a=rtpmap:0 PCMU/8000\r\n"
         "a=rtpmap:8 PCMA/8000\r\n"
         "a=rtpmap:13 CN/8000\r\n"
         "a=rtpmap:110 telephone-event/48000\r\n"
         "a=rtpmap:126 telephone-event/8000\r\n"
         "a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6\r\n"
         "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 114\r\n"
         "c=IN IP4 0.0.0.0\r\n" TRANSPORT "a=mid:1\r\n"
         "a=sendonly\r\n"
         "a=rtcp-mux\r\n"
         "a=rtpmap:96 VP8/90000\r\n"
         "a=rtcp-fb:96 nack pli\r\n"
         "a=rtpmap:97 rtx/90000\r\n"
         "a=fmtp:97 apt=96\r\n"
         "a=rtpmap:102 H264/90000\r\n"
         "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
         "a=rtpmap:103 rtx/90000\r\n"
         "a=fmtp:103 apt=102\r\n"
         "a=rtpmap:114 ulpfec/90000\r\n"
         "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
         "c=IN IP4 0.0.0.0\r\n" TRANSPORT "a=mid:2\r\n"
         "a=sctp-port:5000\r\n";

#define SIMPLE_MEDIA "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=rtcp-mux\r\n"
static const char simple[] = HEAD TRANSPORT SIMPLE_MEDIA;

static struct sdp *parsed(const char *text) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    if (sdp_parse(&s, text, strlen(text), &et) != 0)
        fail_msg("%s", et.s);
    return s;
}

/* The text with `from` replaced by `to` once; static buffers, two in turn, so that calls can be nested. */
static const char *with(const char *text, const char *from, const char *to) {
    static char buffers[2][16384];
    static unsigned turn;
    char *out = buffers[turn++ % 2];
    const char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(out, sizeof buffers[0], "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void assert_refused(const char *text, int want, const char *sentence) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    assert_int_equal(sdp_parse(&s, text, strlen(text), &et), want);
    assert_null(s);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, et.s);
}

static void assert_unfit(const char *text, int want, const char *sentence) {
    struct err_text et = {""};
    struct sdp *s = parsed(text);
    assert_int_equal(sdp_check_offer(s, &et), want);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, et.s);
    sdp_free(s);
}

struct side {
    struct addr candidates[2];
    struct sdp_local l;
};

static void side_init(struct side *s) {
    memset(s, 0, sizeof *s);
    assert_int_equal(addr_parse_hostport(&s->candidates[0], "198.51.100.1:10000"), 0);
    assert_int_equal(addr_parse_hostport(&s->candidates[1], "[2001:db8::1]:10000"), 0);
    s->l = (struct sdp_local){.candidates = s->candidates,
                              .candidate_count = 2,
                              .ufrag = "oursufrg",
                              .pwd = "ourpasswordourpasswordourpasswor",
                              .fingerprint = FP_256,
                              .setup = SDP_SETUP_PASSIVE,
                              .session_id = 42};
}

typedef int (*sdp_writer)(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et);

/* What is written for an offer, and what a parser makes of it. */
struct written {
    struct buf text;
    struct sdp *sdp;
};

static struct written written(sdp_writer write, const char *offer, const struct sdp_local *l) {
    struct written w = {{0}, NULL};
    struct err_text et = {""};
    struct sdp *s = parsed(offer);
    if (write(&w.text, s, l, &et) != 0)
        fail_msg("%s", et.s);
    sdp_free(s);
    w.sdp = parsed(w.text.p);
    return w;
}

static void written_free(struct written *w) {
    buf_free(&w->text);
    w->sdp = sdp_free(w->sdp);
}

static void assert_codecs(const struct sdp_media *m, const char *want) {
    struct buf b = {0};
    for (size_t i = 0; i < m->codec_count; i++)
        buf_addf(&b, "%s%d", i ? " " : "", m->codecs[i].pt);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

static void a_browsers_offer_is_read(void **state) {
    struct sdp *s = parsed(browser);
    (void)state;
    assert_string_equal(s->session_id, "4611731400430051336");
    assert_string_equal(s->ice_ufrag, "Zx9+");
    assert_string_equal(s->ice_pwd, PWD);
    assert_true(s->trickle && s->bundle);
    assert_false(s->ice_lite);
    assert_int_equal(s->setup, SDP_SETUP_ACTPASS);
    assert_int_equal(s->bundle_count, 3);
    assert_int_equal(s->media_count, 3);
    assert_string_equal(s->media[0].kind, "audio");
    assert_string_equal(s->media[0].proto, "UDP/TLS/RTP/SAVPF");
    assert_int_equal(s->media[0].port, 51472);
    assert_true(s->media[0].rtcp_mux);
    assert_string_equal(s->media[1].mid, "1");
    assert_int_equal(s->media[1].direction, SDP_SENDONLY);
    assert_string_equal(s->media[2].kind, "application");
    assert_int_equal(s->media[2].codec_count, 0);
    assert_int_equal(sdp_check_offer(s, NULL), 0);
    sdp_free(s);
}

static void codecs_keep_the_order_of_the_m_line(void **state) {
    struct sdp *s = parsed(browser);
    (void)state;
    assert_codecs(&s->media[0], "111 63 9 0 8 13 110 126");
    assert_string_equal(s->media[0].codecs[0].name, "opus");
    assert_int_equal(s->media[0].codecs[0].clock_hz, 48000);
    assert_int_equal(s->media[0].codecs[0].channels, 2);
    assert_string_equal(s->media[0].codecs[2].name, "G722");
    assert_int_equal(s->media[0].codecs[2].channels, 1);
    sdp_free(s);
}

static void static_payload_types_need_no_rtpmap(void **state) {
    struct sdp *s = parsed(simple);
    (void)state;
    assert_string_equal(s->media[0].codecs[0].name, "PCMU");
    assert_int_equal(s->media[0].codecs[0].clock_hz, 8000);
    sdp_free(s);
}

static void a_payload_type_named_twice_counts_once(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    struct written w =
        written(sdp_write_answer,
                with(with(simple, "SAVPF 0", "SAVPF 0 8 0 0"), "a=rtcp-mux", "a=rtcp-mux\r\na=fmtp:0 x=y"), &side.l);
    assert_codecs(&w.sdp->media[0], "0 8");
    char *line = strstr(w.text.p, "a=fmtp:0 x=y");
    assert_non_null(line);
    assert_null(strstr(line + 1, "a=fmtp:0 x=y"));
    written_free(&w);
}

static void only_numeric_udp_candidates_of_the_first_component_are_kept(void **state) {
    struct sdp *s = parsed(browser);
    char text[ADDR_STR_BYTES];
    (void)state;
    assert_int_equal(s->candidate_count, 2);
    assert_string_equal(addr_str(text, &s->candidates[0]), "192.0.2.33:51472");
    assert_string_equal(addr_str(text, &s->candidates[1]), "[2001:db8::33]:51475");
    sdp_free(s);
}

static void bare_line_feeds_and_a_missing_last_one_are_read(void **state) {
    char text[sizeof browser];
    size_t n = 0;
    (void)state;
    for (const char *c = browser; *c; c++)
        if (*c != '\r')
            text[n++] = *c;
    text[n - 1] = 0;
    struct sdp *s = parsed(text);
    assert_int_equal(s->media_count, 3);
    assert_string_equal(s->media[2].lines[s->media[2].line_count - 1], "sctp-port:5000");
    sdp_free(s);
}

static void the_session_level_says_what_the_section_does_not(void **state) {
    struct sdp *s = parsed(simple);
    (void)state;
    assert_string_equal(s->ice_ufrag, "Zx9+");
    assert_string_equal(s->ice_pwd, PWD);
    assert_int_equal(s->fingerprint_count, 1);
    assert_int_equal(s->setup, SDP_SETUP_ACTPASS);
    sdp_free(s);
}

static void the_section_goes_before_the_session_level(void **state) {
    struct sdp *s =
        parsed(HEAD TRANSPORT SIMPLE_MEDIA "a=ice-ufrag:mine\r\na=setup:active\r\na=fingerprint:" FP_512 "\r\n");
    (void)state;
    assert_string_equal(s->ice_ufrag, "mine");
    assert_int_equal(s->setup, SDP_SETUP_ACTIVE);
    assert_int_equal(s->fingerprint_count, 1);
    assert_string_equal(s->fingerprints[0].hash, "sha-512");
    sdp_free(s);
}

static void the_first_section_of_the_bundle_carries_the_transport(void **state) {
    struct sdp *s = parsed(HEAD "a=group:BUNDLE b a\r\n"
                                "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=ice-ufrag:ofa1\r\n"
                                "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:b\r\na=ice-ufrag:ofb1\r\n");
    (void)state;
    assert_string_equal(s->ice_ufrag, "ofb1");
    sdp_free(s);
}

static void fingerprints_are_read_in_any_case(void **state) {
    char lower[] = "a=fingerprint:SHA-256 " FP_HEX "\r\n";
    (void)state;
    for (char *c = lower + strlen("a=fingerprint:SHA-256 "); *c; c++)
        *c = *c >= 'A' && *c <= 'F' ? (char)(*c + 'a' - 'A') : *c;
    struct sdp *a = parsed(simple), *b = parsed(with(simple, "a=fingerprint:" FP_256 "\r\n", lower));
    assert_int_equal(b->fingerprint_count, 1);
    assert_string_equal(b->fingerprints[0].hash, "sha-256");
    assert_memory_equal(&a->fingerprints[0], &b->fingerprints[0], sizeof a->fingerprints[0]);
    assert_int_equal(a->fingerprints[0].value[0], 0xab);
    sdp_free(a);
    sdp_free(b);
}

static void several_fingerprints_are_kept_and_unknown_hashes_passed_over(void **state) {
    struct sdp *s =
        parsed(with(simple, "a=setup",
                    "a=fingerprint:sha-1 AB:CD\r\na=fingerprint:" FP_384 "\r\na=fingerprint:" FP_512 "\r\na=setup"));
    (void)state;
    assert_int_equal(s->fingerprint_count, 3);
    assert_int_equal(s->fingerprints[0].len, 32);
    assert_int_equal(s->fingerprints[1].len, 48);
    assert_int_equal(s->fingerprints[2].len, 64);
    sdp_free(s);
}

static void an_sdes_key_is_read_from_the_first_suite_that_we_know(void **state) {
    struct sdp *s = parsed(HEAD "c=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/SAVP 0\r\n"
                                "a=crypto:1 AES_CM_256_HMAC_SHA1_80 inline:AAAA\r\n"
                                "a=crypto:2 AES_CM_128_HMAC_SHA1_80 "
                                "inline:4fl6DT4Bi+DWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm|2^31|1:4\r\n"
                                "a=crypto:3 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0OD6ChoqOkpaanqKmqqw==\r\n");
    char text[ADDR_STR_BYTES], key[61];
    (void)state;
    assert_int_equal(s->media[0].crypto.profile, MEDIA_PROFILE_AES128_CM_SHA1_80);
    assert_int_equal(s->media[0].crypto.tag, 2);
    assert_string_equal(hex_encode(key, s->media[0].crypto.master, 30),
                        "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
    /* A peer without ICE has its address in c= and m=. */
    assert_int_equal(s->candidate_count, 1);
    assert_string_equal(addr_str(text, &s->candidates[0]), "192.0.2.9:4000");
    sdp_free(s);
}

static void every_mistake_names_its_line(void **state) {
    static const struct {
        const char *line;
        int err;
        const char *sentence;
    } wrong[] = {
        {"nonsense", E_MALFORMED, "not of the form letter=value"},
        {"m=audio", E_MALFORMED, "m= needs a kind"},
        {"m=audio x UDP/TLS/RTP/SAVPF 0", E_MALFORMED, "no usable port"},
        {"m=audio 65536 UDP/TLS/RTP/SAVPF 0", E_MALFORMED, "no usable port"},
        {"m=audio 9 UDP/TLS/RTP/SAVPF 0 128", E_MALFORMED, "\"128\" is not a payload type"},
        {"a=ice-ufrag:abc", E_MALFORMED, "a=ice-ufrag needs 4 to 256"},
        {"a=ice-ufrag:ab cd", E_MALFORMED, "a=ice-ufrag needs 4 to 256"},
        {"a=ice-pwd:short", E_MALFORMED, "a=ice-pwd needs 22 to 256"},
        {"a=setup:holdconn", E_UNSUPPORTED, "a=setup:holdconn"},
        {"a=fingerprint:", E_MALFORMED, "no hash name"},
        {"a=fingerprint:sha-256 AB:CD", E_MALFORMED, "sha-256 needs 32 bytes in hex with colons, there are 2"},
        {"a=fingerprint:sha-256 " FP_HEX ":00", E_MALFORMED, "sha-256 needs 32 bytes"},
        {"a=fingerprint:sha-256 XY", E_MALFORMED, "sha-256 needs 32 bytes"},
        {"a=candidate:1 1 udp", E_MALFORMED, "a=candidate needs"},
        {"a=candidate:1 1 udp 1 192.0.2.1 65536 typ host", E_MALFORMED, "a=candidate needs"},
        {"c=IN IP4", E_MALFORMED, "c= needs"},
    };
    char text[1024], want[256];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, HEAD "%s\r\n", wrong[i].line);
        snprintf(want, sizeof want, "line %d: %s", LINES_OF_HEAD + 1, wrong[i].sentence);
        struct err_text et = {""};
        struct sdp *s = NULL;
        assert_int_equal(sdp_parse(&s, text, strlen(text), &et), wrong[i].err);
        assert_null(s);
        if (strncmp(et.s, want, strlen("line 5: ")) != 0 || !strstr(et.s, wrong[i].sentence))
            fail_msg("\"%s\" is not \"%s\"", et.s, want);
    }
}

static void mistakes_inside_a_section_name_their_line(void **state) {
    (void)state;
    assert_refused(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:x PCMU\r\n", E_MALFORMED,
                   "line 6: a=rtpmap needs a payload type");
    assert_refused(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:\r\n", E_MALFORMED, "line 6: a=mid needs a word");
    assert_refused(HEAD "m=audio 9 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80\r\n", E_MALFORMED,
                   "line 6: a=crypto needs a tag");
    assert_refused(HEAD "m=audio 9 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n", E_MALFORMED,
                   "line 6: a=crypto: AES_CM_128_HMAC_SHA1_80 needs 30 bytes");
}

static void what_does_not_begin_with_v_0_is_no_sdp(void **state) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    (void)state;
    assert_refused("o=- 1 1 IN IP4 0.0.0.0\r\n", E_MALFORMED, "line 1: an SDP description begins with v=0");
    assert_refused("{\"sdp\":1}", E_MALFORMED, "line 1: ");
    assert_int_equal(sdp_parse(&s, "", 0, &et), E_MALFORMED);
    assert_non_null(strstr(et.s, "empty"));
}

static void a_nul_byte_is_refused(void **state) {
    static const char text[] = "v=0\r\ns=a\0b\r\n";
    struct err_text et = {""};
    struct sdp *s = NULL;
    (void)state;
    assert_int_equal(sdp_parse(&s, text, sizeof text - 1, &et), E_MALFORMED);
    assert_non_null(strstr(et.s, "line 2: a NUL byte"));
}

static void limits_are_said_with_their_number(void **state) {
    struct buf b = {0};
    struct err_text et = {""};
    struct sdp *s = NULL;
    (void)state;
    buf_adds(&b, HEAD);
    for (int i = 0; i <= SDP_MEDIA_MAX; i++)
        buf_adds(&b, "m=audio 9 RTP/SAVP 0\r\n");
    assert_refused(b.p, E_UNSUPPORTED, "line 13: more than 8 m-lines");
    buf_reset(&b);
    buf_adds(&b, HEAD "m=audio 9 RTP/SAVP 0\r\n");
    for (int i = 0; i <= SDP_LINES_MAX; i++)
        buf_adds(&b, "a=x\r\n");
    assert_refused(b.p, E_UNSUPPORTED, "line 518: more than 512 attribute lines");
    buf_reset(&b);
    buf_adds(&b, HEAD "m=audio 9 RTP/SAVP");
    for (int i = 0; i <= SDP_CODECS_MAX; i++)
        buf_addf(&b, " %d", i);
    assert_refused(b.p, E_UNSUPPORTED, "line 5: more than 64 codecs");
    buf_reset(&b);
    buf_adds(&b, HEAD "s=");
    while (b.len < 8000)
        buf_adds(&b, "x");
    assert_refused(b.p, E_UNSUPPORTED, "line 5: longer than");
    while (b.len <= SDP_MAX_BYTES)
        buf_adds(&b, "x");
    assert_int_equal(sdp_parse(&s, b.p, b.len, &et), E_UNSUPPORTED);
    assert_non_null(strstr(et.s, "at most 65536"));
    buf_free(&b);
}

static void an_offer_that_cannot_be_taken_is_told_why(void **state) {
    (void)state;
    assert_unfit(with(simple, "a=rtcp-mux\r\n", ""), E_UNSUPPORTED, "m-line 1 (audio) has no a=rtcp-mux");
    assert_unfit(HEAD TRANSPORT "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", E_UNSUPPORTED,
                 "no audio or video m-line");
    assert_unfit(with(simple, "m=audio 9", "m=audio 0"), E_UNSUPPORTED, "no audio or video m-line");
    assert_unfit(with(simple, "a=ice-ufrag:Zx9+\r\n", ""), E_MALFORMED, "come together");
    assert_unfit(with(with(simple, "a=ice-options", "a=ice-lite\r\na=ice-options"), "actpass", "passive"),
                 E_UNSUPPORTED, "no address in c= and m=");
    assert_unfit(with(simple, "a=fingerprint:" FP_256 "\r\n", ""), E_MALFORMED, "no a=fingerprint");
    assert_unfit(with(simple, "a=setup:actpass\r\n", ""), E_MALFORMED, "no a=setup");
}

static void we_are_passive_unless_the_offer_is(void **state) {
    static const struct {
        const char *offered;
        enum sdp_setup ours;
    } rows[] = {{"a=setup:actpass", SDP_SETUP_PASSIVE},
                {"a=setup:active", SDP_SETUP_PASSIVE},
                {"a=setup:passive", SDP_SETUP_ACTIVE}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sdp *s = parsed(with(simple, "a=setup:actpass", rows[i].offered));
        assert_int_equal(sdp_answer_setup(s), rows[i].ours);
        sdp_free(s);
    }
}

static void the_answer_takes_sound_and_pictures_and_rejects_the_data_channel(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_int_equal(w.sdp->media_count, 3);
    assert_int_equal(w.sdp->media[0].port, 10000);
    assert_int_equal(w.sdp->media[1].port, 10000);
    assert_int_equal(w.sdp->media[2].port, 0);
    assert_non_null(strstr(w.text.p, "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert_non_null(strstr(w.text.p, "a=group:BUNDLE 0 1\r\n"));
    assert_string_equal(w.sdp->media[2].mid, "2");
    assert_true(w.sdp->media[0].rtcp_mux && w.sdp->media[1].rtcp_mux);
    written_free(&w);
}

static void the_answer_says_our_transport(void **state) {
    struct side side;
    char text[ADDR_STR_BYTES];
    (void)state;
    side_init(&side);
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_true(w.sdp->ice_lite);
    assert_string_equal(w.sdp->ice_ufrag, side.l.ufrag);
    assert_string_equal(w.sdp->ice_pwd, side.l.pwd);
    assert_int_equal(w.sdp->setup, SDP_SETUP_PASSIVE);
    assert_int_equal(w.sdp->fingerprint_count, 1);
    assert_int_equal(w.sdp->candidate_count, 2);
    assert_string_equal(addr_str(text, &w.sdp->candidates[1]), "[2001:db8::1]:10000");
    assert_non_null(strstr(w.text.p, "c=IN IP4 198.51.100.1\r\n"));
    assert_string_equal(w.sdp->session_id, "42");
    written_free(&w);
}

static void the_answer_mirrors_the_directions(void **state) {
    static const enum sdp_direction mirrored[] = {SDP_SENDRECV, SDP_RECVONLY, SDP_SENDONLY, SDP_INACTIVE};
    static const char *const names[] = {"a=sendrecv\r\n", "a=sendonly\r\n", "a=recvonly\r\n", "a=inactive\r\n"};
    struct side side;
    char offer[sizeof simple + 16];
    (void)state;
    side_init(&side);
    for (size_t i = 0; i < 4; i++) {
        snprintf(offer, sizeof offer, "%s%s", simple, names[i]);
        struct written w = written(sdp_write_answer, offer, &side.l);
        assert_int_equal(w.sdp->media[0].direction, mirrored[i]);
        written_free(&w);
        w = written(sdp_write_handoff, offer, &side.l);
        assert_int_equal(w.sdp->media[0].direction, i);
        written_free(&w);
    }
}

static void a_direction_of_the_session_level_holds_for_its_sections(void **state) {
    struct sdp *s = parsed(HEAD "a=recvonly\r\nm=audio 9 RTP/SAVP 0\r\nm=audio 9 RTP/SAVP 0\r\na=sendrecv\r\n");
    (void)state;
    assert_int_equal(s->media[0].direction, SDP_RECVONLY);
    assert_int_equal(s->media[1].direction, SDP_SENDRECV);
    sdp_free(s);
}

static void all_codecs_are_answered_when_none_is_named(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_codecs(&w.sdp->media[0], "111 63 9 0 8 13 110 126");
    assert_codecs(&w.sdp->media[1], "96 97 102 103 114");
    assert_non_null(strstr(w.text.p, "a=fmtp:111 minptime=10;useinbandfec=1\r\n"));
    assert_non_null(strstr(w.text.p, "a=rtcp-fb:96 nack pli\r\n"));
    assert_non_null(strstr(w.text.p, "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"));
    /* Who agrees to the MID extension must send it, and nobody knows yet whether the phone can. */
    assert_null(strstr(w.text.p, "rtp-hdrext:sdes:mid"));
    assert_null(strstr(w.text.p, "a=ssrc:"));
    written_free(&w);
}

static void the_named_codecs_keep_their_retransmission_and_helpers(void **state) {
    static const char *const names[] = {"OPUS", "h264"};
    struct side side;
    (void)state;
    side_init(&side);
    side.l.codecs = names;
    side.l.codec_count = 2;
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_codecs(&w.sdp->media[0], "111 63 13 110 126");
    assert_codecs(&w.sdp->media[1], "102 103 114");
    assert_non_null(strstr(w.text.p, "a=fmtp:103 apt=102\r\n"));
    assert_null(strstr(w.text.p, "apt=96"));
    assert_null(strstr(w.text.p, "VP8"));
    written_free(&w);
}

static void a_section_whose_codecs_are_all_unnamed_is_rejected(void **state) {
    static const char *const names[] = {"opus"};
    struct side side;
    (void)state;
    side_init(&side);
    side.l.codecs = names;
    side.l.codec_count = 1;
    struct written w = written(sdp_write_answer, browser, &side.l);
    assert_int_not_equal(w.sdp->media[0].port, 0);
    assert_int_equal(w.sdp->media[1].port, 0);
    assert_non_null(strstr(w.text.p, "a=group:BUNDLE 0\r\n"));
    written_free(&w);
}

static void a_payload_type_is_that_of_a_section_in_which_the_caller_listens(void **state) {
    static const char *const names[] = {"opus"}, *const hears[] = {"sendrecv", "recvonly"},
                             *const deaf[] = {"sendonly", "inactive"};
    const struct sdp_local all = {0}, one = {.codecs = names, .codec_count = 1};
    char offer[512];
    struct sdp *s = parsed(browser);
    (void)state;
    assert_int_equal(sdp_answer_pt(s, &all, "OPUS", 48000), 111);
    assert_int_equal(sdp_answer_pt(s, &all, "PCMU", 8000), 0);
    assert_int_equal(sdp_answer_pt(s, &all, "opus", 8000), E_NOTFOUND);
    assert_int_equal(sdp_answer_pt(s, &all, "VP8", 90000), E_NOTFOUND);
    assert_int_equal(sdp_answer_pt(s, &one, "opus", 48000), 111);
    assert_int_equal(sdp_answer_pt(s, &one, "PCMU", 8000), E_NOTFOUND);
    sdp_free(s);
    for (size_t i = 0; i < 4; i++) {
        snprintf(offer, sizeof offer, HEAD TRANSPORT "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtcp-mux\r\na=%s\r\n",
                 i < 2 ? hears[i] : deaf[i - 2]);
        s = parsed(offer);
        assert_int_equal(sdp_answer_pt(s, &all, "PCMU", 8000), i < 2 ? 0 : E_NOTFOUND);
        sdp_free(s);
    }
}

static void no_common_codec_is_an_error_with_a_sentence(void **state) {
    static const char *const names[] = {"AMR-WB"};
    struct side side;
    struct err_text et = {""};
    struct buf out = {0};
    struct sdp *s = parsed(browser);
    (void)state;
    side_init(&side);
    side.l.codecs = names;
    side.l.codec_count = 1;
    assert_int_equal(sdp_write_answer(&out, s, &side.l, &et), E_UNSUPPORTED);
    assert_non_null(strstr(et.s, "no m-line has a codec that the app allows"));
    assert_int_equal(sdp_write_handoff(&out, s, &side.l, &et), E_UNSUPPORTED);
    buf_free(&out);
    sdp_free(s);
}

static void a_rejected_m_line_stays_rejected(void **state) {
    struct side side;
    char offer[1024];
    (void)state;
    side_init(&side);
    snprintf(offer, sizeof offer, "%sm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n", simple);
    struct written w = written(sdp_write_answer, offer, &side.l);
    assert_int_equal(w.sdp->media_count, 2);
    assert_int_equal(w.sdp->media[1].port, 0);
    assert_int_equal(w.sdp->media[1].direction, SDP_INACTIVE);
    written_free(&w);
}

static void without_a_bundle_only_the_first_section_is_taken(void **state) {
    struct side side;
    char offer[1024];
    (void)state;
    side_init(&side);
    snprintf(offer, sizeof offer,
             "%sm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n", simple);
    struct written w = written(sdp_write_answer, offer, &side.l);
    assert_int_equal(w.sdp->media[0].port, 10000);
    assert_int_equal(w.sdp->media[1].port, 0);
    assert_false(w.sdp->bundle);
    written_free(&w);
}

static void the_handoff_with_keys_speaks_sdes(void **state) {
    struct side side;
    struct media_keys keys;
    (void)state;
    side_init(&side);
    media_keys_random(&keys, MEDIA_PROFILE_AEAD_AES_128_GCM);
    side.l.keys = &keys;
    side.l.fingerprint = NULL;
    side.l.setup = SDP_SETUP_NONE;
    struct written w = written(sdp_write_handoff, browser, &side.l);
    assert_int_equal(w.sdp->media_count, 2);
    assert_string_equal(w.sdp->media[0].proto, "RTP/SAVPF");
    assert_int_equal(w.sdp->media[0].crypto.profile, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_memory_equal(w.sdp->media[0].crypto.master, keys.tx, 28);
    assert_int_equal(w.sdp->fingerprint_count, 0);
    assert_codecs(&w.sdp->media[0], "111 63 9 0 8 13 110 126");
    written_free(&w);
}

static void a_brief_handoff_has_few_codecs_and_none_of_their_helpers(void **state) {
    struct side side;
    struct media_keys keys;
    (void)state;
    side_init(&side);
    media_keys_random(&keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
    side.l.keys = &keys;
    side.l.fingerprint = NULL;
    side.l.setup = SDP_SETUP_NONE;
    struct written all = written(sdp_write_handoff, browser, &side.l);
    side.l.brief_codecs = 2;
    struct written w = written(sdp_write_handoff, browser, &side.l);
    assert_int_equal(w.sdp->media_count, 2);
    assert_codecs(&w.sdp->media[0], "111 9");
    assert_int_equal(w.sdp->media[1].codec_count, 2);
    assert_non_null(strstr(w.text.p, "a=fmtp:111 "));
    assert_null(strstr(w.text.p, "extmap"));
    assert_null(strstr(w.text.p, "rtcp-fb"));
    assert_memory_equal(w.sdp->media[0].crypto.master, keys.tx, 30);
    assert_string_equal(w.sdp->ice_pwd, all.sdp->ice_pwd);
    assert_true(w.text.len < all.text.len);
    written_free(&w);
    written_free(&all);
}

static void the_handoff_without_keys_speaks_dtls(void **state) {
    struct side side;
    (void)state;
    side_init(&side);
    side.l.setup = SDP_SETUP_ACTPASS;
    struct written w = written(sdp_write_handoff, browser, &side.l);
    assert_string_equal(w.sdp->media[0].proto, "UDP/TLS/RTP/SAVPF");
    assert_int_equal(w.sdp->setup, SDP_SETUP_ACTPASS);
    assert_int_equal(w.sdp->fingerprint_count, 1);
    assert_int_equal(w.sdp->media[0].crypto.profile, MEDIA_PROFILE_NONE);
    assert_false(sdp_has_ice(w.sdp)); /* for a=ice-lite alone */
    side.l.full_ice = true;
    written_free(&w);
    w = written(sdp_write_handoff, browser, &side.l);
    assert_false(w.sdp->ice_lite);
    assert_int_equal(sdp_check_offer(w.sdp, NULL), 0);
    written_free(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_browsers_offer_is_read),
        cmocka_unit_test(codecs_keep_the_order_of_the_m_line),
        cmocka_unit_test(static_payload_types_need_no_rtpmap),
        cmocka_unit_test(a_payload_type_named_twice_counts_once),
        cmocka_unit_test(only_numeric_udp_candidates_of_the_first_component_are_kept),
        cmocka_unit_test(bare_line_feeds_and_a_missing_last_one_are_read),
        cmocka_unit_test(the_session_level_says_what_the_section_does_not),
        cmocka_unit_test(the_section_goes_before_the_session_level),
        cmocka_unit_test(the_first_section_of_the_bundle_carries_the_transport),
        cmocka_unit_test(fingerprints_are_read_in_any_case),
        cmocka_unit_test(several_fingerprints_are_kept_and_unknown_hashes_passed_over),
        cmocka_unit_test(an_sdes_key_is_read_from_the_first_suite_that_we_know),
        cmocka_unit_test(every_mistake_names_its_line),
        cmocka_unit_test(mistakes_inside_a_section_name_their_line),
        cmocka_unit_test(what_does_not_begin_with_v_0_is_no_sdp),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(limits_are_said_with_their_number),
        cmocka_unit_test(an_offer_that_cannot_be_taken_is_told_why),
        cmocka_unit_test(we_are_passive_unless_the_offer_is),
        cmocka_unit_test(the_answer_takes_sound_and_pictures_and_rejects_the_data_channel),
        cmocka_unit_test(the_answer_says_our_transport),
        cmocka_unit_test(the_answer_mirrors_the_directions),
        cmocka_unit_test(a_direction_of_the_session_level_holds_for_its_sections),
        cmocka_unit_test(all_codecs_are_answered_when_none_is_named),
        cmocka_unit_test(the_named_codecs_keep_their_retransmission_and_helpers),
        cmocka_unit_test(a_section_whose_codecs_are_all_unnamed_is_rejected),
        cmocka_unit_test(a_payload_type_is_that_of_a_section_in_which_the_caller_listens),
        cmocka_unit_test(no_common_codec_is_an_error_with_a_sentence),
        cmocka_unit_test(a_rejected_m_line_stays_rejected),
        cmocka_unit_test(without_a_bundle_only_the_first_section_is_taken),
        cmocka_unit_test(the_handoff_with_keys_speaks_sdes),
        cmocka_unit_test(a_brief_handoff_has_few_codecs_and_none_of_their_helpers),
        cmocka_unit_test(the_handoff_without_keys_speaks_dtls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
