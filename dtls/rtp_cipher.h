/* SPDX-License-Identifier: Apache-2.0 */
/* AES-CM, AES-GCM and HMAC-SHA1 on OpenSSL for libsrtp, in place of those it was built with (Debian's: NSS, several
 * times slower). The library's parsing, replay windows, roll-over counters and SRTCP stay as they are. A context is
 * made with its key and kept; a packet sets its IV and allocates nothing. Thread: as the SRTP session that a context
 * belongs to.
 */
#ifndef DTLS_RTP_CIPHER_H
#define DTLS_RTP_CIPHER_H

#include "base/err.h"

/* Plug them in, after srtp_init and before the first session. Each is checked first: by vectors of RFC 3711, 6188, 7714
 * and 2202, and by the library against its own. Returns 0, or E_CRYPTO with a sentence that names the cipher; what is
 * plugged in then does no harm, and srtp_shutdown forgets it. Thread: main. */
int rtp_cipher_plug(struct err_text *et);

#endif
