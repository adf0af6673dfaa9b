/* What the kernel leaves to hardware among its own devices, done here, for no hardware follows: completing checksums,
 * and cutting frames that are larger than any wire carries (TCP and UDP segmentation) into those it stands for.
 *
 * Neighbours: kernel.c reads the frames. The header that tells what is left to do is virtio-net's. */
#ifndef QUAKE_PORTS_OFFLOAD_H
#define QUAKE_PORTS_OFFLOAD_H 1

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;
struct virtio_net_hdr;

/* Complete the checksum that `header` says is left to do. False if the packet is too short to have it. */
bool offload_checksum(struct rte_mbuf *packet, const struct virtio_net_hdr *header);

/* A frame of which packets are made, one by one. */
struct cut {
    const uint8_t *frame;
    uint32_t length, at; /* `at`: where the payload of the next packet begins; the length when none is left */
    uint32_t l3, l4;     /* l4 0: it is not cut up, but only longer than one buffer */
    uint32_t headers;    /* bytes that every packet begins with */
    uint32_t size;       /* payload of each packet but the last */
    uint16_t identifier; /* of the next packet, less the frame's (IPv4) */
    uint8_t proto;
};

/* Begin to make packets of a frame, which stays where it is until the last was made. False if it is damaged, or of a
 * kind that is not cut up here (inside of a tunnel). */
bool cut_begin(struct cut *cut, const uint8_t *frame, uint32_t length, const struct virtio_net_hdr *header);

/* The next packet, with its checksums where it was cut; NULL without memory: then the rest is given up. */
struct rte_mbuf *cut_next(struct cut *cut, struct rte_mempool *pool);

static inline bool cut_done(const struct cut *cut) {
    return cut->at == cut->length;
}

#endif
