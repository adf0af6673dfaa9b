/* A switch without port drivers for tests in other languages: a datapath with ports that lead nowhere, one worker that
 * passes quiescent states as fast as it can, and openflow/ on the target given.
 *
 *   openflow_server TARGET [PORTS]      runs until its standard input ends; prints "ready" once it listens or connects
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "base/loop.h"
#include "openflow/of.h"
#include "openflow/ofp13.h"

struct server {
    struct loop *loop;
    struct dp *dp;
    struct of *of;
    struct dp_worker *worker;
    atomic_bool stop;
    struct loop_timer *poll;
};

static void packet_in(void *aux, const struct dp_packet_in *event) {
    of_packet_in(((struct server *) aux)->of, event);
}

static void flow_removed(void *aux, const struct dp_flow *flow, enum dp_removed_reason reason) {
    of_flow_removed(((struct server *) aux)->of, flow, reason);
}

static void port_status(void *aux, const struct dp_port *port, enum dp_port_reason reason) {
    if (((struct server *) aux)->of)
        of_port_status(((struct server *) aux)->of, port, reason);
}

static void transmit(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    (void) aux, (void) slot;
    rte_pktmbuf_free_bulk(packets, n);
}

static void *work(void *aux) {
    struct server *server = aux;
    dp_worker_online(server->worker);
    while (!atomic_load_explicit(&server->stop, memory_order_relaxed))
        dp_worker_quiescent(server->worker);
    dp_worker_offline(server->worker);
    return NULL;
}

static void poll_dp(void *aux) {
    struct server *server = aux;
    dp_poll(server->dp);
    loop_timer_set(server->poll, loop_now_ms() + 20);
}

static void input_ended(void *aux, uint32_t events) {
    char byte;
    (void) events;
    if (read(STDIN_FILENO, &byte, 1) <= 0)
        loop_stop(((struct server *) aux)->loop);
}

static void add_ports(struct server *server, unsigned n) {
    for (uint32_t i = 1; i <= n; i++) {
        struct dp_port port = {.port_no = i, .hw_addr = {2, 0, 0, 0, 0, (uint8_t) i}, .state = OFPPS_LIVE};
        snprintf(port.name, sizeof port.name, "p%u", i);
        dp_port_add(server->dp, &port);
    }
}

static int serve(struct server *server, const char *target) {
    pthread_t thread;
    const char *wrong = of_controller_add(server->of, target);
    if (wrong) {
        fprintf(stderr, "%s\n", wrong);
        return 1;
    }
    pthread_create(&thread, NULL, work, server);
    loop_fd_add(server->loop, STDIN_FILENO, EPOLLIN, input_ended, server);
    server->poll = loop_timer_add(server->loop, 0, poll_dp, server);
    puts("ready");
    fflush(stdout);
    loop_run(server->loop);
    atomic_store(&server->stop, true);
    pthread_join(thread, NULL);
    return 0;
}

int main(int argc, char **argv) {
    struct server server = {0};
    struct dp_events events = {&server, packet_in, flow_removed, port_status};
    struct of_description description = {"Tephra", "none", "quake", "0", "openflow_server"};
    struct of_hooks hooks = {0};
    if (argc < 2) {
        fprintf(stderr, "openflow_server TARGET [PORTS]\n");
        return 2;
    }
    server.loop = loop_create();
    server.dp = dp_create(1, &events);
    server.worker = dp_worker_create(server.dp, 0, NULL, transmit, NULL);
    add_ports(&server, argc > 2 ? (unsigned) strtoul(argv[2], NULL, 10) : 4);
    server.of = of_create(server.loop, server.dp, &description, &hooks);
    int status = serve(&server, argv[1]);
    of_destroy(server.of);
    dp_worker_destroy(server.worker);
    dp_destroy(server.dp);
    loop_destroy(server.loop);
    return status;
}
