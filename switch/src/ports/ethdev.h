/* Ports that are devices of DPDK, by their devargs: "net_pcap0,rx_pcap=FILE,infinite_rx=1", "0000:03:00.0", ...
 *
 * vhost.c builds upon this for its wake-ups. */
#ifndef QUAKE_PORTS_ETHDEV_H
#define QUAKE_PORTS_ETHDEV_H 1

#include "port.h"

struct ethdev {
    struct port up; /* first */
    uint16_t id;    /* DPDK's number of the device */
    bool physical;
    int event_fd; /* written by DPDK's threads when the link changes */
    struct loop_fd *watch;
    rte_spinlock_t vhost_lock;
    int vhost_id;                           /* rte_vhost's number of the connection, -1 without one; under vhost_lock */
    void (*on_link)(struct ethdev *device); /* on whatever thread tells of the change; may be NULL */
};

/* Probes the device, configures and starts `queues` queues (as many as it has, if fewer). */
char *ethdev_open(const struct port_type *type, const char *devargs, const char *name, unsigned queues,
                  const struct port_host *host, void (*on_link)(struct ethdev *device), struct port **port);
void ethdev_close(struct port *port);
unsigned ethdev_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n);
unsigned ethdev_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n);
void ethdev_describe(struct port *port, struct dp_port *description);
void ethdev_statistics(struct port *port, struct dp_port_stats *statistics);
json_t *ethdev_details(struct port *port);

#endif
