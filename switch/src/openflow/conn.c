#include "conn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "../base/log.h"
#include "lookup.h"

#define CONN_IN_SIZE ((size_t) 256 * 1024)
#define CONN_OUT_HIGH ((size_t) 8 * 1024 * 1024) /* a peer that leaves more unread is not read from */
#define CONN_OUT_LOW ((size_t) 256 * 1024)       /* a long reply goes on when no more of it waits */
#define READS_PER_ROUND 4                        /* then it is the others' turn */
#define CONNECT_TIMEOUT_MS 5000
#define HELLO_TIMEOUT_MS 5000
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 8000

static void conn_ready(void *aux, uint32_t events);
static void conn_timer(void *aux);

struct conn *conn_create(struct controller *controller, struct conn *main, uint8_t aux_id) {
    struct conn *conn = xzalloc(sizeof *conn);
    conn->of = controller->of;
    conn->controller = controller;
    conn->main = main ? main : conn;
    conn->aux_id = aux_id;
    conn->stream.fd = -1;
    conn->timer = loop_timer_add(conn->of->loop, UINT64_MAX, conn_timer, conn);
    LIST_INIT(&conn->bundles);
    LIST_INSERT_HEAD(&conn->of->conns, conn, link);
    return conn;
}

/* ---- The end of a stream ---- */

static void conn_drop_lookup(struct conn *conn) {
    if (!conn->lookup)
        return;
    loop_fd_remove(conn->lookup_fd);
    lookup_end(conn->lookup);
    conn->lookup = NULL;
}

static void conn_drop_stream(struct conn *conn) {
    conn_drop_lookup(conn);
    if (!conn->fd)
        return;
    loop_fd_remove(conn->fd);
    conn->fd = NULL;
    stream_close(&conn->stream);
    free(conn->in);
    conn->in = NULL;
    conn->in_len = 0;
    conn->reading_paused = false;
    conn->close_reason = NULL;
    buf_free(&conn->out);
    session_reset(conn);
}

void conn_destroy(struct conn *conn) {
    conn_drop_stream(conn);
    loop_timer_remove(conn->timer);
    LIST_REMOVE(conn, link);
    free(conn);
}

/* Full jitter on the upper half: switches that lost a controller together do not come back together. */
static void conn_back_off(struct conn *conn) {
    unsigned wait = conn->backoff_ms ? conn->backoff_ms : BACKOFF_MIN_MS;
    conn->backoff_ms = wait * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait * 2;
    conn->state = CONN_BACKOFF;
    wait = wait / 2 + (unsigned) rand_r(&conn->of->seed) % (wait / 2 + 1);
    loop_timer_set(conn->timer, loop_now_ms() + wait);
}

/* An auxiliary connection exists only beside its main one (section 6.3.6). */
static void conn_close_auxiliaries(struct conn *main) {
    struct conn *conn;
    LIST_FOREACH (conn, &main->of->conns, link) {
        if (conn->main != main || conn == main)
            continue;
        conn_drop_stream(conn);
        conn->state = CONN_BACKOFF;
        loop_timer_set(conn->timer, UINT64_MAX);
    }
}

/* The stream is over: an active connection tries again later, a passive one is gone. */
static void conn_close(struct conn *conn, const char *reason) {
    log_warning("controller %s: %s%s: %s", conn->controller->text, conn->aux_id ? "auxiliary connection" : "connection",
                conn->state == CONN_UP ? " lost" : " failed", reason);
    snprintf(conn->last_error, sizeof conn->last_error, "%s", reason);
    snprintf(conn->controller->last_error, sizeof conn->controller->last_error, "%s", reason);
    conn->attempt += conn->state != CONN_UP;
    if (conn->main == conn)
        conn_close_auxiliaries(conn);
    if (conn->controller->target.passive) {
        conn->controller->n_accepted--;
        conn_destroy(conn);
        return;
    }
    conn_drop_stream(conn);
    if (conn->main == conn || conn->main->state == CONN_UP)
        conn_back_off(conn);
}

/* ---- The beginning of one ---- */

static void conn_attach(struct conn *conn, enum conn_state state, uint32_t events) {
    conn->in = xmalloc(CONN_IN_SIZE);
    conn->fd = loop_fd_add(conn->of->loop, conn->stream.fd, events, conn_ready, conn);
    conn->watched = events;
    conn->state = state;
    session_reset(conn);
}

