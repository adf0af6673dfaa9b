/* DPDK devices as ports; see ethdev.h. */
#include "ethdev.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_pci.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "types.h"

#define RING 1024 /* descriptors of a queue, where the device lets one choose */

static struct ethdev *ethdev_of(struct port *port) {
    return (struct ethdev *) port;
}

/* ---- Link ---- */

static int link_event(uint16_t id, enum rte_eth_event_type event, void *aux, void *result) {
    (void) id, (void) event, (void) result;
    struct ethdev *device = aux;
    if (device->on_link)
        device->on_link(device);
    (void) !write(device->event_fd, &(uint64_t){1}, sizeof(uint64_t));
    return 0;
}

static void link_ready(void *aux, uint32_t events) {
    (void) events;
    struct ethdev *device = aux;
    uint64_t count;
    (void) !read(device->event_fd, &count, sizeof count);
    device->up.host->changed(device->up.host->aux, &device->up);
}

/* ---- Opening ---- */

/* Why the device `name` cannot be probed, where that is known. */
static char *explain_pci(const char *name, int error) {
    struct rte_pci_addr address;
    if (rte_pci_addr_parse(name, &address))
        return NULL;
    if (!rte_eal_has_pci())
        return error_make("the device %s is a PCI device, and the PCI bus is off: start with \"pci\": true", name);
    if (error == -ENODEV)
        return error_make("there is no PCI device %s here; lspci -D lists those there are", name);
    return error_make("DPDK cannot open the PCI device %s: %s; is it bound to vfio-pci? dpdk-devbind.py -s tells", name,
                      rte_strerror(-error));
}

static char *probe(const char *devargs, uint16_t *id) {
    char name[RTE_DEV_NAME_MAX_LEN];
    snprintf(name, sizeof name, "%.*s", (int) strcspn(devargs, ","), devargs);
    if (!rte_eth_dev_get_port_by_name(name, id))
        return error_make("the device %s is another port's already", name);
    int error = rte_dev_probe(devargs);
    char *reason = error ? explain_pci(name, error) : NULL;
    if (reason)
        return reason;
    if (error)
        return error_make("DPDK cannot open the device \"%s\": %s; its log says why", devargs, rte_strerror(-error));
    if (rte_eth_dev_get_port_by_name(name, id))
        return error_make("\"%s\" is not a network device", devargs);
    return NULL;
}

static struct rte_eth_conf configuration(const struct rte_eth_dev_info *info, unsigned n_rx) {
    struct rte_eth_conf conf = {0};
    if (n_rx > 1 && info->flow_type_rss_offloads) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf =
            (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP) & info->flow_type_rss_offloads;
    }
    conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS & info->tx_offload_capa;
    conf.intr_conf.lsc = info->dev_flags && (*info->dev_flags & RTE_ETH_DEV_INTR_LSC);
    return conf;
}

static int set_up_queues(struct ethdev *device, const struct rte_eth_dev_info *info) {
    uint16_t rx = RING, tx = RING;
    int error = rte_eth_dev_adjust_nb_rx_tx_desc(device->id, &rx, &tx);
    int socket = rte_eth_dev_socket_id(device->id);
    struct rte_eth_txconf conf = info->default_txconf;
    conf.offloads = RTE_ETH_TX_OFFLOAD_MULTI_SEGS & info->tx_offload_capa;
    for (uint16_t i = 0; !error && i < device->up.n_rx_queues; i++)
        error = rte_eth_rx_queue_setup(device->id, i, rx, (unsigned) socket, NULL, device->up.host->pool);
    for (uint16_t i = 0; !error && i < device->up.n_tx_queues; i++)
        error = rte_eth_tx_queue_setup(device->id, i, tx, (unsigned) socket, &conf);
    device->up.ring = rx;
    return error;
}

