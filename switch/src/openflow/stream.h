/* A byte stream to a controller: TCP, TLS over TCP, or a unix socket; connecting, listening, never blocking.
 *
 * Errors are negative errno values; -EAGAIN means: when the descriptor is ready. A TLS stream shakes hands inside its
 * first reads and writes, so after any readiness both are worth a try. Neighbour: conn.c is the user. */
#ifndef QUAKE_OPENFLOW_STREAM_H
#define QUAKE_OPENFLOW_STREAM_H 1

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Where a controller is, or where one may come: `tcp:HOST:PORT`, `ptcp:PORT[:HOST]`, and so on (of.h). */
struct target {
    bool passive, tls;
    unsigned aux; /* auxiliary connections: `,aux=N` behind an active target */
    struct sockaddr_storage address;
    socklen_t address_len; /* 0: `host` is a name that has to be resolved */
    char host[256], port[8];
};

/* NULL, or what is wrong with `text`, as a sentence. */
const char *target_parse(const char *text, struct target *target);

struct stream {
    int fd;                /* -1: closed */
    SSL *ssl;              /* NULL: plain */
    bool write_wants_read; /* TLS: the last write waits for bytes from the peer, not for room */
};

/* An active stream may still be connecting when this returns 0; it is writable once it is connected or has failed. */
int stream_connect(struct stream *stream, const struct target *target, SSL_CTX *tls);
int stream_connect_result(const struct stream *stream); /* once writable: 0 or why it failed */
int stream_listen(const struct target *target);         /* a listening descriptor */
/* Takes over `fd`, which came to a listener; `peer` is to hold the name of who that is. */
int stream_adopt(struct stream *stream, int fd, SSL_CTX *tls, char *peer, size_t peer_size);

ssize_t stream_read(struct stream *stream, void *data, size_t size); /* 0: the peer has closed */
ssize_t stream_write(struct stream *stream, const void *data, size_t size);
bool stream_has_more(const struct stream *stream); /* bytes wait in the TLS layer, where no poll sees them */
void stream_close(struct stream *stream);

/* A context for both sides: our key and certificate, and the CA that the peer's must come from. NULL: `*why` says why.
 */
SSL_CTX *stream_tls_context(const char *private_key, const char *certificate, const char *ca, const char **why);

#endif
