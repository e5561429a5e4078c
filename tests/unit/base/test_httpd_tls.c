/* SPDX-License-Identifier: Apache-2.0 */
/* The server's certificate: reading it, and another one in its place. */
#include "tests/unit/base/httpd_fixture.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static char folder[64];

static const char *path(const char *name) {
    static char paths[4][160];
    static unsigned next;
    char *out = paths[next++ % 4];
    snprintf(out, sizeof paths[0], "%s/%s", folder, name);
    return out;
}

static FILE *create(const char *name) {
    FILE *f = fopen(path(name), "w");
    assert_non_null(f);
    return f;
}

/* NAME.pem and NAME.key, self-signed, with the common name `name`. */
static void make_certificate(const char *name, EVP_PKEY *key) {
    char file[80];
    X509 *x = X509_new();
    assert_non_null(key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    snprintf(file, sizeof file, "%s.pem", name);
    FILE *f = create(file);
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    snprintf(file, sizeof file, "%s.key", name);
    f = create(file);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static struct world *tls_world(void) {
    struct world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    assert_non_null(w);
    w->fd = -1;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    struct httpd_config cfg = {.loop = &w->loop,
                               .listen = "127.0.0.1:0",
                               .certificate_file = path("first.pem"),
                               .key_file = path("first.key"),
                               .body_max_bytes = BODY_MAX,
                               .message_max_bytes = MESSAGE_MAX,
                               .queue_max_bytes = QUEUE_MAX,
                               .request = on_request,
                               .refused = on_refused,
                               .ws_path = "/v1/attach",
                               .ws_protocol = SUBPROTOCOL,
                               .ws = {on_open, on_text, on_binary, on_closed},
                               .arg = w};
    if (httpd_start(&w->httpd, &cfg, &et) != 0)
        fail_msg("%s", et.s);
    return w;
}

/* A client whose handshake is done. */
struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static void turn(struct world *w) {
    uv_run(&w->loop, UV_RUN_NOWAIT);
    usleep(200);
}

static struct client connected(struct world *w, int version) {
    struct client c = {.ctx = SSL_CTX_new(TLS_client_method())};
    uint64_t until = clock_mono_ms() + WAIT_MS;
    int done;
    SSL_CTX_set_max_proto_version(c.ctx, version);
    c.ssl = SSL_new(c.ctx);
    dial(w);
    c.fd = w->fd;
    w->fd = -1;
    assert_int_equal(fcntl(c.fd, F_SETFL, O_NONBLOCK), 0);
    SSL_set_fd(c.ssl, c.fd);
    while ((done = SSL_connect(c.ssl)) != 1 && clock_mono_ms() < until)
        turn(w);
    assert_int_equal(done, 1);
    return c;
}

static void assert_name(const struct client *c, const char *want) {
    char name[64] = "";
    X509 *x = SSL_get1_peer_certificate(c->ssl);
    assert_non_null(x);
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name, sizeof name);
    X509_free(x);
    assert_string_equal(name, want);
}

static void assert_served(struct world *w, const struct client *c) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    char reply[1024] = "";
    uint64_t until = clock_mono_ms() + WAIT_MS;
    int n = -1;
    assert_int_equal(SSL_write(c->ssl, request, sizeof request - 1), sizeof request - 1);
    while (n <= 0 && clock_mono_ms() < until) {
        turn(w);
        n = SSL_read(c->ssl, reply, sizeof reply - 1);
    }
    assert_true(n > 0);
    assert_int_equal(strncmp(reply, "HTTP/1.1 200", 12), 0);
}

static void hang_up(struct client *c) {
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
}

static bool use(struct world *w, const char *certificate, const char *key) {
    struct httpd_certificate *c;
    struct err_text et = {""};
    if (httpd_certificate_read(&c, path(certificate), path(key), &et) != 0)
        fail_msg("%s", et.s);
    return httpd_certificate_use(w->httpd, c);
}

static void new_connections_get_the_new_certificate_and_open_ones_stay(void **state) {
    struct world *w = tls_world();
    (void)state;
    struct client open = connected(w, TLS1_3_VERSION);
    assert_name(&open, "first");
    assert_false(use(w, "first.pem", "first.key"));
    assert_true(use(w, "second.pem", "second.key"));
    struct client next = connected(w, TLS1_3_VERSION);
    assert_name(&next, "second");
    assert_served(w, &next);
    assert_served(w, &open);
    hang_up(&next);
    hang_up(&open);
    world_free(w);
}

/* A server that had both would go on with the EC one. */
static void a_certificate_of_another_kind_takes_the_place_of_the_one_before(void **state) {
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct world *w = tls_world();
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        use(w, "rsa.pem", "rsa.key");
        struct client c = connected(w, versions[i]);
        assert_name(&c, "rsa");
        assert_served(w, &c);
        hang_up(&c);
        use(w, "first.pem", "first.key");
        c = connected(w, versions[i]);
        assert_name(&c, "first");
        hang_up(&c);
    }
    world_free(w);
}

static void assert_refused(const char *certificate, const char *key, int err, const char *sentence) {
    struct httpd_certificate *c = (struct httpd_certificate *)(void *)folder;
    struct err_text et = {""};
    assert_int_equal(httpd_certificate_read(&c, path(certificate), path(key), &et), err);
    assert_null(c);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" does not say \"%s\"", et.s, sentence);
}

static void what_cannot_be_used_is_refused_with_the_file_that_is_at_fault(void **state) {
    (void)state;
    assert_refused("none.pem", "first.key", E_IO, "/none.pem: No such file");
    assert_refused("first.pem", "none.key", E_IO, "/none.key: No such file");
    assert_refused("first.key", "first.key", E_CRYPTO, "/first.key: holds no certificate");
    assert_refused("first.pem", "first.pem", E_CRYPTO, "/first.pem: holds no private key");
    assert_refused("first.pem", "locked.key", E_CRYPTO,
                   "/locked.key: holds no private key in PEM, without a passphrase");
    assert_refused("first.pem", "second.key", E_CRYPTO, "/second.key: not the key of the certificate in");
    assert_refused("first.pem", "rsa.key", E_CRYPTO, "/rsa.key: not the key of the certificate in");
}

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/wakegate-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    make_certificate("first", EVP_EC_gen("P-256"));
    make_certificate("second", EVP_EC_gen("P-256"));
    make_certificate("rsa", EVP_RSA_gen(2048));
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = create("locked.key");
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
    fclose(f);
    EVP_PKEY_free(key);
    return 0;
}

static int teardown(void **state) {
    static const char *const names[] = {"first.pem", "first.key", "second.pem", "second.key",
                                        "rsa.pem",   "rsa.key",   "locked.key"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path(names[i]));
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_connections_get_the_new_certificate_and_open_ones_stay),
        cmocka_unit_test(a_certificate_of_another_kind_takes_the_place_of_the_one_before),
        cmocka_unit_test(what_cannot_be_used_is_refused_with_the_file_that_is_at_fault),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
