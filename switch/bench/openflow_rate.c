/* How fast one OpenFlow 1.3 connection gets flows into a switch: any switch that listens or connects.
 *
 *   quake-openflow-rate TARGET [--flows N] [--singles N] [--table T] [--port P] [--bundle] [--clear]
 *
 * TARGET is unix:PATH or tcp:HOST:PORT of a switch that listens. Three measurements, printed as one JSON object:
 *   flows_per_s     N flow-mods (exact dl_dst and in_port, one output) and one barrier, wall-clock from the first byte
 *                   sent to the barrier's reply; with --bundle, in an atomic ONF bundle, up to its commit's reply
 *   present         what the switch itself counts afterwards (aggregate statistics)
 *   single_us       one flow and a barrier at a time: p50, p99, max of the round trip in microseconds
 * The flows have a cookie of their own, so rules of others in the table stay as they are and are not counted.
 * An error message from the switch ends it with status 1 and says which. */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "openflow/experimenter.h"
#include "openflow/wire.h"
#include "packet/field.h"

struct options {
    const char *target;
    uint32_t flows, singles, port;
    uint8_t table;
    bool bundle, clear;
};

#define COOKIE UINT64_C(0x6f665f7261746500) /* "of_rate" */

struct flow_message {
    struct ofp_flow_mod mod;
    struct ofp_match match;
    be32 in_port_oxm, in_port, dl_dst_oxm;
    uint8_t dl_dst[OFP_ETH_ALEN];
    uint8_t pad[2];
    struct ofp_instruction apply;
    struct ofp_action_output output;
} WIRE;
static_assert(sizeof(struct flow_message) % 8 == 0, "messages of a bundle are aligned");

static void die(const char *what) {
    fprintf(stderr, "quake-openflow-rate: %s: %s\n", what, errno ? strerror(errno) : "not as expected");
    exit(1);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

/* ---- The connection ---- */

static int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *) &address, sizeof address) < 0)
        die(path);
    return fd;
}

static int connect_tcp(const char *endpoint) {
    char host[256];
    const char *colon = strrchr(endpoint, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (!colon)
        die("a tcp: target is tcp:HOST:PORT");
    snprintf(host, sizeof host, "%.*s", (int) (colon - endpoint), endpoint);
    if (getaddrinfo(host, colon + 1, &hints, &found))
        die(endpoint);
    int on = 1, fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen) < 0)
        die(endpoint);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    freeaddrinfo(found);
    return fd;
}

static void send_all(int fd, const void *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const uint8_t *) data + at, len - at, MSG_NOSIGNAL);
        if (n <= 0)
            die("sending");
        at += (size_t) n;
    }
}

static void receive_all(int fd, void *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = recv(fd, (uint8_t *) data + at, len - at, 0);
        if (n <= 0)
            die("the switch closed the connection");
        at += (size_t) n;
    }
}

static void send_plain(int fd, uint8_t type, uint32_t xid) {
    struct ofp_header header = {OFP_VERSION, type, htobe16(sizeof header), htobe32(xid)};
    send_all(fd, &header, sizeof header);
}

/* The next message of `type`; answers echo requests, passes over what nobody asked for, dies of errors. */
static const struct ofp_header *await(int fd, uint8_t type, uint8_t *message) {
    for (;;) {
        struct ofp_header *header = (struct ofp_header *) message;
        receive_all(fd, header, sizeof *header);
        receive_all(fd, header + 1, be16toh(header->length) - sizeof *header);
        if (header->type == type)
            return header;
        if (header->type == OFPT_ECHO_REQUEST)
            send_plain(fd, OFPT_ECHO_REPLY, be32toh(header->xid));
        if (header->type == OFPT_ERROR) {
            const struct ofp_error_msg *error = (const struct ofp_error_msg *) header;
            fprintf(stderr, "quake-openflow-rate: error type %u code %u\n", be16toh(error->type), be16toh(error->code));
            exit(1);
        }
    }
}

static void barrier(int fd) {
    uint8_t message[OFP_MAX_MESSAGE];
    send_plain(fd, OFPT_BARRIER_REQUEST, 1);
    await(fd, OFPT_BARRIER_REPLY, message);
}

/* ---- Messages ---- */