static void conn_greet(struct conn *conn) {
    conn->state = CONN_HELLO;
    conn->last_in_ms = loop_now_ms();
    loop_timer_set(conn->timer, conn->last_in_ms + HELLO_TIMEOUT_MS);
    send_hello(conn);
    conn_flush(conn);
}

/* To the address that is known now. */
static void conn_call(struct conn *conn) {
    int error = stream_connect(&conn->stream, &conn->at, conn->at.tls ? conn->of->tls : NULL);
    if (error)
        conn_close(conn, strerror(-error));
    else
        conn_attach(conn, CONN_CONNECTING, EPOLLOUT);
}

static void conn_name_known(void *aux, uint32_t events) {
    struct conn *conn = aux;
    (void) events;
    const char *why = lookup_result(conn->lookup, conn->attempt, &conn->at);
    conn_drop_lookup(conn);
    if (why)
        conn_close(conn, why);
    else
        conn_call(conn);
}

static void conn_look_up(struct conn *conn) {
    conn->lookup = lookup_start(&conn->controller->target);
    if (conn->lookup)
        conn->lookup_fd = loop_fd_add(conn->of->loop, lookup_fd(conn->lookup), EPOLLIN, conn_name_known, conn);
    else
        conn_close(conn, "the host's name cannot be looked up: no thread left");
}

void conn_start(struct conn *conn) {
    snprintf(conn->peer, sizeof conn->peer, "%.63s", conn->controller->text);
    conn->state = CONN_CONNECTING;
    loop_timer_set(conn->timer, loop_now_ms() + CONNECT_TIMEOUT_MS);
    conn->at = conn->main == conn ? conn->controller->target : conn->main->at;
    if (conn->at.address_len)
        conn_call(conn);
    else
        conn_look_up(conn);
}

void conn_adopt(struct conn *conn, const struct stream *stream, const char *peer) {
    conn->stream = *stream;
    snprintf(conn->peer, sizeof conn->peer, "%s", peer);
    conn_attach(conn, CONN_HELLO, EPOLLIN);
    conn_greet(conn);
}

void conn_established(struct conn *conn) {
    conn->state = CONN_UP;
    conn->backoff_ms = 0;
    conn->last_error[0] = '\0';
    loop_timer_set(conn->timer, loop_now_ms() + conn->of->idle_ms);
    log_info("controller %s: %s up (%s)", conn->controller->text, conn->aux_id ? "auxiliary connection" : "connection",
             conn->peer);
    struct conn *other;
    if (conn->main == conn)
        LIST_FOREACH (other, &conn->of->conns, link)
            if (other->main == conn && other != conn)
                loop_timer_set(other->timer, loop_now_ms());
}

/* ---- Time ---- */

static void conn_keep_alive(struct conn *conn) {
    uint64_t now = loop_now_ms(), silent = now - conn->last_in_ms;
    if (conn->reading_paused && now - conn->last_out_ms >= 2 * (uint64_t) conn->of->idle_ms) {
        conn_close(conn, "the peer does not take its answers");
    } else if (conn->reading_paused) { /* it is we who do not listen */
        loop_timer_set(conn->timer, now + conn->of->idle_ms);
    } else if (silent < conn->of->idle_ms) {
        conn->probing = false;
        loop_timer_set(conn->timer, conn->last_in_ms + conn->of->idle_ms);
    } else if (!conn->probing) {
        conn->probing = true;
        send_echo_request(conn);
        loop_timer_set(conn->timer, now + conn->of->idle_ms);
        conn_flush(conn);
    } else {
        conn_close(conn, "no answer to an echo request");
    }
}

static void conn_timer(void *aux) {
    struct conn *conn = aux;
    if (conn->state == CONN_BACKOFF)
        conn_start(conn);
    else if (conn->state == CONN_CONNECTING)
        conn_close(conn, "connecting took too long");
    else if (conn->state == CONN_HELLO)
        conn_close(conn, "no hello came");
    else
        conn_keep_alive(conn);
}

/* ---- Sending ---- */

size_t conn_message_begin(struct conn *conn, uint8_t type, be32 xid, size_t size) {
    size_t start = buf_len(&conn->out);
    message_begin(&conn->out, type, xid, size);
    conn->messages_out++;
    return start;
}

void conn_message_end(struct conn *conn, size_t start) {
    message_end(&conn->out, start);
}

static void conn_watch(struct conn *conn) {
    uint32_t events = conn->reading_paused ? 0 : EPOLLIN;
    if (buf_len(&conn->out) && !conn->stream.write_wants_read)
        events |= EPOLLOUT;
    if (events != conn->watched)
        loop_fd_events(conn->fd, events);
    conn->watched = events;
}

