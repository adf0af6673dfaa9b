/* A traffic generator for two devices of DPDK: packets of a file go out by the first and are counted on the second.
 *
 *   quake-generator [arguments of DPDK] -- --pcap FILE [--rate PACKETS/S] [--seconds S] [--warmup S]
 *
 * It runs on one CPU and stays with the rate it was given (0: as fast as both sides can) on average and within bursts
 * of
 * 32. One packet in a while carries a time stamp in its UDP payload, from which latency is told. On standard output:
 * one JSON object of what was measured after the warm-up. A line "go" on standard output says that both links are up.
 *
 * Packets are sent by reference to templates, so generating costs next to nothing; only stamped ones are written. */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define BURST 32
#define RING 1024
#define POOL 262143
#define MAX_TEMPLATES 200000
#define MAX_SAMPLES 1000000
#define STAMP_AT 42 /* behind Ethernet, IPv4 and UDP headers */
#define STAMP_EVERY_US 100
#define LINK_WAIT_S 30
#define MAGIC UINT64_C(0x7175616b65677631)

struct stamp {
    uint64_t magic, tsc;
};

struct generator {
    struct rte_mempool *pool;
    struct rte_mbuf **templates;
    unsigned n_templates, next;
    double rate, seconds, warmup;
    const char *pcap;
    uint64_t sent, received, last_stamp;
    uint64_t *samples; /* latencies, TSC */
    unsigned n_samples;
    bool measuring;
};

static void die(const char *what) {
    fprintf(stderr, "quake-generator: %s\n", what);
    exit(1);
}

/* ---- Templates ---- */

static struct rte_mbuf *template_read(struct generator *generator, FILE *file, uint32_t length) {
    struct rte_mbuf *packet = rte_pktmbuf_alloc(generator->pool);
    char *data = packet ? rte_pktmbuf_append(packet, (uint16_t) length) : NULL;
    if (!data || fread(data, 1, length, file) != length)
        die("a packet of the file is too long or cut off");
    return packet;
}

static void templates_load(struct generator *generator) {
    FILE *file = fopen(generator->pcap, "rb");
    uint32_t header[6], record[4];
    if (!file || fread(header, sizeof header, 1, file) != 1 || header[0] != 0xa1b2c3d4)
        die("--pcap is no pcap file of this machine's byte order");
    generator->templates = calloc(MAX_TEMPLATES, sizeof(struct rte_mbuf *));
    while (generator->n_templates < MAX_TEMPLATES && fread(record, sizeof record, 1, file) == 1)
        generator->templates[generator->n_templates++] = template_read(generator, file, record[2]);
    fclose(file);
    if (!generator->n_templates)
        die("the file has no packets");
}

/* ---- Devices ---- */

static void device_start(const struct generator *generator, uint16_t id) {
    const struct rte_eth_conf conf = {0};
    if (rte_eth_dev_configure(id, 1, 1, &conf) || rte_eth_rx_queue_setup(id, 0, RING, 0, NULL, generator->pool) ||
        rte_eth_tx_queue_setup(id, 0, RING, 0, NULL) || rte_eth_dev_start(id))
        die("a device does not start");
}

static bool link_is_up(uint16_t id) {
    struct rte_eth_link link = {0};
    return !rte_eth_link_get_nowait(id, &link) && link.link_status;
}

static void await_links(void) {
    uint64_t deadline = rte_rdtsc() + LINK_WAIT_S * rte_get_tsc_hz();
    while (!link_is_up(0) || !link_is_up(1)) {
        if (rte_rdtsc() > deadline)
            die("no link after 30 s: nobody is at the other end");
        rte_delay_us_sleep(1000);
    }
    puts("go");
    fflush(stdout);
}

/* ---- Traffic ---- */

/* A copy of the next template that carries the time. */
static struct rte_mbuf *stamped(struct generator *generator, const struct rte_mbuf *template, uint64_t now) {
    struct rte_mbuf *packet = rte_pktmbuf_copy(template, generator->pool, 0, UINT32_MAX);
    const struct stamp stamp = {MAGIC, now};
    if (packet && packet->data_len >= STAMP_AT + sizeof stamp)
        memcpy(rte_pktmbuf_mtod_offset(packet, void *, STAMP_AT), &stamp, sizeof stamp);
    return packet;
}

static unsigned burst_fill(struct generator *generator, struct rte_mbuf **burst, unsigned n, uint64_t now) {
    for (unsigned i = 0; i < n; i++) {
        struct rte_mbuf *template = generator->templates[generator->next++];
        if (generator->next == generator->n_templates)
            generator->next = 0;
        bool stamp = now - generator->last_stamp > rte_get_tsc_hz() / 1000000 * STAMP_EVERY_US;
        if (stamp && (burst[i] = stamped(generator, template, now))) {
            generator->last_stamp = now;
            continue;
        }
        rte_mbuf_refcnt_update(template, 1);
        burst[i] = template;
    }
    return n;
}

