/* quake-forward: the pipeline alone between two DPDK devices on one core, without OpenFlow or a second thread.
 *
 *   quake-forward EAL-ARGUMENTS -- KIND FLOWS [SECONDS]
 *
 * The first --vdev is the source, the second the sink, as with OVS and testpmd beside it (bench/switch/). KIND names
 * the rules (rules.h), for packets of bench/switch/traffic.py. Prints one JSON object: packets per second of this
 * thread's own CPU time, the median and the best of the windows, so that a shared machine does not count against it.
 *
 * Neighbours: rules.c; it links the pipeline as a library, as the tests do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "pipeline/dp.h"
#include "rules.h"

#define WINDOWS 5
#define WARM_S 1.0
#define SPARE_MBUFS 8192
#define RING 1024

static double cpu_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void transmit(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    (void) aux;
    unsigned sent = rte_eth_tx_burst(slot, 0, packets, n);
    if (sent < n) {
        rte_pktmbuf_free_bulk(packets + sent, n - sent);
    }
}

static void start_port(unsigned port, struct rte_mempool *pool) {
    struct rte_eth_conf conf = {0};
    if (rte_eth_dev_configure(port, 1, 1, &conf) || rte_eth_rx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL, pool) ||
        rte_eth_tx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL) || rte_eth_dev_start(port)) {
        rte_exit(EXIT_FAILURE, "port %u cannot be started: give two --vdev that testpmd takes\n", port);
    }
}

/* Forward for `seconds` of CPU time; packets per second of it. */
static double forward(struct dp_worker *worker, double seconds) {
    uint64_t packets = 0;
    double begin = cpu_s(), now;
    do {
        for (unsigned i = 0; i < 4096; i++) {
            struct rte_mbuf *batch[DP_BATCH];
            unsigned n = rte_eth_rx_burst(0, 0, batch, DP_BATCH);
            dp_process(worker, 0, 0, batch, n);
            packets += n;
        }
        now = cpu_s();
    } while (now - begin < seconds);
    return (double) packets / (now - begin);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void report(struct dp *dp, const char *kind, unsigned flows, double rate[WINDOWS]) {
    struct dp_port_stats source, sink;
    struct dp_table_stats table;
    dp_port_stats(dp, 1, &source);
    dp_port_stats(dp, 2, &sink);
    dp_table_stats(dp, 0, &table);
    qsort(rate, WINDOWS, sizeof rate[0], by_value);
    printf("{\"kind\": \"%s\", \"flows\": %u, \"form\": \"%s\", \"mpps\": %.2f, \"best_mpps\": %.2f, \"forwarded\": "
           "%.4f}\n",
           kind, flows, table.form, rate[WINDOWS / 2] / 1e6, rate[WINDOWS - 1] / 1e6,
           (double) sink.tx_packets / (double) (source.rx_packets ? source.rx_packets : 1));
}

int main(int argc, char **argv) {
    int used = rte_eal_init(argc, argv);
    if (used < 0 || argc - used < 3) {
        rte_exit(EXIT_FAILURE, "usage: quake-forward EAL-ARGUMENTS -- KIND FLOWS [SECONDS]; kinds: %s\n",
                 rules_kinds());
    }
    const char *kind = argv[used + 1];
    unsigned flows = strtoul(argv[used + 2], NULL, 10);
    double seconds = argc - used > 3 ? strtod(argv[used + 3], NULL) : 1.0;
    struct rte_mempool *pool =
        rte_pktmbuf_pool_create("packets", flows + SPARE_MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!pool) {
        rte_exit(EXIT_FAILURE, "no memory for %u packets: give more by -m\n", flows + SPARE_MBUFS);
    }
    struct dp *dp = dp_create(1, NULL);
    for (unsigned port = 0; port < 2; port++) {
        start_port(port, pool);
        dp_port_add(dp, &(struct dp_port){.port_no = port + 1});
    }
    if (!rules_load(dp, kind, flows)) {
        rte_exit(EXIT_FAILURE, "%s is no kind of rules; kinds: %s\n", kind, rules_kinds());
    }
    struct dp_worker *worker = dp_worker_create(dp, 0, pool, transmit, NULL);
    double rate[WINDOWS];
    forward(worker, WARM_S);
    for (unsigned i = 0; i < WINDOWS; i++) {
        rate[i] = forward(worker, seconds);
    }
    report(dp, kind, flows, rate);
    dp_worker_destroy(worker);
    dp_destroy(dp);
    return 0;
}
