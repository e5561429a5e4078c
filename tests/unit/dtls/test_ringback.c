/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/ringback.h"

#include <fcntl.h>
#include <ogg/ogg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TOC_20_MS  0x78 /* hybrid, full band, one frame (RFC 6716 3.1) */
#define TOC_10_MS  0x70
#define TOC_60_MS  0x18
#define TOC_MANY   0x73 /* 10 ms each, as many as the next byte says */
#define FILE_BYTES (RINGBACK_FILE_MAX_BYTES + 4096)

struct file {
    size_t len;
    uint8_t p[FILE_BYTES];
};

static int setup(void **state) {
    *state = calloc(1, sizeof(struct file));
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    free(*state);
    return 0;
}

static void add(struct file *f, const void *p, size_t len) {
    assert_true(f->len + len <= sizeof f->p);
    memcpy(f->p + f->len, p, len);
    f->len += len;
}

static void add_le(struct file *f, uint32_t v, int bytes) {
    for (int i = 0; i < bytes; i++, v >>= 8)
        add(f, &(uint8_t){(uint8_t)v}, 1);
}

/* Refused with this code and these words. */
static void refused(const struct file *f, int err, const char *words) {
    struct ringback *r = NULL;
    struct err_text et = {""};
    assert_int_equal(ringback_parse(&r, f->p, f->len, &et), err);
    assert_null(r);
    if (!strstr(et.s, words))
        fail_msg("\"%s\" is not in \"%s\"", words, et.s);
}

static struct ringback *taken(const struct file *f) {
    struct ringback *r = NULL;
    struct err_text et = {""};
    if (ringback_parse(&r, f->p, f->len, &et) != 0)
        fail_msg("%s", et.s);
    return r;
}

/* WAV */

struct wav {
    unsigned format, channels, rate, bits, fmt_bytes;
    size_t samples;
    bool no_fmt, no_data;
};

#define MULAW ((struct wav){.format = 7, .channels = 1, .rate = 8000, .bits = 8, .fmt_bytes = 18, .samples = 400})

static void wav(struct file *f, const struct wav *w) {
    f->len = 0;
    add(f, "RIFF", 4);
    add_le(f, 0, 4);
    add(f, "WAVE", 4);
    add(f, "LIST", 4); /* an unknown chunk of an odd length, and its padding */
    add_le(f, 3, 4);
    add(f, "abc", 4);
    if (!w->no_fmt) {
        add(f, "fmt ", 4);
        add_le(f, w->fmt_bytes, 4);
        add_le(f, w->format, 2);
        add_le(f, w->channels, 2);
        add_le(f, w->rate, 4);
        add_le(f, w->rate, 4);
        add_le(f, 1, 2);
        add_le(f, w->bits, 2);
        for (unsigned i = 16; i < w->fmt_bytes; i++)
            add_le(f, 0, 1);
    }
    if (w->no_data)
        return;
    add(f, "data", 4);
    add_le(f, (uint32_t)w->samples, 4);
    for (size_t i = 0; i < w->samples; i++)
        add_le(f, (uint32_t)(i % 251), 1);
}

static void mulaw_becomes_frames_of_20_ms_and_the_last_is_filled_up(void **state) {
    struct file *f = *state;
    wav(f, &MULAW);
    struct ringback *r = taken(f);
    size_t len;
    assert_string_equal(ringback_codec(r), "PCMU");
    assert_int_equal(ringback_clock_hz(r), 8000);
    assert_int_equal(ringback_frames(r), 3);
    for (unsigned k = 0; k < 3; k++) {
        const uint8_t *p = ringback_frame(r, k, &len);
        assert_int_equal(len, 160);
        for (unsigned i = 0; i < 160; i++)
            assert_int_equal(p[i], k * 160 + i < 400 ? (k * 160 + i) % 251 : 0xff);
    }
    ringback_free(r);
}

static void another_format_of_wav_is_named(void **state) {
    struct file *f = *state;
    struct wav w = MULAW;
    w.format = 1;
    wav(f, &w);
    refused(f, E_UNSUPPORTED, "linear samples (format 1)");
    w.format = 6;
    wav(f, &w);
    refused(f, E_UNSUPPORTED, "A-law (format 6)");
    w.format = 0xfffe;
    wav(f, &w);
    refused(f, E_UNSUPPORTED, "format 65534");
    w = MULAW;
    w.rate = 16000;
    wav(f, &w);
    refused(f, E_UNSUPPORTED, "16000 samples a second");
    w = MULAW;
    w.channels = 2;
    wav(f, &w);
    refused(f, E_UNSUPPORTED, "2 channels");
    w = MULAW;
    w.bits = 16;
    wav(f, &w);
    refused(f, E_UNSUPPORTED, "16 bits");
}

