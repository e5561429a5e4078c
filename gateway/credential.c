/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/credential.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/secret.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define CA_FILE_MAX_BYTES (4U << 20)

enum { LOGIN, LOGIN_PASSWORD, PROXY_PASSWORD };

static const char *given(const char *s) {
    return s[0] ? s : NULL;
}

static int read_file(struct credential_file *f, const char *file, struct err_text *et) {
    return file[0] ? secret_file_read(&f->p, &f->len, file, et) : 0;
}

/* A password is a line: the editor's end of it is not part of it. */
static int read_password(struct credential_file *f, const char *file, const char **password, struct err_text *et) {
    int err = read_file(f, file, et);
    if (f->p)
        f->p[strcspn(f->p, "\r\n")] = 0;
    *password = f->p;
    return err;
}

int credential_read(struct credential *c, const struct config_apns *apns, const char *name, struct err_text *et) {
    bool certificate = apns->certificate_file[0] != 0;
    struct credential_file *login = &c->files[LOGIN];
    *c = (struct credential){.apns = {.name = name,
                                      .host = apns->host,
                                      .port = (uint16_t)apns->port,
                                      .ca_file = given(apns->ca_file),
                                      .team_id = given(apns->team_id),
                                      .key_id = given(apns->key_id),
                                      .proxy = given(apns->proxy),
                                      .proxy_user = given(apns->proxy_user),
                                      .ring_connections = apns->ring_connections,
                                      .hedge_ms = *apns->hedge_ms ? *apns->hedge_ms : APNS_HEDGE_OFF,
                                      .open_probe = true,
                                      .expiry_alarm_days = apns->expiry_alarm_days}};
    int err = read_file(login, certificate ? apns->certificate_file : apns->key_file, et);
    c->apns.certificate = certificate ? login->p : NULL;
    c->apns.certificate_len = certificate ? login->len : 0;
    c->apns.key_pem = certificate ? NULL : login->p;
    c->apns.key_pem_len = certificate ? 0 : login->len;
    if (err == 0)
        err = read_password(&c->files[LOGIN_PASSWORD], apns->certificate_password_file, &c->apns.certificate_password,
                            et);
    if (err == 0)
        err = read_password(&c->files[PROXY_PASSWORD], apns->proxy_password_file, &c->apns.proxy_password, et);
    return err;
}

static void add_field(struct buf *b, const char *p, size_t len) {
    buf_addf(b, "%zu:", p ? len + 1 : 0);
    buf_add(b, p ? p : "", p ? len : 0);
}

/* What cannot be read is said when the credential is checked. */
static void add_plain_file(struct buf *b, const char *file) {
    char chunk[4096];
    size_t n;
    FILE *f = file ? fopen(file, "re") : NULL;
    for (size_t total = 0; f && total < CA_FILE_MAX_BYTES && (n = fread(chunk, 1, sizeof chunk, f)) > 0; total += n)
        buf_add(b, chunk, n);
    if (f)
        fclose(f);
}

void credential_print(uint8_t out[static CREDENTIAL_PRINT_BYTES], const struct credential *c) {
    const struct apns_credential_config *a = &c->apns;
    const char *texts[] = {a->host, a->ca_file, a->team_id, a->key_id, a->proxy, a->proxy_user};
    struct buf all = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add_field(&all, texts[i], texts[i] ? strlen(texts[i]) : 0);
    for (size_t i = 0; i < CREDENTIAL_FILES; i++)
        add_field(&all, c->files[i].p, c->files[i].len);
    buf_addf(&all, "%u,%u,%u,%u,%d;", a->port, a->ring_connections, a->hedge_ms, a->expiry_alarm_days,
             a->certificate != NULL);
    add_plain_file(&all, a->ca_file);
    if (all.oom || EVP_Digest(all.p, all.len, out, NULL, EVP_sha256(), NULL) != 1)
        random_bytes(out, CREDENTIAL_PRINT_BYTES); /* like no other: then it is renewed */
    buf_wipe(&all);
}

void credential_wipe(struct credential *c) {
    for (int i = 0; i < CREDENTIAL_FILES; i++)
        c->files[i].p = secret_free(c->files[i].p, c->files[i].len);
}