static struct flow_message template_message(const struct options *options) {
    struct flow_message m = {
        .mod = {.header = {OFP_VERSION, OFPT_FLOW_MOD, htobe16(sizeof m), htobe32(2)},
                .cookie = htobe64(COOKIE),
                .table_id = options->table,
                .priority = htobe16(100),
                .buffer_id = htobe32(OFP_NO_BUFFER),
                .out_port = htobe32(OFPP_ANY),
                .out_group = htobe32(OFPG_ANY)},
        .match = {htobe16(OFPMT_OXM), htobe16(22)},
        .in_port_oxm = htobe32(0x80000000u | FIELD_IN_PORT << 9 | 4),
        .in_port = htobe32(options->port),
        .dl_dst_oxm = htobe32(0x80000000u | FIELD_ETH_DST << 9 | 6),
        .apply = {.type = htobe16(OFPIT_APPLY_ACTIONS), .len = htobe16(24)},
        .output = {.header = {.type = htobe16(OFPAT_OUTPUT), .len = htobe16(16), .port = htobe32(options->port + 1)}},
    };
    return m;
}

static void name_flow(struct flow_message *m, uint32_t i) {
    const uint8_t mac[OFP_ETH_ALEN] = {2, 0, (uint8_t) (i >> 24), (uint8_t) (i >> 16), (uint8_t) (i >> 8), (uint8_t) i};
    memcpy(m->dl_dst, mac, sizeof mac);
}

static void put_bundle_control(struct buf *out, unsigned type) {
    struct onf_bundle_control m = {
        .header = {{OFP_VERSION, OFPT_EXPERIMENTER, htobe16(sizeof m), htobe32(2)},
                   htobe32(ONF_EXPERIMENTER_ID),
                   htobe32(ONF_BUNDLE_CONTROL)},
        .bundle_id = htobe32(1),
        .type = htobe16((uint16_t) type),
        .flags = htobe16(OFPBF_ATOMIC | OFPBF_ORDERED),
    };
    buf_put(out, &m, sizeof m);
}

static void put_bundle_add(struct buf *out, size_t inner) {
    struct onf_bundle_add_message m = {
        .header = {{OFP_VERSION, OFPT_EXPERIMENTER, htobe16((uint16_t) (sizeof m + inner)), htobe32(2)},
                   htobe32(ONF_EXPERIMENTER_ID),
                   htobe32(ONF_BUNDLE_ADD_MESSAGE)},
        .bundle_id = htobe32(1),
        .flags = htobe16(OFPBF_ATOMIC | OFPBF_ORDERED),
    };
    buf_put(out, &m, sizeof m);
}

static void build_batch(const struct options *options, struct buf *out) {
    struct flow_message m = template_message(options);
    if (options->bundle)
        put_bundle_control(out, OFPBCT_OPEN_REQUEST);
    for (uint32_t i = 0; i < options->flows; i++) {
        if (options->bundle)
            put_bundle_add(out, sizeof m);
        name_flow(&m, i);
        buf_put(out, &m, sizeof m);
    }
    if (options->bundle)
        put_bundle_control(out, OFPBCT_COMMIT_REQUEST);
}

/* ---- Measurements ---- */

struct sender {
    int fd;
    const struct buf *batch;
};

static void *send_batch(void *aux) {
    struct sender *sender = aux;
    send_all(sender->fd, buf_data(sender->batch), buf_len(sender->batch));
    send_plain(sender->fd, OFPT_BARRIER_REQUEST, 1);
    return NULL;
}

/* Sends from a second thread, so that whatever the switch says meanwhile is read. */
static double measure_batch(int fd, const struct options *options) {
    struct buf batch = {0};
    uint8_t message[OFP_MAX_MESSAGE];
    pthread_t thread;
    build_batch(options, &batch);
    struct sender sender = {fd, &batch};
    double start = now_us();
    pthread_create(&thread, NULL, send_batch, &sender);
    await(fd, OFPT_BARRIER_REPLY, message);
    double seconds = (now_us() - start) / 1e6;
    pthread_join(thread, NULL);
    buf_free(&batch);
    return options->flows / seconds;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return x < y ? -1 : x > y;
}

static void measure_singles(int fd, const struct options *options, double *us) {
    uint8_t message[OFP_MAX_MESSAGE];
    struct {
        struct flow_message flow;
        struct ofp_header barrier;
    } WIRE both = {template_message(options), {OFP_VERSION, OFPT_BARRIER_REQUEST, htobe16(8), htobe32(1)}};
    for (uint32_t i = 0; i < options->singles; i++) {
        name_flow(&both.flow, UINT32_C(0x80000000) + i);
        double start = now_us();
        send_all(fd, &both, sizeof both);
        await(fd, OFPT_BARRIER_REPLY, message);
        us[i] = now_us() - start;
    }
    qsort(us, options->singles, sizeof *us, by_value);
}

