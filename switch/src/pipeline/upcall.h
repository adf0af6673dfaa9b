/* Packet-ins on their way from workers to the control thread: one ring per worker, of one writer and one reader.
 *
 * A full ring drops: a controller that cannot keep up costs forwarding nothing. */
#ifndef QUAKE_PIPELINE_UPCALL_H
#define QUAKE_PIPELINE_UPCALL_H 1

#include <stdalign.h>

#include "dp.h"

#define UPCALL_RING 1024

struct upcall {
    struct dp_packet_in event; /* but for data and len */
    struct rte_mbuf *mbuf;
};
struct upcall_ring {
    alignas(64) uint32_t head; /* the worker's: next to fill */
    uint64_t dropped;
    alignas(64) uint32_t tail; /* the control thread's: next to drain */
    alignas(64) struct upcall entry[UPCALL_RING];
};

struct dp_worker;
/* Worker: takes the mbuf if it returns true. */
bool upcall_push(struct dp_worker *w, const struct dp_packet_in *event, struct rte_mbuf *mbuf);
void upcalls_drain(struct dp *dp);                /* control thread: calls events.packet_in for each */
void upcall_ring_empty(struct upcall_ring *ring); /* drops what is left */

#endif
