/* Connections to controllers, and what the parts of openflow/ share; of.h is the face to the rest.
 *
 * A `controller` is a configured target. An active one has a main connection and perhaps auxiliary ones, which live as
 * long as it does and reconnect; a passive one has as many connections as peers came, each of which ends with its
 * stream.
 *
 *      conn.c       bytes: connecting, keep-alive, reading messages in place, sending       (stream.h and lookup.h
 * below) dispatch.c   messages: which handler, who may send what, errors as answers session.c modify.c bundle.c
 * multipart.c stats_*.c    handlers events.c     what the switch says of its own accord restore.c    replay and dump
 *
 * Messages are handled where they were read, without copies. Answers gather in `out` and leave with one write when the
 * bytes that were read are used up. Plain changes that follow each other share one datapath transaction (of_txn()). */
#ifndef QUAKE_OPENFLOW_CONN_H
#define QUAKE_OPENFLOW_CONN_H 1

#include <sys/queue.h>

#include "../base/buf.h"
#include "../base/loop.h"
#include "mods.h"
#include "of.h"
#include "stream.h"
#include "wire.h"

enum conn_state { CONN_BACKOFF, CONN_CONNECTING, CONN_HELLO, CONN_UP };

struct acceptor;
struct bundle;
struct lookup;
struct series;
LIST_HEAD(bundle_list, bundle);
LIST_HEAD(conn_list, conn);

/* A multipart request that comes in several messages. */
struct multipart_assembly {
    bool open;
    be32 xid;
    uint16_t type;
    struct buf body;
};

struct conn {
    LIST_ENTRY(conn) link;
    struct of *of;
    struct controller *controller;
    struct conn *main; /* itself, or the main connection of an auxiliary one */
    uint8_t aux_id;

    enum conn_state state;
    struct stream stream;
    struct loop_fd *fd;    /* NULL: no stream */
    uint32_t watched;      /* epoll's events for `fd` */
    struct lookup *lookup; /* of the target's name, before there is a stream */
    struct loop_fd *lookup_fd;
    struct target at;         /* active: where it goes; its auxiliary connections go there too */
    unsigned attempt;         /* failures so far: a name's addresses are tried in turn */
    struct loop_timer *timer; /* backoff, connecting and keep-alive: one at a time */
    const char *close_reason; /* not NULL: to be closed when the message at hand is done */
    unsigned backoff_ms;
    uint64_t last_in_ms, last_out_ms; /* when bytes last came, and last left */
    bool probing;                     /* an echo request is under way */
    bool reading_paused;              /* the peer does not take its answers */

    uint8_t *in; /* CONN_IN_SIZE bytes while there is a stream */
    size_t in_len;
    struct buf out;

    /* What OpenFlow keeps for a channel; roles and masks are those of `main`. */
    uint32_t role;                                                         /* OFPCR_ROLE_* */
    uint32_t packet_in_mask[2], port_status_mask[2], flow_removed_mask[2]; /* [0] master and equal, [1] slave */
    uint16_t miss_send_len;
    struct multipart_assembly multipart;
    struct series *series; /* a reply that is not whole yet; until then no more is read */
    struct bundle_list bundles;
    unsigned n_bundles;

    char peer[64];
    char last_error[160];
    uint64_t messages_in, messages_out;
    unsigned errors_heard;
};

struct controller {
    LIST_ENTRY(controller) link;
    struct of *of;
    char *text;
    struct target target;
    struct acceptor *acceptor; /* passive, and it could listen */
    unsigned n_accepted; /* connections that came and are still there */
    char last_error[160];
};

struct of {
    struct loop *loop;
    struct dp *dp;
    struct of_description description;
    struct of_hooks hooks;
    SSL_CTX *tls;
    LIST_HEAD(, controller) controllers;
    struct conn_list conns;
    struct mod_space *space;
    struct mod mod;          /* the one at hand */
    struct dp_txn *txn;      /* plain, shared by consecutive changes; NULL: none open */
    struct loop_timer *work; /* at once, in the next round of the loop: sends what events left, reads on */
    bool generation_defined;
    uint64_t generation_id;
    unsigned seed;        /* of the jitter */
    unsigned idle_ms;     /* silence after which we ask for an echo, and after which again we give up */
    char error_text[256]; /* what of_controller_add() and others return */
};

/* ---- conn.c ---- */
struct conn *conn_create(struct controller *controller, struct conn *main, uint8_t aux_id);
void conn_destroy(struct conn *conn);
void conn_start(struct conn *conn);                                                /* active: connect */
void conn_adopt(struct conn *conn, const struct stream *stream, const char *peer); /* passive: it came */
void conn_flush(struct conn *conn);
void conn_work(struct of *of);            /* the work timer */
void conn_established(struct conn *conn); /* versions are agreed */

/* A message of `size` bytes (zeroes but for the header) at the end of what is to be sent; its start in the content. */
size_t conn_message_begin(struct conn *conn, uint8_t type, be32 xid, size_t size);
void conn_message_end(struct conn *conn, size_t start);
static inline void *conn_at(struct conn *conn, size_t start) {
    return buf_data(&conn->out) + start;
}

/* ---- dispatch.c ---- */
void dispatch(struct conn *conn, const struct ofp_header *message, size_t len);
void send_error(struct conn *conn, const struct ofp_header *request, size_t len, ofperr error);

/* ---- session.c ---- */
void session_reset(struct conn *conn); /* a new stream: defaults of sections 6.3 and 7.3.10 */
void send_hello(struct conn *conn);
void send_echo_request(struct conn *conn);
static inline bool conn_is_slave(const struct conn *conn) {
    return conn->main->role == OFPCR_ROLE_SLAVE;
}

/* A handler answers, or returns the error to answer with. `len` is at least what dispatch.c says for its type. */
typedef ofperr handler(struct conn *conn, const struct ofp_header *message, size_t len);
handler handle_hello, handle_error, handle_echo_request, handle_echo_reply, handle_experimenter,
    handle_features_request, handle_get_config_request, handle_set_config, handle_packet_out, handle_change,
    handle_multipart_request, handle_barrier_request, handle_queue_get_config_request, handle_role_request,
    handle_get_async_request, handle_set_async;

/* ---- modify.c ---- */
struct dp_txn *of_txn(struct of *of);
void of_txn_end(struct of *of);
struct packet_out {
    uint32_t in_port;
    const struct action *actions;
    unsigned n_actions;
    const uint8_t *data;
    size_t len;
};
ofperr packet_out_decode(struct of *of, const struct ofp_header *message, size_t len, struct packet_out *out);
void packet_out_send(struct of *of, const struct packet_out *out);
void of_accepted(struct of *of, const struct ofp_header *message, size_t len);

/* ---- events.c ---- */
/* What messages tell of a rule's counts: all ones is what is not counted (sections 5.8 and 7.3.4.1). */
struct dp_counter flow_counter(const struct dp_flow *flow, uint16_t flags);

/* ---- multipart.c ---- */
void series_continue(struct conn *conn); /* some more of the reply */
void series_end(struct conn *conn);

/* ---- bundle.c ---- */
handler handle_bundle_control, handle_bundle_add;
void bundles_discard(struct conn *conn);

#endif