static uint32_t count_flows(int fd, const struct options *options) {
    uint8_t message[OFP_MAX_MESSAGE];
    struct {
        struct ofp_multipart header;
        struct ofp_flow_stats_request body;
        struct ofp_match match;
        uint8_t pad[4];
    } WIRE request = {
        {{OFP_VERSION, OFPT_MULTIPART_REQUEST, htobe16(sizeof request), htobe32(3)}, htobe16(OFPMP_AGGREGATE), 0, {0}},
        {.table_id = options->table,
         .out_port = htobe32(OFPP_ANY),
         .out_group = htobe32(OFPG_ANY),
         .cookie = htobe64(COOKIE),
         .cookie_mask = UINT64_MAX},
        {htobe16(OFPMT_OXM), htobe16(4)},
        {0}};
    send_all(fd, &request, sizeof request);
    const uint8_t *reply = (const uint8_t *) await(fd, OFPT_MULTIPART_REPLY, message);
    return be32toh(((const struct ofp_aggregate_stats_reply *) (reply + sizeof(struct ofp_multipart)))->flow_count);
}

static void clear_table(int fd, const struct options *options) {
    struct {
        struct ofp_flow_mod mod;
        struct ofp_match match;
        uint8_t pad[4];
    } WIRE m = {template_message(options).mod, {htobe16(OFPMT_OXM), htobe16(4)}, {0}};
    m.mod.header.length = htobe16(sizeof m);
    m.mod.command = OFPFC_DELETE;
    m.mod.cookie_mask = UINT64_MAX;
    send_all(fd, &m, sizeof m);
    barrier(fd);
}

static void run(int fd, const struct options *options) {
    uint8_t message[OFP_MAX_MESSAGE];
    double *us = xzalloc((options->singles + 1) * sizeof *us);
    send_plain(fd, OFPT_HELLO, 1);
    await(fd, OFPT_HELLO, message);
    clear_table(fd, options);
    double rate = measure_batch(fd, options);
    measure_singles(fd, options, us);
    uint32_t n = options->singles ? options->singles - 1 : 0;
    printf("{\"flows\": %" PRIu32 ", \"bundle\": %s, \"flows_per_s\": %.0f, \"present\": %" PRIu32
           ", \"single_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}}\n",
           options->flows, options->bundle ? "true" : "false", rate, count_flows(fd, options), us[n / 2],
           us[(size_t) n * 99 / 100], us[n]);
    if (options->clear)
        clear_table(fd, options);
    free(us);
}

static void usage(void) {
    fprintf(stderr, "quake-openflow-rate TARGET [--flows N] [--singles N] [--table T] [--port P] [--bundle] [--clear]\n");
    exit(2);
}

static uint32_t number(const char *text) {
    char *end;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;
    if (!text || *end || value > UINT32_MAX)
        usage();
    return (uint32_t) value;
}

static struct options parse(char **argv) {
    struct options options = {.flows = 100000, .singles = 10000, .port = 1};
    for (char **arg = argv + 1; *arg; arg++) {
        if (!strcmp(*arg, "--bundle"))
            options.bundle = true;
        else if (!strcmp(*arg, "--clear"))
            options.clear = true;
        else if (!strcmp(*arg, "--flows"))
            options.flows = number(*++arg);
        else if (!strcmp(*arg, "--singles"))
            options.singles = number(*++arg);
        else if (!strcmp(*arg, "--table"))
            options.table = (uint8_t) number(*++arg);
        else if (!strcmp(*arg, "--port"))
            options.port = number(*++arg);
        else if (**arg == '-' || options.target)
            usage();
        else
            options.target = *arg;
    }
    return options;
}

int main(int argc, char **argv) {
    struct options options = parse(argv);
    (void) argc;
    if (!options.target)
        usage();
    int fd = !strncmp(options.target, "unix:", 5)  ? connect_unix(options.target + 5)
             : !strncmp(options.target, "tcp:", 4) ? connect_tcp(options.target + 4)
                                                   : -1;
    if (fd < 0)
        usage();
    run(fd, &options);
    close(fd);
    return 0;
}
