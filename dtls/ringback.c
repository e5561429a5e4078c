/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/ringback_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ringback_add(struct ringback *r, const uint8_t *p, size_t len, struct err_text *et) {
    if (r->count == RINGBACK_FRAMES_MAX)
        return err_say(et, E_FULL, "longer than %d s; it is played in a loop, so cut it",
                       RINGBACK_FRAMES_MAX * RINGBACK_FRAME_MS / 1000);
    assert(r->bytes + len <= r->cap);
    r->frame[r->count].at = (uint32_t)r->bytes;
    r->frame[r->count].len = (uint32_t)len;
    r->count++;
    memcpy(r->data + r->bytes, p, len);
    r->bytes += len;
    return 0;
}

int ringback_parse(struct ringback **rp, const uint8_t *p, size_t len, struct err_text *et) {
    if (len > RINGBACK_FILE_MAX_BYTES)
        return err_say(et, E_FULL, "larger than %u bytes", RINGBACK_FILE_MAX_BYTES);
    bool ogg = len >= 4 && memcmp(p, "OggS", 4) == 0;
    bool wav = len >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WAVE", 4) == 0;
    if (!ogg && !wav)
        return err_say(et, E_UNSUPPORTED,
                       "neither Ogg nor WAV; an Ogg Opus file, or a WAV file with mu-law, is needed");
    size_t cap = len + PCMU_FRAME_BYTES; /* the last frame of a WAV file is filled up */
    struct ringback *r = calloc(1, sizeof *r + cap);
    if (!r)
        return err_say(et, E_NOMEM, "out of memory");
    r->cap = cap;
    int err = ogg ? ringback_ogg_read(r, p, len, et) : ringback_wav_read(r, p, len, et);
    if (err != 0) {
        ringback_free(r);
        return err;
    }
    *rp = r;
    return 0;
}

/* The whole file; *len may be one more than allowed. */
static int read_file(uint8_t **p, size_t *len, int fd, struct err_text *et) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return err_say(et, E_IO, "not a file");
    uint8_t *bytes = malloc(RINGBACK_FILE_MAX_BYTES + 1);
    if (!bytes)
        return err_say(et, E_NOMEM, "out of memory");
    size_t n = 0;
    while (n <= RINGBACK_FILE_MAX_BYTES) {
        ssize_t got = read(fd, bytes + n, RINGBACK_FILE_MAX_BYTES + 1 - n);
        if (got < 0) {
            err_say(et, E_IO, "cannot be read: %s", strerror(errno));
            free(bytes);
            return E_IO;
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *p = bytes;
    *len = n;
    return 0;
}

int ringback_load(struct ringback **rp, const char *path, struct err_text *et) {
    struct err_text why = {""};
    uint8_t *p = NULL;
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for the other end of a pipe */
    int err = fd >= 0 ? read_file(&p, &len, fd, &why) : err_say(&why, E_IO, "cannot be opened: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    if (err == 0)
        err = ringback_parse(rp, p, len, &why);
    free(p);
    return err == 0 ? 0 : err_say(et, err, "%s: %s", path, why.s);
}

struct ringback *ringback_free(struct ringback *r) {
    free(r);
    return NULL;
}

const char *ringback_codec(const struct ringback *r) {
    return r->codec;
}

uint32_t ringback_clock_hz(const struct ringback *r) {
    return r->clock_hz;
}

unsigned ringback_frames(const struct ringback *r) {
    return r->count;
}

const uint8_t *ringback_frame(const struct ringback *r, unsigned i, size_t *len) {
    assert(i < r->count);
    *len = r->frame[i].len;
    return r->data + r->frame[i].at;
}
