/* memif ports: an endpoint of our own (server role), because DPDK's unmaps a dead client's memory while it is being
 * polled.
 *
 * One socket serves one port and one client at a time. All messages are handled on the control thread; a worker gets to
 * see a connection when it is complete, and a connection is taken apart only after every worker has let go of it.
 *
 * Neighbours: memif.h has the protocol; memif_ring.c the packets; bell.h wakes. */
#include "memif.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "types.h"

static bool send_message(const struct memif_connection *connection, const struct memif_message *message) {
    return send(connection->fd, message, sizeof *message, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof *message;
}

/* ---- Taking apart ---- */

static void rings_close(struct memif_ring *rings, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (rings[i].fd >= 0)
            close(rings[i].fd);
}

static void connection_free(struct memif_connection *connection) {
    for (unsigned i = 0; i < MEMIF_MAX_REGIONS; i++)
        if (connection->regions[i].base)
            munmap(connection->regions[i].base, connection->regions[i].size);
    rings_close(connection->rx, PORT_MAX_QUEUES);
    rings_close(connection->tx, PORT_MAX_QUEUES);
    loop_fd_remove(connection->watch);
    close(connection->fd);
    free(connection);
}

/* The client left, or is sent away: `reason`, or NULL if there is no one to tell. */
static void drop(struct memif_connection *connection, const char *reason) {
    struct memif *memif = connection->memif;
    if (reason) {
        struct memif_message message = {.type = MEMIF_DISCONNECT};
        snprintf((char *) message.disconnect.text, sizeof message.disconnect.text, "%s", reason);
        send_message(connection, &message);
    }
    if (connection == memif->pending) {
        memif->pending = NULL;
    } else {
        atomic_store(&memif->connection, NULL);
        memif->up.host->changed(memif->up.host->aux, &memif->up);
        memif->up.host->synchronize(memif->up.host->aux);
    }
    connection_free(connection);
}

/* ---- Messages: each returns NULL or why the client is sent away; `fd` is theirs to keep or close ---- */

static const char *take_init(struct memif_connection *connection, const struct memif_init *init) {
    const struct memif *memif = connection->memif;
    if (init->version != MEMIF_VERSION)
        return "the switch speaks memif 2.0 only";
    if (init->id != memif->id)
        return "no interface of this id on this socket";
    if (init->mode != 0)
        return "the switch serves Ethernet mode only";
    if (strncmp((const char *) init->secret, memif->secret, sizeof init->secret) != 0)
        return "wrong secret";
    memcpy(connection->peer, init->name, sizeof init->name);
    connection->initialised = true;
    return NULL;
}

static const char *take_region(struct memif_connection *connection, const struct memif_add_region *add, int fd) {
    struct stat status;
    if (add->index >= MEMIF_MAX_REGIONS || connection->regions[add->index].base)
        return "region index out of range or in use";
    if (fd < 0)
        return "a region needs its memory file";
    int seals = fcntl(fd, F_GET_SEALS); /* before its size is asked for, which may not shrink from then on */
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return "the region must be sealed against shrinking (F_SEAL_SHRINK)";
    if (fstat(fd, &status) || !add->size || (uint64_t) status.st_size < add->size)
        return "the region is larger than its file";
    void *base = mmap(NULL, add->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return "the region cannot be mapped";
    connection->regions[add->index] = (struct memif_region){base, add->size};
    return NULL;
}

static const char *take_ring(struct memif_connection *connection, const struct memif_add_ring *add, int fd) {
    bool from_client = add->flags & MEMIF_RING_FROM_CLIENT;
    if (add->index >= PORT_MAX_QUEUES || add->log2_size > MEMIF_MAX_LOG2_RING || add->region >= MEMIF_MAX_REGIONS)
        return "ring index or size out of range";
    struct memif_ring *ring = from_client ? &connection->rx[add->index] : &connection->tx[add->index];
    const struct memif_region *region = &connection->regions[add->region];
    uint32_t size = UINT32_C(1) << add->log2_size;
    uint64_t bytes = sizeof(struct memif_shared_ring) + size * sizeof(struct memif_descriptor);
    if (ring->shared || !region->base || add->offset % 64 || add->offset + bytes > region->size)
        return "the ring does not lie in its region, or was given twice";
    if (fd < 0 || !bell_is_eventfd(fd))
        return "a ring needs an eventfd";
    *ring = (struct memif_ring){(struct memif_shared_ring *) (region->base + add->offset), (uint16_t) size, 0,
                                from_client ? bell_watch(fd) : dup(fd)};
    return ring->fd < 0 ? "the switch has no descriptor left" : NULL;
}

/* Rings must be numbered without gaps. Returns how many there are, or -1. */
static int rings_begin(struct memif_ring *rings, uint16_t flags) {
    unsigned n = 0;
    while (n < PORT_MAX_QUEUES && rings[n].shared)
        n++;
    for (unsigned i = 0; i < PORT_MAX_QUEUES; i++) {
        if (!rings[i].shared)
            continue;
        if (i >= n || rings[i].shared->cookie != MEMIF_COOKIE)
            return -1;
        atomic_store(&rings[i].shared->head, 0);
        atomic_store(&rings[i].shared->tail, 0);
        if (flags)
            atomic_store(&rings[i].shared->flags, flags);
    }
    return (int) n;
}

static const char *take_connect(struct memif_connection *connection) {
    struct memif *memif = connection->memif;
    int n_rx = rings_begin(connection->rx, MEMIF_RING_MASK_INTERRUPT); /* whoever empties a ring says so */
    int n_tx = rings_begin(connection->tx, 0);
    if (n_rx < 1 || n_tx < 1)
        return "a ring is missing, or lacks its cookie";
    struct memif_message reply = {.type = MEMIF_CONNECTED};
    snprintf((char *) reply.interface_name, sizeof reply.interface_name, "%s", memif->up.name);
    if (!send_message(connection, &reply))
        return "the client does not read";
    connection->n_rx = (unsigned) n_rx;
    connection->n_tx = (unsigned) n_tx;
    memif->up.n_rx_queues = (uint16_t) n_rx;
    memif->up.n_tx_queues = (uint16_t) n_tx;
    memif->up.ring = connection->rx[0].size;
    memif->pending = NULL;
    atomic_store(&memif->connection, connection);
    memif->up.host->changed(memif->up.host->aux, &memif->up);
    return NULL;
}

static const char *take(struct memif_connection *connection, const struct memif_message *message, int fd) {
    if (message->type == MEMIF_DISCONNECT)
        return "goodbye";
    if (message->type == MEMIF_ACK)
        return NULL;
    if ((message->type == MEMIF_INIT) == connection->initialised || connection != connection->memif->pending)
        return "message out of order";
    const char *refusal;
    switch (message->type) {
    case MEMIF_INIT:
        refusal = take_init(connection, &message->init);
        break;
    case MEMIF_ADD_REGION:
        refusal = take_region(connection, &message->add_region, fd);
        break;
    case MEMIF_ADD_RING:
        refusal = take_ring(connection, &message->add_ring, fd);
        break;
    case MEMIF_CONNECT:
        return take_connect(connection);
    default:
        return "unknown message";
    }
    if (!refusal && !send_message(connection, &(struct memif_message){.type = MEMIF_ACK}))
        refusal = "the client does not read";
    return refusal;
}

/* Receives one message with at most one descriptor. Returns its length, 0 for the end, -1 for not now. */
static ssize_t receive_message(int socket_fd, struct memif_message *message, int *fd) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec io = {message, sizeof *message};
    struct msghdr header = {.msg_iov = &io,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = CMSG_LEN(sizeof(int))}; /* the padding would take a second descriptor */
    ssize_t n = recvmsg(socket_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *fd = -1;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? -1 : 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(fd, CMSG_DATA(c), sizeof(int));
    return n;
}

static void connection_ready(void *aux, uint32_t events) {
    (void) events;
    struct memif_connection *connection = aux;
    struct memif_message message = {0};
    int fd;
    ssize_t n = receive_message(connection->fd, &message, &fd);
    if (n < 0)
        return;
    const char *refusal = n == sizeof message ? take(connection, &message, fd) : n ? "short message" : NULL;
    if (fd >= 0)
        close(fd);
    if (refusal || !n)
        drop(connection, n ? refusal : NULL);
}

static void client_waits(void *aux, uint32_t events) {
    (void) events;
    struct memif *memif = aux;
    int fd = accept4(memif->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (memif->pending) /* a client that stopped in mid-handshake makes way */
        drop(memif->pending, "another client came");
    if (atomic_load(&memif->connection)) {
        close(fd);
        return;
    }
    struct memif_connection *connection = xzalloc(sizeof *connection);
    *connection = (struct memif_connection){.memif = memif, .fd = fd};
    for (unsigned i = 0; i < PORT_MAX_QUEUES; i++)
        connection->rx[i].fd = connection->tx[i].fd = -1;
    connection->watch = loop_fd_add(memif->up.host->loop, fd, EPOLLIN, connection_ready, connection);
    memif->pending = connection;
    struct memif_message hello = {.type = MEMIF_HELLO};
    hello.hello =
        (struct memif_hello){{"quake"},           MEMIF_VERSION,       MEMIF_VERSION,      MEMIF_MAX_REGIONS - 1,
                             PORT_MAX_QUEUES - 1, PORT_MAX_QUEUES - 1, MEMIF_MAX_LOG2_RING};
    if (!send_message(connection, &hello))
        drop(connection, NULL);
}

/* ---- The port ---- */

static char *listen_at(struct memif *memif) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(memif->path) >= sizeof address.sun_path - 1)
        return error_make("the socket's path \"%s\" is longer than %zu bytes", memif->path,
                          sizeof address.sun_path - 2);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", memif->path);
    memif->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(probe, (struct sockaddr *) &address, sizeof address) && errno == ECONNREFUSED)
        unlink(memif->path); /* left behind by a switch that was killed */
    close(probe);
    if (bind(memif->listen_fd, (struct sockaddr *) &address, sizeof address) || listen(memif->listen_fd, 8))
        return error_make("cannot listen at %s: %s", memif->path, strerror(errno));
    return NULL;
}