static char *start(struct ethdev *device) {
    struct rte_eth_dev_info info;
    int error = rte_eth_dev_info_get(device->id, &info);
    if (error)
        return error_make("the device tells nothing of itself: %s", rte_strerror(-error));
    unsigned n_tx = RTE_MAX(device->up.n_rx_queues, device->up.host->n_workers);
    device->up.n_rx_queues = RTE_MIN(device->up.n_rx_queues, info.max_rx_queues);
    device->up.n_tx_queues = (uint16_t) RTE_MIN(RTE_MIN(n_tx, PORT_MAX_QUEUES), info.max_tx_queues);
    device->physical = strcmp(rte_bus_name(rte_dev_bus(info.device)), "vdev") != 0;

    struct rte_eth_conf conf = configuration(&info, device->up.n_rx_queues);
    error = rte_eth_dev_configure(device->id, device->up.n_rx_queues, device->up.n_tx_queues, &conf);
    if (!error)
        error = set_up_queues(device, &info);
    if (!error)
        error = rte_eth_dev_start(device->id);
    if (error)
        return error_make("the device does not start: %s; DPDK's log says why, or memory.mbufs is too small for its "
                          "rings: %u are free",
                          rte_strerror(-error), rte_mempool_avail_count(device->up.host->pool));
    (void) rte_eth_promiscuous_enable(device->id); /* virtual devices need not know the word */
    (void) rte_eth_dev_get_mtu(device->id, &device->up.mtu);
    return NULL;
}

char *ethdev_open(const struct port_type *type, const char *devargs, const char *name, unsigned queues,
                  const struct port_host *host, void (*on_link)(struct ethdev *device), struct port **port) {
    uint16_t id;
    char *error = probe(devargs, &id);
    if (error)
        return error;
    struct ethdev *device = xzalloc(sizeof *device);
    port_init(&device->up, type, host, name, queues);
    device->id = id;
    device->vhost_id = -1;
    device->on_link = on_link;
    rte_spinlock_init(&device->vhost_lock);
    device->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    device->watch = loop_fd_add(host->loop, device->event_fd, EPOLLIN, link_ready, device);
    rte_eth_dev_callback_register(id, RTE_ETH_EVENT_INTR_LSC, link_event, device);
    error = start(device);
    if (error) {
        ethdev_close(&device->up);
        return error;
    }
    *port = &device->up;
    return NULL;
}

void ethdev_close(struct port *port) {
    struct ethdev *device = ethdev_of(port);
    struct rte_eth_dev_info info;
    bool known = !rte_eth_dev_info_get(device->id, &info);
    (void) rte_eth_dev_stop(device->id);
    while (rte_eth_dev_callback_unregister(device->id, RTE_ETH_EVENT_INTR_LSC, link_event, device) == -EAGAIN)
        sched_yield(); /* it is running, on a thread of DPDK's, and uses the device */
    (void) rte_eth_dev_close(device->id);
    if (known)
        (void) rte_dev_remove(info.device);
    loop_fd_remove(device->watch);
    close(device->event_fd);
    free(device);
}

/* ---- Packets ---- */

unsigned ethdev_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    return rte_eth_rx_burst(ethdev_of(port)->id, (uint16_t) queue, packets, (uint16_t) n);
}

unsigned ethdev_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    return rte_eth_tx_burst(ethdev_of(port)->id, (uint16_t) queue, packets, (uint16_t) n);
}

/* A device with interrupts lends its descriptor; others cannot wake anybody. */
static int ethdev_arm(struct port *port, unsigned queue) {
    struct ethdev *device = ethdev_of(port);
    int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(device->id, (uint16_t) queue);
    if (fd < 0 || rte_eth_dev_rx_intr_enable(device->id, (uint16_t) queue))
        return PORT_CANNOT_WAIT;
    return fd;
}

static void ethdev_disarm(struct port *port, unsigned queue, bool readable) {
    struct ethdev *device = ethdev_of(port);
    uint64_t count;
    if (readable)
        (void) !read(rte_eth_dev_rx_intr_ctl_q_get_fd(device->id, (uint16_t) queue), &count, sizeof count);
    (void) rte_eth_dev_rx_intr_disable(device->id, (uint16_t) queue);
}

