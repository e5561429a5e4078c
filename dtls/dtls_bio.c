/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/dtls_bio.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct dgram_bio {
    dtls_bio_send send;
    void *arg;
    size_t mtu;
    const uint8_t *in;
    size_t in_len;
};

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static int bio_write(BIO *bio, const char *p, int len) {
    struct dgram_bio *d = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return -1;
    d->send((const uint8_t *)p, (size_t)len, d->arg);
    return len;
}

static int bio_read(BIO *bio, char *out, int cap) {
    struct dgram_bio *d = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!d->in) {
        BIO_set_retry_read(bio);
        return -1;
    }
    /* As recv(2) does: what does not fit of a datagram is lost. */
    int n = d->in_len < (size_t)cap ? (int)d->in_len : cap;
    memcpy(out, d->in, (size_t)n);
    d->in = NULL;
    return n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr) {
    struct dgram_bio *d = BIO_get_data(bio);
    (void)num;
    (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT:
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return (long)d->mtu;
    case BIO_CTRL_PENDING:
        return d->in ? (long)d->in_len : 0;
    default:
        return 0;
    }
}

static int bio_destroy(BIO *bio) {
    free(BIO_get_data(bio));
    return 1;
}

static void make_method(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagram");
    if (m && BIO_meth_set_write(m, bio_write) && BIO_meth_set_read(m, bio_read) && BIO_meth_set_ctrl(m, bio_ctrl) &&
        BIO_meth_set_destroy(m, bio_destroy))
        method = m;
}

/* Made once for the process and kept until its end, as OpenSSL keeps its own. */
__attribute__((destructor)) static void free_method(void) {
    BIO_meth_free(method);
}

BIO *dtls_bio_new(dtls_bio_send send, void *arg, size_t mtu) {
    pthread_once(&method_once, make_method);
    struct dgram_bio *d = calloc(1, sizeof *d);
    BIO *bio = method && d ? BIO_new(method) : NULL;
    if (!bio) {
        free(d);
        return NULL;
    }
    *d = (struct dgram_bio){.send = send, .arg = arg, .mtu = mtu};
    BIO_set_data(bio, d);
    BIO_set_init(bio, 1);
    return bio;
}

void dtls_bio_put(BIO *bio, const uint8_t *dg, size_t len) {
    struct dgram_bio *d = BIO_get_data(bio);
    d->in = dg;
    d->in_len = len;
}