static void memif_close(struct port *port) {
    struct memif *memif = (struct memif *) port;
    if (memif->watch) {
        loop_fd_remove(memif->watch);
        unlink(memif->path);
    }
    if (memif->listen_fd >= 0)
        close(memif->listen_fd);
    bell_close(&memif->bell);
    if (memif->pending)
        connection_free(memif->pending);
    struct memif_connection *connection = atomic_load(&memif->connection);
    if (connection)
        connection_free(connection);
    free(memif);
}

static char *memif_open(const json_t *spec, const char *name, const struct port_host *host, struct port **port) {
    json_error_t wrong;
    const char *path, *secret = "";
    json_int_t id = 0;
    if (json_unpack_ex((json_t *) spec, &wrong, JSON_STRICT, "{s:s, s?I, s?s}", "socket", &path, "id", &id, "secret",
                       &secret))
        return error_make("%s; a memif port takes socket, id and secret", wrong.text);
    if (strlen(secret) > 24 || id < 0 || id > UINT32_MAX)
        return error_make("the secret has more than 24 bytes, or the id is not a number of 32 bits");
    struct memif *memif = xzalloc(sizeof *memif);
    port_init(&memif->up, &port_type_memif, host, name, 1);
    memif->up.n_tx_queues = 0; /* until a client is there */
    memif->listen_fd = -1;
    memif->id = (uint32_t) id;
    snprintf(memif->path, sizeof memif->path, "%s", path);
    snprintf(memif->secret, sizeof memif->secret, "%s", secret);
    char *error = bell_open(&memif->bell) ? listen_at(memif)
                                          : error_make("no asynchronous requests, which wake clients: %s; they need the "
                                                       "calls io_setup and io_submit, and room below fs.aio-max-nr",
                                                       strerror(errno));
    if (error) {
        memif_close(&memif->up);
        return error;
    }
    memif->watch = loop_fd_add(host->loop, memif->listen_fd, EPOLLIN, client_waits, memif);
    *port = &memif->up;
    return NULL;
}

