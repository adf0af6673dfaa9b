/* Ports on the kernel's network: an interface by packet socket ("af_packet"), or a TAP device ("tap").
 *
 * Frames come with a virtio-net header, so what the kernel leaves undone among its own devices is seen, and is done
 * here (offload.h): checksums, and cutting up. The VLAN tag that a packet socket delivers beside the frame is put back
 * with its own TPID. The kernel wakes the worker, as sockets do.
 *
 * Privileges: af_packet needs CAP_NET_RAW (and CAP_NET_ADMIN for promiscuous mode), tap needs CAP_NET_ADMIN and
 * /dev/net/tun. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "offload.h"
#include "types.h"

#define KERNEL_RING 2048    /* frames that a socket's buffer holds, about */
#define KERNEL_RATE 2000000 /* packets/s: more a kernel interface does not bring */
#define SOCKET_BUFFER (8 << 20)
#define MAX_SEGMENTS 8
#define LARGE_FRAME (66 << 10) /* the most that the kernel leaves in one piece by default, with its headers */

struct frame {
    struct virtio_net_hdr header;
    struct rte_mbuf *packet; /* it begins there; what does not fit is in the queue's `large` */
    uint32_t length;
    uint16_t tag[2]; /* VLAN tag that was beside it, as on the wire; 0: none */
};

struct kernel_queue {
    int fd;
    unsigned next, n; /* `frames` that were read, and not handed on yet */
    struct frame frames[DP_BATCH];
    struct cut cut;                /* of frames[next], if that is large */
    uint8_t (*large)[LARGE_FRAME]; /* one for each frame; takes memory only once there are large ones */
};

struct kernel_port {
    struct port up; /* first */
    char interface[IFNAMSIZ];
    struct kernel_queue *queues[PORT_MAX_QUEUES];
    int link_fd; /* netlink: an interface somewhere changed */
    struct loop_fd *watch;
    _Atomic uint64_t rx_errors, tx_errors;
    uint64_t rx_dropped; /* control thread's */
};

static struct kernel_port *kernel_of(struct port *port) {
    return (struct kernel_port *) port;
}

/* ---- Receiving ---- */

static bool restore_vlan(struct rte_mbuf *packet, const uint16_t tag[2]) {
    uint8_t *start = (uint8_t *) rte_pktmbuf_prepend(packet, 2 * sizeof *tag);
    if (!start)
        return false;
    memmove(start, start + 2 * sizeof *tag, sizeof(struct ether_addr[2]));
    memcpy(start + sizeof(struct ether_addr[2]), tag, 2 * sizeof *tag);
    return true;
}

/* Make a packet of a frame that lies in it whole. */
static struct rte_mbuf *take_small(struct kernel_queue *queue, struct frame *frame) {
    struct rte_mbuf *packet = frame->packet;
    packet->data_len = (uint16_t) frame->length;
    packet->pkt_len = frame->length;
    queue->next++;
    return packet;
}

/* The next packet of a frame that one buffer does not hold, or that is to be cut up. */
static struct rte_mbuf *take_large(const struct kernel_port *kernel, struct kernel_queue *queue, struct frame *frame) {
    uint8_t *bytes = queue->large[queue->next];
    bool good = true;
    if (cut_done(&queue->cut)) {
        uint32_t begun = RTE_MIN(frame->length, (uint32_t) rte_pktmbuf_tailroom(frame->packet));
        memcpy(bytes, rte_pktmbuf_mtod(frame->packet, void *), begun);
        good = frame->length <= LARGE_FRAME && cut_begin(&queue->cut, bytes, frame->length, &frame->header);
    }
    struct rte_mbuf *packet = good ? cut_next(&queue->cut, kernel->up.host->pool) : NULL;
    if (!good)
        queue->cut = (struct cut){0};
    if (cut_done(&queue->cut)) {
        rte_pktmbuf_free(frame->packet);
        queue->next++;
    }
    return packet;
}