static void send_burst(struct generator *generator, unsigned n, uint64_t now) {
    struct rte_mbuf *burst[BURST];
    burst_fill(generator, burst, n, now);
    unsigned sent = rte_eth_tx_burst(0, 0, burst, (uint16_t) n);
    rte_pktmbuf_free_bulk(burst + sent, n - sent);
    generator->sent += sent;
}

static void look_at(struct generator *generator, const struct rte_mbuf *packet, uint64_t now) {
    struct stamp stamp;
    if (packet->data_len < STAMP_AT + sizeof stamp)
        return;
    memcpy(&stamp, rte_pktmbuf_mtod_offset(packet, const void *, STAMP_AT), sizeof stamp);
    if (stamp.magic == MAGIC && generator->measuring && generator->n_samples < MAX_SAMPLES)
        generator->samples[generator->n_samples++] = now - stamp.tsc;
}

static void receive(struct generator *generator) {
    struct rte_mbuf *burst[BURST];
    unsigned n = rte_eth_rx_burst(1, 0, burst, BURST);
    uint64_t now = rte_rdtsc();
    for (unsigned i = 0; i < n; i++)
        look_at(generator, burst[i], now);
    rte_pktmbuf_free_bulk(burst, n);
    generator->received += n;
}

/* How many packets are due: all one can, or what the rate has earned since `start`, less what was sent. */
static unsigned due(const struct generator *generator, uint64_t since_start, uint64_t sent) {
    if (generator->rate <= 0)
        return BURST;
    double earned = generator->rate * (double) since_start / (double) rte_get_tsc_hz() - (double) sent;
    return earned < 1 ? 0 : earned > BURST ? BURST : (unsigned) earned;
}

/* Packets that could not be sent count as offered: a rate is not made up for later. */
static void run_for(struct generator *generator, double seconds) {
    uint64_t start = rte_rdtsc(), passed = 0, offered = 0;
    uint64_t length = (uint64_t) (seconds * (double) rte_get_tsc_hz());
    while (passed < length) {
        unsigned n = due(generator, passed, offered);
        if (n)
            send_burst(generator, n, start + passed);
        offered += n;
        receive(generator);
        passed = rte_rdtsc() - start;
    }
}

/* ---- The report ---- */

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return (x > y) - (x < y);
}

static double microseconds(const struct generator *generator, double share) {
    if (!generator->n_samples)
        return -1;
    unsigned i = (unsigned) (share * (generator->n_samples - 1));
    return (double) generator->samples[i] * 1e6 / (double) rte_get_tsc_hz();
}

static void report(struct generator *generator, double seconds) {
    qsort(generator->samples, generator->n_samples, sizeof *generator->samples, by_size);
    printf("{\"seconds\": %.6f, \"sent\": %" PRIu64 ", \"received\": %" PRIu64
           ", \"samples\": %u, \"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}\n",
           seconds, generator->sent, generator->received, generator->n_samples, microseconds(generator, 0.5),
           microseconds(generator, 0.99), microseconds(generator, 1));
}

static void measure(struct generator *generator) {
    run_for(generator, generator->warmup);
    generator->sent = generator->received = 0;
    generator->measuring = true;
    puts("measuring");
    fflush(stdout);
    uint64_t start = rte_rdtsc();
    run_for(generator, generator->seconds);
    double seconds = (double) (rte_rdtsc() - start) / (double) rte_get_tsc_hz();
    for (unsigned i = 0; i < 1000; i++) { /* what is still on its way */
        receive(generator);
        rte_delay_us_block(20);
    }
    report(generator, seconds);
}

static void read_options(struct generator *generator, int argc, char **argv) {
    static const struct option options[] = {{"pcap", required_argument, NULL, 'p'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"warmup", required_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'p':
            generator->pcap = optarg;
            break;
        case 'r':
            generator->rate = strtod(optarg, NULL);
            break;
        case 's':
            generator->seconds = strtod(optarg, NULL);
            break;
        case 'w':
            generator->warmup = strtod(optarg, NULL);
            break;
        default:
            exit(2);
        }
    }
    if (!generator->pcap)
        die("--pcap FILE says what to send");
}

int main(int argc, char **argv) {
    struct generator generator = {.seconds = 1, .warmup = 0.5};
    int used = rte_eal_init(argc, argv);
    if (used < 0)
        die("DPDK's environment does not start");
    optind = 1;
    read_options(&generator, argc - used, argv + used);
    if (rte_eth_dev_count_avail() != 2)
        die("there must be two devices: --vdev twice");
    generator.pool = rte_pktmbuf_pool_create("packets", POOL, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    generator.samples = calloc(MAX_SAMPLES, sizeof *generator.samples);
    if (!generator.pool || !generator.samples)
        die("no memory for packets: huge pages, or -m, are too few");
    templates_load(&generator);
    device_start(&generator, 0);
    device_start(&generator, 1);
    await_links();
    measure(&generator);
    rte_eth_dev_stop(0);
    rte_eth_dev_stop(1);
    return 0;
}