static void memif_describe(struct port *port, struct dp_port *description) {
    port_mac_of_name(port->name, description->hw_addr);
    port_describe_link(description, atomic_load(&((struct memif *) port)->connection), 0);
}

static void memif_statistics(struct port *port, struct dp_port_stats *statistics) {
    const struct memif_connection *connection = atomic_load(&((struct memif *) port)->connection);
    if (connection)
        statistics->rx_errors += atomic_load(&connection->rx_errors);
}

static json_t *memif_details(struct port *port) {
    const struct memif *memif = (struct memif *) port;
    const struct memif_connection *connection = atomic_load(&memif->connection);
    if (!connection)
        return json_pack("{s:s}", "socket", memif->path);
    return json_pack("{s:s, s:s, s:i, s:i, s:i}", "socket", memif->path, "peer", connection->peer, "rx_rings",
                     connection->n_rx, "tx_rings", connection->n_tx, "ring_size", connection->rx[0].size);
}

const struct port_type port_type_memif = {
    .name = "memif",
    .open = memif_open,
    .close = memif_close,
    .receive = memif_receive,
    .transmit = memif_transmit,
    .arm = memif_arm,
    .disarm = memif_disarm,
    .describe = memif_describe,
    .statistics = memif_statistics,
    .details = memif_details,
};
