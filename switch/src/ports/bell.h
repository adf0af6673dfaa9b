/* Wake-ups by an eventfd that a stranger holds, too.
 *
 * Its flags and its counter are the stranger's as much as ours: O_NONBLOCK can be taken back, and the counter filled or
 * emptied, at any moment. So a write or a read may block, whatever was looked up before. Here it is rung by the kernel,
 * as the notice of an asynchronous request that is done at once, which never waits; and what rings us is watched
 * edge-triggered, so nobody needs to read it.
 *
 * Neighbours: memif.c opens, memif_ring.c rings and is rung. */
#ifndef QUAKE_PORTS_BELL_H
#define QUAKE_PORTS_BELL_H 1

#include <stdbool.h>

#include <linux/aio_abi.h>

struct bell {
    aio_context_t requests;
    int ready; /* always readable */
};

bool bell_open(struct bell *bell); /* false: errno says why */
void bell_close(struct bell *bell);
/* Any thread: add one to the counter of `event_fd`, or leave it as it is if it is full. */
void bell_ring(const struct bell *bell, int event_fd);

/* Whether `fd` is an eventfd: of any other file, the owner may make even a look block. */
bool bell_is_eventfd(int fd);
/* A descriptor that is readable when `event_fd` was rung since bell_heard(); -1: errno says why. */
int bell_watch(int event_fd);
void bell_heard(int watch);

#endif