/* Sends what it can; what it cannot waits for the descriptor. */
void conn_flush(struct conn *conn) {
    while (conn->fd && buf_len(&conn->out)) {
        ssize_t n = stream_write(&conn->stream, buf_data(&conn->out), buf_len(&conn->out));
        if (n == -EAGAIN || n == -EINTR) {
            conn_watch(conn);
            return;
        }
        if (n <= 0) {
            conn->close_reason = n ? strerror((int) -n) : "the peer closed the connection";
            loop_timer_set(conn->of->work, loop_now_ms());
            return;
        }
        buf_pull(&conn->out, (size_t) n);
        conn->last_out_ms = loop_now_ms();
    }
}

/* ---- Receiving ---- */

/* Handles the complete messages among the bytes that were read; stops when too many answers wait to be taken. */
static void conn_handle_input(struct conn *conn) {
    size_t at = 0;
    while (!conn->close_reason && conn->in_len - at >= sizeof(struct ofp_header)) {
        const struct ofp_header *message = (const struct ofp_header *) (conn->in + at);
        size_t len = be16toh(message->length);
        if (len >= sizeof *message && len > conn->in_len - at)
            break;
        conn->messages_in++;
        dispatch(conn, message, len);
        at += len;
        if (buf_len(&conn->out) > CONN_OUT_HIGH)
            conn_flush(conn);
        conn->reading_paused = conn->series || buf_len(&conn->out) > CONN_OUT_HIGH;
        if (conn->reading_paused)
            break;
    }
    of_txn_end(conn->of);
    conn->in_len -= at < conn->in_len ? at : conn->in_len;
    memmove(conn->in, conn->in + at, conn->in_len);
}

/* Reads once and handles it; false when there is no more to read now. */
static bool conn_read_once(struct conn *conn) {
    ssize_t n = stream_read(&conn->stream, conn->in + conn->in_len, CONN_IN_SIZE - conn->in_len);
    if (n == -EAGAIN || n == -EINTR)
        return false;
    if (n <= 0) {
        conn->close_reason = n == -EPROTO
                                 ? "TLS: the handshake or a record is bad: check certificates and CA on both sides"
                             : n ? strerror((int) -n)
                                 : "the peer closed the connection";
        return false;
    }
    conn->in_len += (size_t) n;
    conn->last_in_ms = loop_now_ms();
    bool filled = conn->in_len == CONN_IN_SIZE;
    conn_handle_input(conn);
    return filled || conn->stream.ssl;
}

static void conn_read(struct conn *conn) {
    bool more = true;
    for (int i = 0; more && i < READS_PER_ROUND && !conn->close_reason && !conn->reading_paused; i++)
        more = conn_read_once(conn);
    if (stream_has_more(&conn->stream))
        loop_timer_set(conn->of->work, loop_now_ms());
}

/* A long reply is made as its beginning is taken; in between it is the others' turn. */
static void conn_go_on(struct conn *conn) {
    if (conn->close_reason || !conn->series || buf_len(&conn->out) > CONN_OUT_LOW)
        return;
    series_continue(conn);
    conn_flush(conn);
}

static void conn_finish_round(struct conn *conn) {
    conn_flush(conn);
    conn_go_on(conn);
    if (conn->close_reason) {
        conn_close(conn, conn->close_reason);
        return;
    }
    if (conn->reading_paused && !conn->series && !buf_len(&conn->out)) {
        conn->reading_paused = false;
        conn_handle_input(conn);
        conn_flush(conn);
    }
    if (conn->series && buf_len(&conn->out) <= CONN_OUT_LOW)
        loop_timer_set(conn->of->work, loop_now_ms());
    conn_watch(conn);
}

static void conn_ready(void *aux, uint32_t events) {
    struct conn *conn = aux;
    if (conn->state == CONN_CONNECTING) {
        int error = stream_connect_result(&conn->stream);
        if (error) {
            conn_close(conn, strerror(-error));
            return;
        }
        conn_greet(conn);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !conn->reading_paused)
        conn_read(conn);
    conn_finish_round(conn);
}

void conn_work(struct of *of) {
    struct conn *conn = LIST_FIRST(&of->conns);
    while (conn) {
        struct conn *next = LIST_NEXT(conn, link);
        if (conn->fd && conn->state >= CONN_HELLO) {
            if (!conn->reading_paused && stream_has_more(&conn->stream))
                conn_read(conn);
            conn_finish_round(conn);
        }
        conn = next;
    }
}
