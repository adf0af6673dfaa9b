/* Clients of a stream socket that ask and are answered.
 *
 * What a client sends is gathered, and whoever made the set takes from that what is complete and answers. While an
 * answer waits to be taken no more is read. Of too many clients the one that was silent longest gives way.
 *
 * Neighbours: control.c and exporter.c have one set each; base/acceptor.h brings the clients. */
#ifndef QUAKE_PROCESS_CLIENTS_H
#define QUAKE_PROCESS_CLIENTS_H 1

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct clients;
struct loop;

struct clients_kind {
    const char *name; /* for the log */
    unsigned most;    /* clients at once */
    size_t longest;   /* bytes of a request; who sends more without its end is closed */
    bool once;        /* one answer, then the connection ends */
    void (*take)(void *aux, struct buf *in, struct buf *out);
};

/* Takes over `fd`, which listens; `kind` lives as long as the set. */
struct clients *clients_create(struct loop *loop, int fd, const struct clients_kind *kind, void *aux);
void clients_destroy(struct clients *clients);

#endif
