/* A client of a switch that sends into its devices what they take, and drops what comes out of them, until it is
 * killed.
 *
 *   quake-flood [arguments of DPDK]        # --vdev=net_memif0,... or --vdev=net_virtio_user0,..., once or more
 *
 * It is small (`--no-huge -m 32` is enough) and soon up, so that tests can kill a thousand of them. On standard output:
 * "starting" when it is about to share its memory and rings with the switch, and "flooding" when the switch has taken
 * more packets of each device than any ring holds, so that it is sure to be reading. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#define BURST 32
#define RING 256
#define POOL 4095
#define LENGTH 60
#define CERTAIN 2048 /* packets */
#define NAP_US 20
#define EXPERIMENTAL 0x88b5 /* the EtherType for local experiments */

static void die(const char *what) {
    fprintf(stderr, "quake-flood: %s\n", what);
    exit(1);
}

static void say(const char *line) {
    puts(line);
    fflush(stdout);
}

static void device_start(uint16_t id, struct rte_mempool *pool) {
    const struct rte_eth_conf conf = {0};
    if (rte_eth_dev_configure(id, 1, 1, &conf) || rte_eth_rx_queue_setup(id, 0, RING, 0, NULL, pool) ||
        rte_eth_tx_queue_setup(id, 0, RING, 0, NULL) || rte_eth_dev_start(id))
        die("a device does not start");
}

static struct rte_mbuf *frame_of(uint16_t id, struct rte_mempool *pool) {
    struct rte_mbuf *packet = rte_pktmbuf_alloc(pool);
    struct rte_ether_hdr *ethernet = packet ? (void *) rte_pktmbuf_append(packet, LENGTH) : NULL;
    if (!ethernet)
        return NULL;
    memset(ethernet, 0, LENGTH);
    ethernet->dst_addr.addr_bytes[0] = ethernet->src_addr.addr_bytes[0] = 2; /* locally administered */
    ethernet->src_addr.addr_bytes[5] = (uint8_t) id;
    ethernet->ether_type = RTE_BE16(EXPERIMENTAL);
    return packet;
}

/* Returns how many packets the device took. */
static unsigned send_burst(uint16_t id, struct rte_mempool *pool) {
    struct rte_mbuf *burst[BURST];
    unsigned n = 0;
    while (n < BURST && (burst[n] = frame_of(id, pool)))
        n++;
    unsigned sent = rte_eth_tx_burst(id, 0, burst, (uint16_t) n);
    rte_pktmbuf_free_bulk(burst + sent, n - sent);
    return sent;
}

static void take_burst(uint16_t id) {
    struct rte_mbuf *burst[BURST];
    rte_pktmbuf_free_bulk(burst, rte_eth_rx_burst(id, 0, burst, BURST));
}

/* One burst each way on every device; naps when none of them took a packet. */
static void one_round(uint64_t *sent, struct rte_mempool *pool) {
    unsigned taken = 0;
    uint16_t id;
    RTE_ETH_FOREACH_DEV(id) {
        unsigned n = send_burst(id, pool);
        sent[id] += n;
        taken += n;
        take_burst(id);
    }
    if (!taken)
        rte_delay_us_sleep(NAP_US);
}

static bool all_sent(const uint64_t *sent) {
    bool all = true;
    uint16_t id;
    RTE_ETH_FOREACH_DEV(id)
    all &= sent[id] >= CERTAIN;
    return all;
}

static void flood(struct rte_mempool *pool) {
    uint64_t sent[RTE_MAX_ETHPORTS] = {0};
    while (!all_sent(sent))
        one_round(sent, pool);
    say("flooding");
    for (;;)
        one_round(sent, pool);
}

int main(int argc, char **argv) {
    if (rte_eal_init(argc, argv) < 0)
        die("DPDK's environment does not start");
    struct rte_mempool *pool = rte_pktmbuf_pool_create("packets", POOL, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!pool)
        die("no memory for packets: -m 32 is enough");
    say("starting");
    uint16_t id;
    RTE_ETH_FOREACH_DEV(id)
    device_start(id, pool);
    flood(pool);
}