/* The next packet of the frames that were read; NULL if it is none that can be handed on, which is counted. */
static struct rte_mbuf *take(struct kernel_port *kernel, struct kernel_queue *queue) {
    struct frame *frame = &queue->frames[queue->next];
    bool cut = frame->header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    bool small = !cut && frame->length <= rte_pktmbuf_tailroom(frame->packet);
    struct rte_mbuf *packet = small ? take_small(queue, frame) : take_large(kernel, queue, frame);
    bool unfinished = !cut && frame->header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (packet && packet->pkt_len >= ETHER_HDR_LEN && (!unfinished || offload_checksum(packet, &frame->header)) &&
        (!*frame->tag || restore_vlan(packet, frame->tag)))
        return packet;
    atomic_fetch_add_explicit(&kernel->rx_errors, 1, memory_order_relaxed);
    rte_pktmbuf_free(packet);
    return NULL;
}

struct slot {
    struct iovec io[3];
    char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))] __attribute__((aligned(8)));
};

/* Where frame `i` is to go. Returns the length of the I/O vector. */
static unsigned scatter(struct kernel_queue *queue, unsigned i, struct rte_mbuf *packet, struct iovec *io) {
    uint32_t room = rte_pktmbuf_tailroom(packet);
    queue->frames[i].packet = packet;
    io[0] = (struct iovec){&queue->frames[i].header, sizeof queue->frames[i].header};
    io[1] = (struct iovec){rte_pktmbuf_mtod(packet, void *), room};
    io[2] = (struct iovec){queue->large[i] + room, LARGE_FRAME - room};
    return 3;
}

static void set_frame(struct frame *frame, size_t length, const struct tpacket_auxdata *aux) {
    frame->length = (uint32_t) (length - RTE_MIN(length, sizeof frame->header));
    frame->tag[0] = frame->tag[1] = 0;
    if (aux && aux->tp_status & TP_STATUS_VLAN_VALID) {
        frame->tag[0] = htons(aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid : ETHERTYPE_VLAN);
        frame->tag[1] = htons(aux->tp_vlan_tci);
    }
}

static const struct tpacket_auxdata *auxdata(struct msghdr *header) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c))
        if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA)
            return (const struct tpacket_auxdata *) CMSG_DATA(c);
    return NULL;
}

/* Read up to `n` frames. Returns how many it read. */
typedef unsigned read_frames(struct kernel_port *kernel, struct kernel_queue *queue, unsigned n);

static unsigned packet_read(struct kernel_port *kernel, struct kernel_queue *queue, unsigned n) {
    struct rte_mbuf *packets[DP_BATCH];
    struct slot slots[DP_BATCH];
    struct mmsghdr messages[DP_BATCH] = {0};
    if (rte_pktmbuf_alloc_bulk(kernel->up.host->pool, packets, n))
        return 0;
    for (unsigned i = 0; i < n; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = slots[i].io,
                                              .msg_iovlen = scatter(queue, i, packets[i], slots[i].io),
                                              .msg_control = slots[i].control,
                                              .msg_controllen = sizeof slots[i].control};
    int got = recvmmsg(queue->fd, messages, n, MSG_DONTWAIT | MSG_TRUNC, NULL);
    unsigned received = got > 0 ? (unsigned) got : 0;
    rte_pktmbuf_free_bulk(packets + received, n - received);
    for (unsigned i = 0; i < received; i++)
        set_frame(&queue->frames[i], messages[i].msg_len, auxdata(&messages[i].msg_hdr));
    return received;
}

static unsigned tap_read(struct kernel_port *kernel, struct kernel_queue *queue, unsigned n) {
    unsigned received = 0;
    struct rte_mbuf *packet;
    while (received < n && (packet = rte_pktmbuf_alloc(kernel->up.host->pool))) {
        struct iovec io[3];
        ssize_t length = readv(queue->fd, io, (int) scatter(queue, received, packet, io));
        if (length < 0) {
            rte_pktmbuf_free(packet);
            break;
        }
        set_frame(&queue->frames[received++], (size_t) length, NULL);
    }
    return received;
}

