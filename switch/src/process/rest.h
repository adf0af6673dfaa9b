/* How long a worker whose queues are empty may rest. Only arithmetic: times and counts come in, a length goes out.
 *
 * To rest costs CPU time too: to fall asleep and to wake takes tens of microseconds on a virtual machine, however short
 * the nap. So few long naps are better than many short ones, and the longest is bounded by what a ring holds:
 *   - half the ring at the port's peak rate, whatever comes;
 *   - three quarters of the ring at the rate of late, less what naps last longer than they should;
 *   - 1 us more than the last nap; after more than seven eighths of a ring, naps begin at 1 us again.
 * A worker blocks rather than naps after `patience_ns` without a packet, which halves when blocking paid and doubles when
 * packets came at once.
 *
 * Neighbours: worker.c naps and blocks. */
#ifndef QUAKE_PROCESS_REST_H
#define QUAKE_PROCESS_REST_H 1

#include <stdint.h>

struct rest_limits {
    uint64_t nap_ns; /* the longest that the peak rate allows */
    uint64_t ring;   /* packets that a queue holds while nobody polls */
};

struct rest {
    uint64_t nap_ns;      /* the last */
    uint64_t late_ns;     /* what a nap lasts longer than it should, but for one in a thousand */
    uint64_t patience_ns; /* without a packet, until the worker blocks */
    double rate;          /* packets/ns: the most of late, slowly forgotten */
    uint64_t since_ns;    /* when the window began in which packets are counted for `rate` */
    uint64_t packets;     /* in it */
};

void rest_init(struct rest *rest, uint64_t now_ns);
/* The queues are empty, after `packets` since they last were. Returns how long to nap; 0: not now. */
uint64_t rest_nap(struct rest *rest, const struct rest_limits *limits, uint64_t packets, uint64_t now_ns);
void rest_napped(struct rest *rest, uint64_t lasted_ns); /* the nap that rest_nap() gave */
void rest_blocked(struct rest *rest, uint64_t lasted_ns);

#endif
