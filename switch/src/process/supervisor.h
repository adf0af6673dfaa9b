/* The supervisor: process 1 of the container, which does nothing but keep a worker process running.
 *
 * It holds the journal (a memory file), starts the worker, starts it again at once when it dies, reaps whatever else
 * falls to process 1, and passes SIGTERM and SIGINT on. A *spare* worker waits with the slow part of its start done
 * (DPDK's environment and packet buffers, some 200 ms), so that taking over is a matter of ports and rules alone. It is
 * small because it must never fail: no DPDK, no threads, no allocation.
 *
 * How a worker ends says what follows: exit status 0 ends the supervisor, too; QUAKE_EXIT_USAGE (a configuration that
 * cannot work) as well, if no worker has run well before; anything else is a crash. A journal that makes the worker
 * crash over and over is given up.
 *
 * Neighbours: main.c calls it with the worker's body; journal.h. */
#ifndef QUAKE_PROCESS_SUPERVISOR_H
#define QUAKE_PROCESS_SUPERVISOR_H 1

#include <stdbool.h>

#define QUAKE_EXIT_USAGE 2

/* A worker's life: `journal_fd` is the journal; `go_fd` becomes readable when it is this worker's turn, `starts` counts
 * the workers before it. Returns the exit status. */
typedef int worker_body(void *aux, int journal_fd, int go_fd);

/* Returns the exit status of the whole. */
int supervise(worker_body *body, void *aux);

/* In a worker: block until it is our turn. False if the supervisor is gone. */
bool supervisor_wait_turn(int go_fd);

#endif