/* Packets of the frames that were read before, or else of those that are read now. */
static unsigned receive(struct port *port, unsigned index, struct rte_mbuf **packets, unsigned n, read_frames *read) {
    struct kernel_port *kernel = kernel_of(port);
    struct kernel_queue *queue = kernel->queues[index];
    if (queue->next == queue->n) {
        queue->next = 0;
        queue->n = read(kernel, queue, n);
    }
    unsigned taken = 0;
    while (taken < n && queue->next < queue->n)
        if ((packets[taken] = take(kernel, queue)))
            taken++;
    return taken;
}

static unsigned packet_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    return receive(port, queue, packets, n, packet_read);
}

static unsigned tap_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    return receive(port, queue, packets, n, tap_read);
}

/* ---- Sending ---- */

struct outgoing {
    struct virtio_net_hdr header;
    struct iovec io[1 + MAX_SEGMENTS];
};

/* Header and segments of `packet` as an I/O vector. Returns its length, 0 for a packet in too many pieces. */
static unsigned gather(const struct rte_mbuf *packet, struct outgoing *out) {
    unsigned n = 0;
    memset(&out->header, 0, sizeof out->header);
    out->io[n++] = (struct iovec){&out->header, sizeof out->header};
    for (; packet; packet = packet->next) {
        if (n > MAX_SEGMENTS)
            return 0;
        out->io[n++] = (struct iovec){rte_pktmbuf_mtod(packet, void *), packet->data_len};
    }
    return n;
}

/* Whether it is this frame that cannot be sent, such as one above the MTU, and not that nothing can be sent now. */
static bool frame_is_to_blame(struct kernel_port *kernel) {
    bool blame = errno == EMSGSIZE || errno == EINVAL;
    atomic_fetch_add_explicit(&kernel->tx_errors, blame, memory_order_relaxed);
    return blame;
}

/* A frame that cannot be sent is passed over: those behind it are none the worse. */
static unsigned packet_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    struct outgoing out[DP_BATCH];
    struct mmsghdr messages[DP_BATCH] = {0};
    for (unsigned i = 0; i < n; i++) {
        messages[i].msg_hdr.msg_iov = out[i].io;
        messages[i].msg_hdr.msg_iovlen = gather(packets[i], &out[i]);
    }
    unsigned done = 0;
    while (done < n) {
        int sent = sendmmsg(kernel_of(port)->queues[queue]->fd, messages + done, n - done, MSG_DONTWAIT);
        if (sent <= 0 && !frame_is_to_blame(kernel_of(port)))
            break;
        done += sent > 0 ? (unsigned) sent : 1;
    }
    rte_pktmbuf_free_bulk(packets, done);
    return done;
}

static unsigned tap_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    struct outgoing out;
    unsigned done = 0;
    for (; done < n; done++) {
        unsigned parts = gather(packets[done], &out);
        if (writev(kernel_of(port)->queues[queue]->fd, out.io, (int) parts) < 0 && !frame_is_to_blame(kernel_of(port)))
            break;
    }
    rte_pktmbuf_free_bulk(packets, done);
    return done;
}

static int kernel_arm(struct port *port, unsigned queue) {
    return kernel_of(port)->queues[queue]->fd;
}

static void kernel_disarm(struct port *port, unsigned queue, bool readable) {
    (void) port, (void) queue, (void) readable; /* reading the frames clears it */
}

/* ---- The interface ---- */

static int interface_request(const struct kernel_port *kernel, unsigned long request, struct ifreq *ifr) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(ifr->ifr_name, sizeof ifr->ifr_name, "%s", kernel->interface);
    int result = ioctl(fd, request, ifr);
    close(fd);
    return result;
}

static void kernel_describe(struct port *port, struct dp_port *description) {
    const struct kernel_port *kernel = kernel_of(port);
    struct ifreq ifr = {0};
    struct ethtool_cmd speed = {.cmd = ETHTOOL_GSET};
    bool up =
        !interface_request(kernel, SIOCGIFFLAGS, &ifr) && (ifr.ifr_flags & IFF_UP) && (ifr.ifr_flags & IFF_RUNNING);
    ifr.ifr_data = (char *) &speed;
    bool known = !interface_request(kernel, SIOCETHTOOL, &ifr) && ethtool_cmd_speed(&speed) < 1000000;
    port_mac_of_name(port->name, description->hw_addr);
    if (!interface_request(kernel, SIOCGIFHWADDR, &ifr))
        memcpy(description->hw_addr, ifr.ifr_hwaddr.sa_data, sizeof description->hw_addr);
    port_describe_link(description, up, known ? ethtool_cmd_speed(&speed) : 0);
}

