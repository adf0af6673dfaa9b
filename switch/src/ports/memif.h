/* The memif protocol, version 2.0, as its server sees it: what is on the socket and in shared memory.
 *
 * A client connects to a SOCK_SEQPACKET socket and sends messages of 128 bytes, each answered by an acknowledgement;
 * with them come descriptors: of memory regions, which the client owns, and an eventfd per ring. A ring is an array of
 * descriptors in such a region. `head` and `tail` count freely modulo 2^16. In a client-to-server ring the client fills
 * descriptors and moves head, the server empties them and moves tail; in a server-to-client ring the client offers
 * empty buffers by head, the server fills them and moves tail.
 *
 * The client may write anything at any time into what it shares: every index, offset and length is read once and
 * checked against the region before use, and regions must be sealed against shrinking, lest access become SIGBUS.
 *
 * Neighbours: memif.c speaks on the socket; memif_ring.c moves packets. */
#ifndef QUAKE_PORTS_MEMIF_H
#define QUAKE_PORTS_MEMIF_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bell.h"
#include "port.h"

#define MEMIF_COOKIE UINT32_C(0x3e31f20)
#define MEMIF_VERSION 0x0200
#define MEMIF_MAX_REGIONS 32
#define MEMIF_MAX_LOG2_RING 14

enum memif_message_type {
    MEMIF_ACK = 1,
    MEMIF_HELLO,
    MEMIF_INIT,
    MEMIF_ADD_REGION,
    MEMIF_ADD_RING,
    MEMIF_CONNECT,
    MEMIF_CONNECTED,
    MEMIF_DISCONNECT,
};

struct memif_hello {
    uint8_t name[32];
    uint16_t min_version, max_version, max_region, max_rx_ring,
        max_tx_ring; /* rings: server's view, index of the last */
    uint8_t max_log2_ring_size;
} __attribute__((packed));

struct memif_init {
    uint16_t version;
    uint32_t id;
    uint8_t mode; /* 0: Ethernet */
    uint8_t secret[24];
    uint8_t name[32];
} __attribute__((packed));

struct memif_add_region {
    uint16_t index;
    uint64_t size;
} __attribute__((packed));

#define MEMIF_RING_FROM_CLIENT 1

struct memif_add_ring {
    uint16_t flags, index, region;
    uint32_t offset;
    uint8_t log2_size;
    uint16_t private_header_size;
} __attribute__((packed));

struct memif_disconnect {
    uint32_t code;
    uint8_t text[96];
} __attribute__((packed));

struct memif_message {
    uint16_t type;
    union {
        struct memif_hello hello;
        struct memif_init init;
        struct memif_add_region add_region;
        struct memif_add_ring add_ring;
        uint8_t interface_name[32]; /* CONNECT, CONNECTED */
        struct memif_disconnect disconnect;
        uint8_t bytes[126];
    } __attribute__((packed));
} __attribute__((packed));
static_assert(sizeof(struct memif_message) == 128, "as on the wire");

#define MEMIF_DESCRIPTOR_NEXT 1

struct memif_descriptor {
    uint16_t flags, region;
    uint32_t length, offset, metadata;
};

#define MEMIF_RING_MASK_INTERRUPT 1

struct memif_shared_ring {
    uint32_t cookie;
    _Atomic uint16_t flags;
    _Atomic uint16_t head;
    _Atomic uint16_t tail __attribute__((aligned(64)));
    struct memif_descriptor descriptors[] __attribute__((aligned(64)));
};
static_assert(offsetof(struct memif_shared_ring, tail) == 64, "as in shared memory");
static_assert(offsetof(struct memif_shared_ring, descriptors) == 128, "as in shared memory");

struct memif_region {
    uint8_t *base; /* NULL: not given */
    uint64_t size;
};

struct memif_ring {
    struct memif_shared_ring *shared; /* NULL: not given */
    uint16_t size, next;              /* descriptors; where we are */
    int fd;                           /* rx: readable when the client rang; tx: the eventfd that rings it */
} __attribute__((aligned(64)));

struct memif;

/* One client. Workers see it through `memif.connection` only. */
struct memif_connection {
    struct memif *memif;
    int fd;
    struct loop_fd *watch;
    bool initialised; /* INIT was accepted */
    char peer[33];
    struct memif_region regions[MEMIF_MAX_REGIONS];
    unsigned n_rx, n_tx;
    struct memif_ring rx[PORT_MAX_QUEUES], tx[PORT_MAX_QUEUES];
    _Atomic uint64_t rx_errors; /* descriptors that pointed nowhere */
};

struct memif {
    struct port up; /* first */
    int listen_fd;
    struct loop_fd *watch;
    char path[108];
    uint32_t id;
    char secret[25];
    struct bell bell;
    struct memif_connection *pending;            /* still shaking hands */
    struct memif_connection *_Atomic connection; /* in use; RCU by host->synchronize */
};

/* memif_ring.c */
unsigned memif_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n);
unsigned memif_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n);
int memif_arm(struct port *port, unsigned queue);
void memif_disarm(struct port *port, unsigned queue, bool readable);

#endif