static void a_damaged_wav_is_refused(void **state) {
    struct file *f = *state;
    struct wav w = MULAW;
    w.samples = 0;
    wav(f, &w);
    refused(f, E_MALFORMED, "no sound");
    w = MULAW;
    w.no_fmt = true;
    wav(f, &w);
    refused(f, E_MALFORMED, "no fmt chunk");
    w = MULAW;
    w.no_data = true;
    wav(f, &w);
    refused(f, E_MALFORMED, "no data chunk");
    w = MULAW;
    w.fmt_bytes = 16;
    wav(f, &w);
    ringback_free(taken(f));
    f->p[28] = 15; /* the fmt chunk's length: all that follows is shifted, or cut off */
    refused(f, E_MALFORMED, "fmt chunk is cut off");
    wav(f, &MULAW);
    memset(f->p + f->len - 404, 0xff, 4); /* the data chunk's */
    refused(f, E_MALFORMED, "4294967295 bytes is cut off");
}

static void too_long_a_wav_is_refused(void **state) {
    struct file *f = *state;
    struct wav w = MULAW;
    w.samples = 60 * 8000;
    wav(f, &w);
    struct ringback *r = taken(f);
    assert_int_equal(ringback_frames(r), RINGBACK_FRAMES_MAX);
    ringback_free(r);
    w.samples++;
    wav(f, &w);
    refused(f, E_FULL, "longer than 60 s");
}

/* Ogg Opus */

struct opus {
    const char *head; /* 19 bytes, or NULL: a good one */
    const char *tags;
    unsigned packets;
    size_t packet_bytes;
    uint8_t toc, second;
    int serial;
};

static const char good_head[] = "OpusHead\1\2\70\1\200\273\0\0\0\0\0";
#define OPUS ((struct opus){.head = good_head, .tags = "OpusTags", .packets = 5, .packet_bytes = 300, .toc = TOC_20_MS})

static void pages(struct file *f, ogg_stream_state *s, bool all) {
    ogg_page page;
    while (all ? ogg_stream_flush(s, &page) : ogg_stream_pageout(s, &page)) {
        add(f, page.header, (size_t)page.header_len);
        add(f, page.body, (size_t)page.body_len);
    }
}

static void packet(ogg_stream_state *s, const void *p, size_t len, bool last) {
    uint8_t bytes[1400];
    memcpy(bytes, p, len);
    ogg_packet op = {.packet = bytes, .bytes = (long)len, .b_o_s = s->packetno == 0, .e_o_s = last};
    assert_int_equal(ogg_stream_packetin(s, &op), 0);
}

static void opus(struct file *f, const struct opus *o) {
    ogg_stream_state s;
    ogg_stream_init(&s, o->serial);
    packet(&s, o->head, 19, false);
    pages(f, &s, true);
    packet(&s, o->tags, 8, false);
    pages(f, &s, true);
    for (unsigned i = 0; i < o->packets; i++) {
        uint8_t p[1400];
        memset(p, (int)i, sizeof p);
        p[0] = o->toc;
        p[1] = o->second;
        packet(&s, p, o->packet_bytes, i + 1 == o->packets);
        pages(f, &s, false);
    }
    pages(f, &s, true);
    ogg_stream_clear(&s);
}

static void opus_refused(struct file *f, const struct opus *o, int err, const char *words) {
    f->len = 0;
    opus(f, o);
    refused(f, err, words);
}

static void each_opus_packet_is_a_frame(void **state) {
    struct file *f = *state;
    struct opus o = OPUS;
    size_t len;
    o.packets = 200; /* several pages, and packets that go on from one to the next */
    opus(f, &o);
    struct ringback *r = taken(f);
    assert_string_equal(ringback_codec(r), "opus");
    assert_int_equal(ringback_clock_hz(r), 48000);
    assert_int_equal(ringback_frames(r), 200);
    for (unsigned i = 0; i < 200; i++) {
        const uint8_t *p = ringback_frame(r, i, &len);
        assert_int_equal(len, 300);
        assert_int_equal(p[0], TOC_20_MS);
        assert_int_equal(p[299], i);
    }
    ringback_free(r);
}

static void two_frames_of_10_ms_are_20_ms(void **state) {
    struct file *f = *state;
    struct opus o = OPUS;
    o.toc = TOC_MANY;
    o.second = 2;
    opus(f, &o);
    ringback_free(taken(f));
    o.second = 3;
    opus_refused(f, &o, E_UNSUPPORTED, "packet 1 has another length than 20 ms");
}