static void link_ready(void *aux, uint32_t events) {
    (void) events;
    struct kernel_port *kernel = aux;
    char news[8192];
    while (recv(kernel->link_fd, news, sizeof news, MSG_DONTWAIT) > 0)
        continue; /* that something changed is enough to know */
    kernel->up.host->changed(kernel->up.host->aux, &kernel->up);
}

static void watch_link(struct kernel_port *kernel) {
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    kernel->link_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (!bind(kernel->link_fd, (struct sockaddr *) &address, sizeof address))
        kernel->watch = loop_fd_add(kernel->up.host->loop, kernel->link_fd, EPOLLIN, link_ready, kernel);
}

static struct kernel_queue *new_queue(void) {
    struct kernel_queue *queue = xzalloc(sizeof *queue);
    queue->fd = -1;
    queue->large = xmalloc(DP_BATCH * sizeof *queue->large);
    return queue;
}

static void close_queue(struct kernel_queue *queue) {
    while (queue->next < queue->n)
        rte_pktmbuf_free(queue->frames[queue->next++].packet);
    if (queue->fd >= 0)
        close(queue->fd);
    free(queue->large);
    free(queue);
}

static void kernel_close(struct port *port) {
    struct kernel_port *kernel = kernel_of(port);
    if (kernel->watch)
        loop_fd_remove(kernel->watch);
    if (kernel->link_fd >= 0)
        close(kernel->link_fd);
    for (unsigned i = 0; i < PORT_MAX_QUEUES && kernel->queues[i]; i++)
        close_queue(kernel->queues[i]);
    free(kernel);
}

static void kernel_statistics(struct port *port, struct dp_port_stats *statistics) {
    struct kernel_port *kernel = kernel_of(port);
    statistics->rx_errors += atomic_load(&kernel->rx_errors);
    statistics->tx_errors += atomic_load(&kernel->tx_errors);
    for (unsigned i = 0; i < port->n_rx_queues && port->type == &port_type_af_packet; i++) {
        struct tpacket_stats since; /* the kernel begins anew at each question */
        socklen_t size = sizeof since;
        if (!getsockopt(kernel->queues[i]->fd, SOL_PACKET, PACKET_STATISTICS, &since, &size))
            kernel->rx_dropped += since.tp_drops;
    }
    statistics->rx_dropped += kernel->rx_dropped;
}

static json_t *kernel_details(struct port *port) {
    return json_pack("{s:s}", "interface", kernel_of(port)->interface);
}

/* Open one of `queues` queues of the port, and set *fd: NULL or what is wrong. */
typedef char *open_queue(struct kernel_port *kernel, unsigned queues, int *fd);

static char *kernel_open(const struct port_type *type, const json_t *spec, const char *name,
                         const struct port_host *host, open_queue *queue_open, struct port **port) {
    json_error_t wrong;
    const char *interface;
    int queues = 1;
    if (json_unpack_ex((json_t *) spec, &wrong, JSON_STRICT, "{s:s, s?i}", "interface", &interface, "queues", &queues))
        return error_make("%s; this type takes interface and queues", wrong.text);
    if (strlen(interface) >= IFNAMSIZ || queues < 1 || queues > PORT_MAX_QUEUES)
        return error_make("interface must be a name of up to %d bytes, queues 1 to %d", IFNAMSIZ - 1, PORT_MAX_QUEUES);
    struct kernel_port *kernel = xzalloc(sizeof *kernel);
    port_init(&kernel->up, type, host, name, (unsigned) queues);
    kernel->up.ring = KERNEL_RING;
    kernel->up.peak_rate = KERNEL_RATE;
    kernel->link_fd = -1;
    snprintf(kernel->interface, sizeof kernel->interface, "%s", interface);
    char *error = NULL;
    for (unsigned i = 0; i < (unsigned) queues && !error; i++) {
        kernel->queues[i] = new_queue();
        error = queue_open(kernel, (unsigned) queues, &kernel->queues[i]->fd);
    }
    struct ifreq ifr = {0};
    if (!error && !interface_request(kernel, SIOCGIFMTU, &ifr))
        kernel->up.mtu = (uint16_t) RTE_MIN(ifr.ifr_mtu, UINT16_MAX);
    if (error) {
        kernel_close(&kernel->up);
        return error;
    }
    watch_link(kernel);
    *port = &kernel->up;
    return NULL;
}

