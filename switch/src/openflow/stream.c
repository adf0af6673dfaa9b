#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

static int stream_ssl(struct stream *stream, SSL_CTX *tls, bool server) {
    stream->ssl = SSL_new(tls);
    if (!stream->ssl || !SSL_set_fd(stream->ssl, stream->fd)) {
        stream_close(stream);
        return -ENOMEM;
    }
    if (server)
        SSL_set_accept_state(stream->ssl);
    else
        SSL_set_connect_state(stream->ssl);
    return 0;
}

/* Small replies leave at once: a barrier's answer must not wait for the acknowledgement of what went before. */
static void stream_no_delay(int fd, sa_family_t family) {
    int on = 1;
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int stream_connect(struct stream *stream, const struct target *target, SSL_CTX *tls) {
    const struct sockaddr *address = (const struct sockaddr *) &target->address;
    *stream = (struct stream){.fd = -1};
    stream->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stream->fd < 0)
        return -errno;
    stream_no_delay(stream->fd, address->sa_family);
    if (connect(stream->fd, address, target->address_len) < 0 && errno != EINPROGRESS) {
        int error = -errno;
        stream_close(stream);
        return error;
    }
    return tls ? stream_ssl(stream, tls, false) : 0;
}

int stream_connect_result(const struct stream *stream) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return -errno;
    return -error;
}

int stream_listen(const struct target *target) {
    const struct sockaddr *address = (const struct sockaddr *) &target->address;
    int on = 1, fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (address->sa_family == AF_UNIX)
        unlink(((const struct sockaddr_un *) address)->sun_path); /* left behind by a process that was killed */
    else
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address, target->address_len) < 0 || listen(fd, 16) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static void peer_name(const struct sockaddr_storage *address, char *text, size_t size) {
    char host[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *) address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *) address;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(text, size, "[%s]:%u", host, ntohs(in->sin6_port));
    } else {
        snprintf(text, size, "unix");
    }
}

int stream_adopt(struct stream *stream, int fd, SSL_CTX *tls, char *peer, size_t peer_size) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    *stream = (struct stream){.fd = fd};
    getpeername(fd, (struct sockaddr *) &address, &len);
    stream_no_delay(fd, address.ss_family);
    peer_name(&address, peer, peer_size);
    return tls ? stream_ssl(stream, tls, true) : 0;
}

/* What a TLS call that moved nothing means. */
static ssize_t ssl_result(int error) {
    ERR_clear_error();
    switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SSL:
        return -EPROTO;
    default:
        return errno ? -errno : -ECONNRESET;
    }
}

static int clamp_int(size_t size) {
    return size > (1 << 30) ? 1 << 30 : (int) size;
}

ssize_t stream_read(struct stream *stream, void *data, size_t size) {
    if (stream->ssl) {
        int n = SSL_read(stream->ssl, data, clamp_int(size));
        return n > 0 ? n : ssl_result(SSL_get_error(stream->ssl, n));
    }
    ssize_t n = read(stream->fd, data, size);
    return n < 0 ? -errno : n;
}

ssize_t stream_write(struct stream *stream, const void *data, size_t size) {
    if (stream->ssl) {
        int n = SSL_write(stream->ssl, data, clamp_int(size));
        int error = SSL_get_error(stream->ssl, n);
        stream->write_wants_read = error == SSL_ERROR_WANT_READ;
        return n > 0 ? n : ssl_result(error);
    }
    ssize_t n = send(stream->fd, data, size, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

bool stream_has_more(const struct stream *stream) {
    return stream->ssl && SSL_has_pending(stream->ssl);
}

void stream_close(struct stream *stream) {
    if (stream->ssl) {
        SSL_shutdown(stream->ssl);
        SSL_free(stream->ssl);
        ERR_clear_error();
    }
    if (stream->fd >= 0)
        close(stream->fd);
    *stream = (struct stream){.fd = -1};
}

static const char *load_pem(SSL_CTX *tls, const char *private_key, const char *certificate, const char *ca) {
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1)
        return "the TLS certificate cannot be read: give a readable PEM file";
    if (SSL_CTX_use_PrivateKey_file(tls, private_key, SSL_FILETYPE_PEM) != 1)
        return "the TLS private key cannot be read, or is not the certificate's: give the PEM file that belongs to it";
    if (SSL_CTX_load_verify_locations(tls, ca, NULL) != 1)
        return "the TLS CA cannot be read: give the PEM file of the CA that signed the controller's certificate";
    return NULL;
}

SSL_CTX *stream_tls_context(const char *private_key, const char *certificate, const char *ca, const char **why) {
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    *why = tls ? load_pem(tls, private_key, certificate, ca) : "OpenSSL cannot be initialised";
    ERR_clear_error();
    if (*why) {
        SSL_CTX_free(tls);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
}
