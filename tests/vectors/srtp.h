/* SPDX-License-Identifier: Apache-2.0 */
/* SRTP test vectors, as hex. */
#ifndef VECTORS_SRTP_H
#define VECTORS_SRTP_H

/* RFC 3711 B.3: AES-CM key derivation, labels 0, 1 and 2. */
#define RFC3711_MASTER_KEY  "e1f97a0d3e018be0d64fa32c06de4139"
#define RFC3711_MASTER_SALT "0ec675ad498afeebb6960b3aabe6"
#define RFC3711_CIPHER_KEY  "c61e7a93744f39ee10734afe3ff7a087"
#define RFC3711_AUTH_KEY    "cebe321f6ff7716b6fd4ab49af256a156d38baa4"
#define RFC3711_SALT        "30cbbc08863d8c85d49db34a9ae1"

/* RFC 3711 B.2: AES-CM keystream. */
#define RFC3711_STREAM_KEY  "2b7e151628aed2a6abf7158809cf4f3c"
#define RFC3711_STREAM_SALT "f0f1f2f3f4f5f6f7f8f9fafbfcfd"
#define RFC3711_STREAM      "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab"

/* RFC 7714 16.1.1 and 16.2.1: AEAD_AES_128_GCM and AEAD_AES_256_GCM on one RTP packet. Key and salt are session keys,
 * the results of a key derivation. */
#define RFC7714_KEY_128 "000102030405060708090a0b0c0d0e0f"
#define RFC7714_KEY_256 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define RFC7714_SALT    "517569642070726f2071756f"
#define RFC7714_HEADER  "8040f17b8041f8d35501a0b2"
#define RFC7714_PAYLOAD "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
#define RFC7714_SEALED_128                                                                                             \
    "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce"
#define RFC7714_SEALED_256                                                                                             \
    "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13"

/* libsrtp's test/srtp_driver.c, srtp_validate() and srtp_validate_gcm(): whole packets under a master key. */
#define LIBSRTP_RTP       "800f1234decafbadcafebabeabababababababababababababababab"
#define LIBSRTP_RTCP      "81c8000bcafebabeabababababababababababababababab"
#define LIBSRTP_CM_KEY    RFC3711_MASTER_KEY RFC3711_MASTER_SALT
#define LIBSRTP_CM_SRTP   "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"
#define LIBSRTP_CM_SRTCP  "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"
#define LIBSRTP_GCM_KEY   "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab"
#define LIBSRTP_GCM_SRTP  "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392"
#define LIBSRTP_GCM_SRTCP "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001"

#endif