/* ---- type "af_packet" ---- */

static bool set_options(int fd, unsigned index, unsigned queues) {
    int on = 1, size = SOCKET_BUFFER;
    struct packet_mreq promiscuous = {.mr_ifindex = (int) index, .mr_type = PACKET_MR_PROMISC};
    int fanout = (int) ((index & 0xffff) | (PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_DEFRAG) << 16);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    (void) setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    (void) setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous);
    return !setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) &&
           !setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) &&
           !setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) &&
           (queues == 1 || !setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof fanout));
}

static char *packet_queue_open(struct kernel_port *kernel, unsigned queues, int *opened) {
    unsigned index = if_nametoindex(kernel->interface);
    if (!index)
        return error_make("there is no network interface %s here", kernel->interface);
    int fd = *opened = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: nothing before bind */
    if (fd < 0)
        return error_make("cannot open a packet socket: %s; it takes CAP_NET_RAW", strerror(errno));
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int) index};
    bool late = queues > 1; /* a fanout group takes bound sockets only */
    if ((!late && !set_options(fd, index, queues)) || bind(fd, (struct sockaddr *) &address, sizeof address) ||
        (late && !set_options(fd, index, queues)))
        return error_make("cannot attach to the interface %s: %s", kernel->interface, strerror(errno));
    return NULL;
}

static char *packet_open(const json_t *spec, const char *name, const struct port_host *host, struct port **port) {
    return kernel_open(&port_type_af_packet, spec, name, host, packet_queue_open, port);
}

const struct port_type port_type_af_packet = {
    .name = "af_packet",
    .open = packet_open,
    .close = kernel_close,
    .receive = packet_receive,
    .transmit = packet_transmit,
    .arm = kernel_arm,
    .disarm = kernel_disarm,
    .describe = kernel_describe,
    .statistics = kernel_statistics,
    .details = kernel_details,
};

/* ---- type "tap" ---- */

static char *tap_queue_open(struct kernel_port *kernel, unsigned queues, int *opened) {
    int fd = *opened = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_make("cannot open /dev/net/tun: %s; a pod needs it as a hostPath", strerror(errno));
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    if (queues > 1)
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", kernel->interface);
    if (ioctl(fd, TUNSETIFF, &ifr))
        return error_make("cannot make the TAP device %s: %s; it takes CAP_NET_ADMIN", kernel->interface,
                          strerror(errno));
    (void) ioctl(fd, TUNSETOFFLOAD, 0); /* a device that was there may have learnt to leave work to others */
    if (interface_request(kernel, SIOCGIFFLAGS, &ifr))
        return error_make("the TAP device %s is gone: %s", kernel->interface, strerror(errno));
    ifr.ifr_flags |= IFF_UP;
    (void) interface_request(kernel, SIOCSIFFLAGS, &ifr); /* whoever uses it may do it, too */
    return NULL;
}

static char *tap_open(const json_t *spec, const char *name, const struct port_host *host, struct port **port) {
    return kernel_open(&port_type_tap, spec, name, host, tap_queue_open, port);
}

const struct port_type port_type_tap = {
    .name = "tap",
    .open = tap_open,
    .close = kernel_close,
    .receive = tap_receive,
    .transmit = tap_transmit,
    .arm = kernel_arm,
    .disarm = kernel_disarm,
    .describe = kernel_describe,
    .statistics = kernel_statistics,
    .details = kernel_details,
};