static void another_opus_is_refused(void **state) {
    struct file *f = *state;
    struct opus o = OPUS;
    o.toc = TOC_10_MS;
    opus_refused(f, &o, E_UNSUPPORTED, "--framesize 20");
    o.toc = TOC_60_MS;
    opus_refused(f, &o, E_UNSUPPORTED, "--framesize 20");
    o = OPUS;
    o.packet_bytes = 0;
    opus_refused(f, &o, E_UNSUPPORTED, "packet 1");
    o.toc = TOC_MANY;
    o.packet_bytes = 1;
    opus_refused(f, &o, E_UNSUPPORTED, "packet 1");
    o = OPUS;
    o.packet_bytes = RINGBACK_FRAME_MAX_BYTES;
    f->len = 0;
    opus(f, &o);
    ringback_free(taken(f));
    o.packet_bytes++;
    opus_refused(f, &o, E_UNSUPPORTED, "lower bitrate");
    o = OPUS;
    o.head = "OpusHead\1\6\70\1\200\273\0\0\0\0\1";
    opus_refused(f, &o, E_UNSUPPORTED, "6 channels");
    o.head = "OpusHead\20\2\70\1\200\273\0\0\0\0\0";
    opus_refused(f, &o, E_MALFORMED, "later version");
    o.head = "\1vorbis...........";
    opus_refused(f, &o, E_UNSUPPORTED, "Ogg without Opus");
    o = OPUS;
    o.tags = "OpusRags";
    opus_refused(f, &o, E_MALFORMED, "no comment header");
    o = OPUS;
    o.packets = 0;
    opus_refused(f, &o, E_MALFORMED, "no sound");
    o = OPUS;
    o.packets = RINGBACK_FRAMES_MAX;
    f->len = 0;
    opus(f, &o);
    ringback_free(taken(f));
    o.packets++;
    opus_refused(f, &o, E_FULL, "longer than 60 s");
}

static void a_damaged_ogg_is_refused(void **state) {
    struct file *f = *state;
    struct opus o = OPUS;
    opus(f, &o);
    f->p[f->len - 1] ^= 1;
    refused(f, E_MALFORMED, "damaged");
    f->p[f->len - 1] ^= 1;
    f->len--;
    refused(f, E_MALFORMED, "cut off");
    f->len++;
    add(f, "more", 4);
    refused(f, E_MALFORMED, "damaged");
    f->len = 0;
    opus(f, &o);
    o.serial = 7;
    opus(f, &o);
    refused(f, E_UNSUPPORTED, "more than one stream");
}

static void other_files_and_large_ones_are_refused(void **state) {
    struct file *f = *state;
    refused(f, E_UNSUPPORTED, "neither Ogg nor WAV");
    add(f, "ID3\3 and so on, long enough", 24);
    refused(f, E_UNSUPPORTED, "neither Ogg nor WAV");
    memcpy(f->p, "OggS", 4);
    f->len = RINGBACK_FILE_MAX_BYTES + 1;
    refused(f, E_FULL, "larger than 1048576 bytes");
}

static void a_file_is_named_when_it_cannot_be_used(void **state) {
    struct file *f = *state;
    struct ringback *r = NULL;
    struct err_text et = {""};
    char folder[] = "/tmp/wakegate-ringback-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tone", folder);
    assert_int_equal(ringback_load(&r, path, &et), E_IO);
    assert_non_null(strstr(et.s, path));
    assert_int_equal(ringback_load(&r, folder, &et), E_IO);
    assert_non_null(strstr(et.s, "not a file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(ringback_load(&r, path, &et), E_IO);
    assert_non_null(strstr(et.s, "not a file"));
    unlink(path);
    wav(f, &MULAW);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(f->p, 1, f->len, out), f->len);
    fclose(out);
    assert_int_equal(ringback_load(&r, path, &et), 0);
    ringback_free(r);
    assert_int_equal(truncate(path, RINGBACK_FILE_MAX_BYTES + 100), 0);
    assert_int_equal(ringback_load(&r, path, &et), E_FULL);
    assert_int_equal(strncmp(et.s, path, strlen(path)), 0);
    unlink(path);
    rmdir(folder);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(mulaw_becomes_frames_of_20_ms_and_the_last_is_filled_up),
        test(another_format_of_wav_is_named),
        test(a_damaged_wav_is_refused),
        test(too_long_a_wav_is_refused),
        test(each_opus_packet_is_a_frame),
        test(two_frames_of_10_ms_are_20_ms),
        test(another_opus_is_refused),
        test(a_damaged_ogg_is_refused),
        test(other_files_and_large_ones_are_refused),
        test(a_file_is_named_when_it_cannot_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
