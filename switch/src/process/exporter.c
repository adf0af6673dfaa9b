#include "exporter.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_mempool.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "clients.h"
#include "quake.h"

#define MAX_REQUEST 8192
#define MAX_SCRAPERS 16
#define PATIENCE_MS 1000 /* a worker that made no round for as long is not alive */

struct exporter {
    struct quake *quake;
    struct clients *scrapers;
    struct loop_timer *look;
    uint64_t rounds[DP_MAX_WORKERS]; /* at the last look */
    bool alive;
};

/* ---- Text ---- */

static void put(struct buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct buf *out, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_put(out, text, (size_t) (n < (int) sizeof text ? n : (int) sizeof text - 1));
}

static void head(struct buf *out, const char *name, const char *type, const char *help) {
    put(out, "# HELP quake_%s %s\n# TYPE quake_%s %s\n", name, help, name, type);
}

typedef unsigned long long ull;

struct port_metric {
    const char *name, *help;
    size_t offset; /* in struct dp_port_stats */
};

static const struct port_metric PORT_METRICS[] = {
    {"port_rx_packets_total", "Packets received.", offsetof(struct dp_port_stats, rx_packets)},
    {"port_rx_bytes_total", "Bytes received.", offsetof(struct dp_port_stats, rx_bytes)},
    {"port_rx_dropped_total", "Packets the device dropped before they were read.",
     offsetof(struct dp_port_stats, rx_dropped)},
    {"port_rx_errors_total", "Frames that could not be read.", offsetof(struct dp_port_stats, rx_errors)},
    {"port_tx_packets_total", "Packets that the pipeline output to the port.",
     offsetof(struct dp_port_stats, tx_packets)},
    {"port_tx_bytes_total", "Bytes that the pipeline output to the port.", offsetof(struct dp_port_stats, tx_bytes)},
    {"port_tx_dropped_total", "Packets that the device did not take.", offsetof(struct dp_port_stats, tx_dropped)},
    {"port_tx_errors_total", "Packets that the device failed to send.", offsetof(struct dp_port_stats, tx_errors)},
};

static void put_ports(struct quake *quake, struct buf *out) {
    for (size_t m = 0; m < sizeof PORT_METRICS / sizeof *PORT_METRICS; m++) {
        head(out, PORT_METRICS[m].name, "counter", PORT_METRICS[m].help);
        for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
            const struct quake_port *entry = &quake->ports[i];
            struct dp_port_stats stats;
            if (!entry->number)
                continue;
            dp_port_stats(quake->dp, entry->number, &stats);
            uint64_t value = *(const uint64_t *) ((const char *) &stats + PORT_METRICS[m].offset);
            put(out, "quake_%s{port=\"%s\",number=\"%u\"} %llu\n", PORT_METRICS[m].name, entry->name, entry->number,
                (ull) value);
        }
    }
    head(out, "port_up", "gauge", "1 while the port's link is up.");
    for (unsigned i = 0; i < DP_MAX_PORTS; i++)
        if (quake->ports[i].number)
            put(out, "quake_port_up{port=\"%s\",number=\"%u\"} %d\n", quake->ports[i].name, quake->ports[i].number,
                quake->ports[i].port && !(dp_port_get(quake->dp, quake->ports[i].number)->state & 1));
}

static void put_tables(struct quake *quake, struct buf *out) {
    head(out, "table_rules", "gauge", "Rules in the table.");
    for (unsigned id = 0; id < DP_TABLES; id++) {
        struct dp_table_stats stats;
        dp_table_stats(quake->dp, (uint8_t) id, &stats);
        if (stats.active || stats.lookups)
            put(out,
                "quake_table_rules{table=\"%u\"} %u\nquake_table_lookups_total{table=\"%u\"} %llu\n"
                "quake_table_matched_total{table=\"%u\"} %llu\n",
                id, stats.active, id, (ull) stats.lookups, id, (ull) stats.matched);
    }
}

static void put_workers(struct quake *quake, struct buf *out) {
    head(out, "worker_packets_total", "counter", "Packets that the worker received.");
    for (unsigned i = 0; i < quake->workers.n; i++) {
        const struct worker *worker = &quake->workers.worker[i];
        const struct worker_counters *c = &worker->counters;
        put(out, "quake_worker_packets_total{worker=\"%u\"} %llu\n", i, (ull) c->packets);
        put(out, "quake_worker_naps_total{worker=\"%u\"} %llu\n", i, (ull) c->naps);
        put(out, "quake_worker_blocks_total{worker=\"%u\"} %llu\n", i, (ull) c->blocks);
        put(out, "quake_worker_busy_seconds_total{worker=\"%u\"} %.3f\n", i,
            (double) c->busy_cycles / (double) rte_get_tsc_hz());
        put(out, "quake_worker_state{worker=\"%u\",state=\"%s\"} 1\n", i, worker_state_name(worker));
    }
}