/* ---- Looks ---- */

void ethdev_describe(struct port *port, struct dp_port *description) {
    struct ethdev *device = ethdev_of(port);
    struct rte_eth_link link = {0};
    struct rte_ether_addr mac;
    (void) rte_eth_link_get_nowait(device->id, &link);
    port_mac_of_name(port->name, description->hw_addr);
    if (device->physical && !rte_eth_macaddr_get(device->id, &mac))
        memcpy(description->hw_addr, mac.addr_bytes, sizeof mac.addr_bytes);
    bool known = link.link_speed && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN;
    port_describe_link(description, link.link_status, known ? link.link_speed : 0);
}

void ethdev_statistics(struct port *port, struct dp_port_stats *statistics) {
    struct rte_eth_stats device;
    if (rte_eth_stats_get(ethdev_of(port)->id, &device))
        return;
    statistics->rx_dropped += device.imissed + device.rx_nombuf;
    statistics->rx_errors += device.ierrors;
    statistics->tx_errors += device.oerrors;
}

json_t *ethdev_details(struct port *port) {
    struct rte_eth_dev_info info;
    if (rte_eth_dev_info_get(ethdev_of(port)->id, &info))
        return json_object();
    return json_pack("{s:s, s:s}", "driver", info.driver_name, "device", rte_dev_name(info.device));
}

/* ---- type "dpdk": any devargs ---- */

static char *dpdk_open(const json_t *spec, const char *name, const struct port_host *host, struct port **port) {
    json_error_t wrong;
    const char *devargs;
    int queues = 1;
    if (json_unpack_ex((json_t *) spec, &wrong, JSON_STRICT, "{s:s, s?i}", "devargs", &devargs, "queues", &queues))
        return error_make("%s; a dpdk port takes devargs and queues", wrong.text);
    if (queues < 1 || queues > PORT_MAX_QUEUES)
        return error_make("queues is %d; it may be 1 to %d", queues, PORT_MAX_QUEUES);
    return ethdev_open(&port_type_dpdk, devargs, name, (unsigned) queues, host, NULL, port);
}

const struct port_type port_type_dpdk = {
    .name = "dpdk",
    .open = dpdk_open,
    .close = ethdev_close,
    .receive = ethdev_receive,
    .transmit = ethdev_transmit,
    .arm = ethdev_arm,
    .disarm = ethdev_disarm,
    .describe = ethdev_describe,
    .statistics = ethdev_statistics,
    .details = ethdev_details,
};

/* ---- type "af_xdp": a network interface by AF_XDP ---- */

static char *af_xdp_open(const json_t *spec, const char *name, const struct port_host *host, struct port **port) {
    json_error_t wrong;
    const char *interface;
    int first = 0, queues = 1;
    if (json_unpack_ex((json_t *) spec, &wrong, JSON_STRICT, "{s:s, s?i, s?i}", "interface", &interface, "first_queue",
                       &first, "queues", &queues))
        return error_make("%s; an af_xdp port takes interface, first_queue and queues", wrong.text);
    if (queues < 1 || queues > PORT_MAX_QUEUES || first < 0 || strpbrk(interface, ",= "))
        return error_make("interface must be a name, first_queue 0 or more, queues 1 to %d", PORT_MAX_QUEUES);
    char devargs[128];
    snprintf(devargs, sizeof devargs, "net_af_xdp_%s,iface=%s,start_queue=%d,queue_count=%d", name, interface, first,
             queues);
    return ethdev_open(&port_type_af_xdp, devargs, name, (unsigned) queues, host, NULL, port);
}

const struct port_type port_type_af_xdp = {
    .name = "af_xdp",
    .open = af_xdp_open,
    .close = ethdev_close,
    .receive = ethdev_receive,
    .transmit = ethdev_transmit,
    .describe = ethdev_describe,
    .statistics = ethdev_statistics,
    .details = ethdev_details,
};
