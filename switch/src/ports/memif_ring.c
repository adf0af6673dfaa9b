/* memif: packets in and out of shared memory that a client may scribble on at any time; see memif.h. */
#include "memif.h"

#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>
#include <rte_memcpy.h>

static struct memif_connection *connection_of(struct port *port) {
    return atomic_load_explicit(&((struct memif *) port)->connection, memory_order_acquire);
}

/* The memory that `d` (a private copy) names, or NULL. */
static inline uint8_t *buffer(const struct memif_connection *connection, const struct memif_descriptor *d) {
    if (unlikely(d->region >= MEMIF_MAX_REGIONS))
        return NULL;
    const struct memif_region *region = &connection->regions[d->region];
    if (unlikely(!region->base || (uint64_t) d->offset + d->length > region->size))
        return NULL;
    return region->base + d->offset;
}

static inline struct memif_descriptor descriptor_read(const struct memif_ring *ring, uint16_t position) {
    const struct memif_descriptor *d = &ring->shared->descriptors[position & (ring->size - 1)];
    struct memif_descriptor copy = *(const volatile struct memif_descriptor *) d;
    return copy;
}

/* Append `n` bytes to a packet, in further segments where the last one is full. */
static bool append(struct rte_mbuf *packet, const uint8_t *bytes, uint32_t n) {
    while (n) {
        struct rte_mbuf *last = rte_pktmbuf_lastseg(packet);
        uint32_t part = RTE_MIN(n, (uint32_t) rte_pktmbuf_tailroom(last));
        if (unlikely(!part)) {
            struct rte_mbuf *more = rte_pktmbuf_alloc(packet->pool);
            if (!more || rte_pktmbuf_chain(packet, more)) {
                rte_pktmbuf_free(more);
                return false;
            }
            more->data_off = 0; /* no header will be pushed in front of a later segment */
            continue;
        }
        rte_memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), bytes, part);
        last->data_len = (uint16_t) (last->data_len + part);
        packet->pkt_len += part;
        bytes += part;
        n -= part;
    }
    return true;
}

/* Copy the frame that begins at `position` into `packet`. Returns how many descriptors it takes, 0 if it is not all
 * there yet; *good tells whether the packet is whole. */
static inline uint16_t receive_one(struct memif_connection *connection, const struct memif_ring *ring,
                                   uint16_t position, uint16_t available, struct rte_mbuf *packet, bool *good) {
    *good = true;
    for (uint16_t used = 0; used < available;) {
        struct memif_descriptor d = descriptor_read(ring, (uint16_t) (position + used++));
        const uint8_t *bytes = buffer(connection, &d);
        if (unlikely(!bytes || d.length > UINT16_MAX - packet->pkt_len || !append(packet, bytes, d.length)))
            *good = false;
        if (likely(!(d.flags & MEMIF_DESCRIPTOR_NEXT))) {
            *good = *good && packet->pkt_len;
            return used;
        }
    }
    return 0;
}

unsigned memif_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    struct memif_connection *connection = connection_of(port);
    if (!connection || queue >= connection->n_rx)
        return 0;
    struct memif_ring *ring = &connection->rx[queue];
    uint16_t available = (uint16_t) (atomic_load_explicit(&ring->shared->head, memory_order_acquire) - ring->next);
    if (!available || unlikely(available > ring->size))
        return 0;
    n = RTE_MIN(n, (unsigned) available);
    if (unlikely(rte_pktmbuf_alloc_bulk(port->host->pool, packets, n)))
        return 0;

    unsigned got = 0;
    uint16_t position = ring->next, end = (uint16_t) (position + available);
    while (got < n && position != end) {
        bool good;
        uint16_t used = receive_one(connection, ring, position, (uint16_t) (end - position), packets[got], &good);
        if (unlikely(!used)) {
            rte_pktmbuf_free(packets[got]); /* with the segments that it has so far */
            packets[got] = packets[--n];
            break;
        }
        position = (uint16_t) (position + used);
        if (likely(good)) {
            got++;
        } else {
            atomic_fetch_add_explicit(&connection->rx_errors, 1, memory_order_relaxed);
            rte_pktmbuf_free(packets[got]);
            packets[got] = packets[--n];
        }
    }
    if (unlikely(got < n))
        rte_pktmbuf_free_bulk(packets + got, n - got);
    ring->next = position;
    atomic_store_explicit(&ring->shared->tail, position, memory_order_release);
    return got;
}

/* Copy `packet` into the buffers that the client offers from `position` on. Returns how many it took, 0 if too few. */
static inline uint16_t transmit_one(struct memif_connection *connection, const struct memif_ring *ring,
                                    uint16_t position, uint16_t offered, const struct rte_mbuf *packet) {
    uint32_t done = 0, length = packet->pkt_len;
    for (uint16_t used = 0; used < offered;) {
        struct memif_descriptor d = descriptor_read(ring, (uint16_t) (position + used));
        uint8_t *to = buffer(connection, &d);
        if (unlikely(!to || !d.length))
            return 0;
        uint32_t part = RTE_MIN(d.length, length - done);
        const uint8_t *from = rte_pktmbuf_read(packet, done, part, to);
        if (likely(from != to))
            rte_memcpy(to, from, part);
        done += part;
        struct memif_descriptor *shared = &ring->shared->descriptors[(position + used++) & (ring->size - 1)];
        shared->length = part;
        shared->flags = done < length ? MEMIF_DESCRIPTOR_NEXT : 0;
        if (likely(done == length))
            return used;
    }
    return 0;
}

unsigned memif_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    struct memif_connection *connection = connection_of(port);
    if (!connection || queue >= connection->n_tx)
        return 0;
    struct memif_ring *ring = &connection->tx[queue];
    uint16_t position = ring->next;
    uint16_t offered = (uint16_t) (atomic_load_explicit(&ring->shared->head, memory_order_acquire) - position);
    if (unlikely(offered > ring->size))
        return 0;

    unsigned sent = 0;
    while (sent < n) {
        uint16_t used = transmit_one(connection, ring, position, offered, packets[sent]);
        if (unlikely(!used))
            break;
        position = (uint16_t) (position + used);
        offered = (uint16_t) (offered - used);
        sent++;
    }
    ring->next = position;
    atomic_store_explicit(&ring->shared->tail, position, memory_order_seq_cst); /* before the flags are read */
    if (sent && !(atomic_load_explicit(&ring->shared->flags, memory_order_relaxed) & MEMIF_RING_MASK_INTERRUPT))
        bell_ring(&((struct memif *) port)->bell, ring->fd);
    rte_pktmbuf_free_bulk(packets, sent);
    return sent;
}

int memif_arm(struct port *port, unsigned queue) {
    struct memif_connection *connection = connection_of(port);
    if (!connection || queue >= connection->n_rx)
        return -1;
    atomic_store(&connection->rx[queue].shared->flags, 0); /* before the next look at head */
    return connection->rx[queue].fd;
}

void memif_disarm(struct port *port, unsigned queue, bool readable) {
    struct memif_connection *connection = connection_of(port);
    if (!connection || queue >= connection->n_rx)
        return;
    atomic_store_explicit(&connection->rx[queue].shared->flags, MEMIF_RING_MASK_INTERRUPT, memory_order_relaxed);
    if (readable)
        bell_heard(connection->rx[queue].fd);
}
