/* Ports: where packets come from and go to, each of some type, all alike to the workers.
 *
 * What a port is
 * --------------
 * A port has receive and transmit queues. One worker at a time polls a receive queue (process/workers.c sees to it);
 * any worker may transmit, on the queue of its number modulo the port's, under a lock where workers share a queue.
 * Opening, closing and every change of a port happen on the control thread.
 *
 * Types
 * -----
 * `ethdev.c` makes ports of DPDK devices: any devargs, vhost-user, AF_XDP, PCI. `memif.c` is an endpoint of our own,
 * for a client that dies must not take the switch along. `kernel.c` is network interfaces (packet socket) and TAP.
 * `vxlan.c` is tunnels over another port. A type is one `struct port_type`; nothing else knows the types apart.
 *
 * Blocking
 * --------
 * A worker with nothing to do asks each of its queues to arm a wake-up and sleeps in poll(2) on their descriptors. A
 * type without wake-ups has no `arm`; its worker then never sleeps longer than the queue can hold packets.
 *
 * Closing
 * -------
 * A type that takes memory away from under a queue (a client left) first makes the queue look empty, then calls
 * `host->synchronize`, and only then unmaps: no worker is inside receive or transmit with the old state any more.
 *
 * Neighbours: process/worker.c polls and transmits; process/switch.c opens and closes; pipeline/dp.h knows a port only
 * by its slot. */
#ifndef QUAKE_PORTS_PORT_H
#define QUAKE_PORTS_PORT_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <rte_spinlock.h>

#include "../pipeline/dp.h"

struct loop;
struct rte_mbuf;
struct rte_mempool;
struct port;
struct tunnels;

#define PORT_MAX_QUEUES 16

/* What the process lends to its ports. */
struct port_host {
    struct loop *loop;
    struct rte_mempool *pool;
    unsigned n_workers;
    void *aux;
    /* Control thread: link, speed or queues of `port` are other than they were. */
    void (*changed)(void *aux, struct port *port);
    /* Control thread: returns once every worker has left whatever port function it was in. */
    void (*synchronize)(void *aux);
    /* Control thread: have a worker transmit `packet` on `port`. Takes the packet. */
    void (*send)(void *aux, struct port *port, struct rte_mbuf *packet);
    /* Control thread: the port of this name, or NULL. */
    struct port *(*find)(void *aux, const char *name);
};

struct port_type {
    const char *name; /* as in the configuration */
    /* Opens a port as `spec` (a JSON object; name, type and number are already dealt with) says, and sets *port to it.
     * Returns NULL or what is wrong. The queues may be polled as soon as this returns. */
    char *(*open)(const json_t *spec, const char *name, const struct port_host *host, struct port **port);
    void (*close)(struct port *port); /* no worker uses the port any more; frees it */

    /* Worker. Up to `n` (<= DP_BATCH) packets that arrived on `queue`. */
    unsigned (*receive)(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n);
    /* Worker. Sends up to `n` (<= DP_BATCH); returns how many it took. The caller frees the rest and counts them as
     * dropped. */
    unsigned (*transmit)(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n);

    /* Worker. Ask for a wake-up by the next packet: a descriptor that becomes readable then, -1 if no packet can come
     * until `changed` was called, or PORT_CANNOT_WAIT. The worker polls once more after arming, so nothing is missed.
     */
    int (*arm)(struct port *port, unsigned queue);
    void (*disarm)(struct port *port, unsigned queue, bool readable);

    /* Control thread. Fill in hw_addr, state (link), curr, curr_speed, max_speed. */
    void (*describe)(struct port *port, struct dp_port *description);
    /* Control thread. Add what the device itself dropped or could not read. */
    void (*statistics)(struct port *port, struct dp_port_stats *statistics);
    /* Control thread. For people: type's own facts (peer, socket, rings) as a JSON object. */
    json_t *(*details)(struct port *port);
};

#define PORT_CANNOT_WAIT (-2)

struct port_queue_lock {
    rte_spinlock_t lock;
} __attribute__((aligned(64)));

struct port_worker_counters {
    uint64_t tx_dropped;
} __attribute__((aligned(64)));

struct port {
    const struct port_type *type;
    const struct port_host *host;
    char name[16];
    uint32_t number;
    int slot; /* in the datapath; -1 before and after */
    uint16_t n_rx_queues, n_tx_queues;
    uint16_t mtu;       /* of the payload of an Ethernet frame, bytes */
    uint64_t tunnel_id; /* of packets that come in here */
    uint32_t ring;      /* packets that a receive queue holds while nobody polls */
    uint64_t peak_rate; /* packets/s that one receive queue may be offered; bounds the sleep of its worker */
    struct tunnels *_Atomic tunnels; /* vxlan ports that lie over this one, or NULL */
    json_t *spec;                    /* as it was asked for */
    struct port_queue_lock locks[PORT_MAX_QUEUES];
    struct port_worker_counters workers[DP_MAX_WORKERS];
};

/* The type of this name, or NULL. */
const struct port_type *port_type_find(const char *name);
/* The names of all types, for messages. */
const char *port_type_names(void);

/* For types: make `port` (zeroed memory that begins with one) a port with `queues` of each kind. */
void port_init(struct port *port, const struct port_type *type, const struct port_host *host, const char *name,
               unsigned queues);

/* Worker: send `packets` as worker `worker`; takes all of them. */
void port_send(struct port *port, unsigned worker, struct rte_mbuf **packets, unsigned n);

/* A locally administered unicast MAC that is always the same for the same name. */
void port_mac_of_name(const char *name, uint8_t mac[6]);
/* "02:00:00:00:00:01" to bytes. */
bool port_parse_mac(const char *text, uint8_t mac[6]);

/* Fill in state, feature bits (section 7.2.1) and speeds for a link of `mbps` (0: unknown). */
void port_describe_link(struct dp_port *description, bool up, uint32_t mbps);

#endif
