/* A listening descriptor in the event loop: it hands over each connection that comes. While the process or the machine
 * has no descriptor left for one, it does not ask again and again: it rests for a moment, and says so once.
 *
 * Neighbours: process/clients.c and openflow/of.c listen by it. */
#ifndef QUAKE_BASE_ACCEPTOR_H
#define QUAKE_BASE_ACCEPTOR_H 1

struct acceptor;
struct loop;

/* Takes over `fd`, which does not block. `came` owns the descriptor it is given, which does not block either. `name`
 * is for the log. */
struct acceptor *acceptor_create(struct loop *loop, int fd, const char *name, void (*came)(void *aux, int fd),
                                 void *aux);
void acceptor_destroy(struct acceptor *acceptor);

#endif