static void put_controller(void *aux, const struct of_connection_view *view) {
    put(aux, "quake_controller_up{target=\"%s\",role=\"%s\"} %d\n", view->target, view->role,
        !strcmp(view->state, "connected"));
}

static void put_metrics(struct quake *quake, struct buf *out) {
    put_ports(quake, out);
    put_tables(quake, out);
    put_workers(quake, out);
    head(out, "controller_up", "gauge", "1 while the controller is connected.");
    of_connection_each(quake->of, put_controller, out);
    head(out, "buffers_free", "gauge", "Packet buffers that are free.");
    put(out, "quake_buffers_free %u\n", rte_mempool_avail_count(quake->pool));
    head(out, "journal_bytes", "gauge", "Size of the journal that a restarted worker begins from.");
    put(out, "quake_journal_bytes %zu\n", journal_size(quake->journal));
    head(out, "restored", "gauge", "1 if this process took over a predecessor's state.");
    put(out, "quake_restored %d\n", quake->restored);
}

/* ---- Probes ---- */

static void look(void *aux) {
    struct exporter *exporter = aux;
    const struct workers *workers = &exporter->quake->workers;
    exporter->alive = true;
    for (unsigned i = 0; i < workers->n; i++) {
        uint64_t rounds = atomic_load_explicit(&workers->worker[i].counters.rounds, memory_order_relaxed);
        bool rests = atomic_load(&workers->worker[i].state) != WORKER_RUNNING;
        exporter->alive &= rests || rounds != exporter->rounds[i];
        exporter->rounds[i] = rounds;
    }
    loop_timer_set(exporter->look, loop_now_ms() + PATIENCE_MS);
}

static void count_connected(void *aux, const struct of_connection_view *view) {
    *(unsigned *) aux += !strcmp(view->state, "connected");
}

static bool ready(struct exporter *exporter) {
    unsigned connected = 0;
    of_connection_each(exporter->quake->of, count_connected, &connected);
    return exporter->alive && (connected || !json_array_size(exporter->quake->controllers));
}

/* ---- HTTP ---- */

static void respond(struct exporter *exporter, const char *request, struct buf *out) {
    struct buf body = {0};
    const char *status = "200 OK";
    if (!strncmp(request, "GET /metrics ", 13))
        put_metrics(exporter->quake, &body);
    else if (!strncmp(request, "GET /healthz ", 13))
        status = exporter->alive ? status : "503 Service Unavailable";
    else if (!strncmp(request, "GET /readyz ", 12))
        status = ready(exporter) ? status : "503 Service Unavailable";
    else
        status = "404 Not Found";
    put(out,
        "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
        status, buf_len(&body));
    buf_put(out, buf_data(&body), buf_len(&body));
    buf_free(&body);
}

static void take_request(void *aux, struct buf *in, struct buf *out) {
    buf_put(in, "", 1);
    const char *text = (const char *) buf_data(in);
    if (strstr(text, "\r\n\r\n") || strstr(text, "\n\n"))
        respond(aux, text, out);
    in->end--;
}

static const struct clients_kind SCRAPERS = {
    .name = "metrics", .most = MAX_SCRAPERS, .longest = MAX_REQUEST, .once = true, .take = take_request};

static int listen_at(const char *host, const char *port, char **error) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
    struct addrinfo *found;
    int failed = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (failed) {
        *error = error_make("metrics: %s:%s is no numeric address: %s", host, port, gai_strerror(failed));
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 16)) {
        *error = error_make("metrics: cannot listen at %s:%s: %s", host, port, strerror(errno));
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

char *exporter_open(struct quake *quake, const char *address, struct exporter **result) {
    char host[128];
    const char *colon = strrchr(address, ':');
    if (!colon || colon - address >= (ptrdiff_t) sizeof host)
        return error_make("metrics is \"%s\"; it is HOST:PORT", address);
    bool brackets = *address == '[' && colon > address + 1 && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int) (colon - address) - 2 * brackets, address + brackets);
    char *error = NULL;
    int fd = listen_at(host, colon + 1, &error);
    if (fd < 0)
        return error;
    struct exporter *exporter = xzalloc(sizeof *exporter);
    *exporter = (struct exporter){.quake = quake, .alive = true};
    exporter->scrapers = clients_create(quake->loop, fd, &SCRAPERS, exporter);
    exporter->look = loop_timer_add(quake->loop, loop_now_ms() + PATIENCE_MS, look, exporter);
    *result = exporter;
    return NULL;
}

void exporter_close(struct exporter *exporter) {
    clients_destroy(exporter->scrapers);
    loop_timer_remove(exporter->look);
    free(exporter);
}
