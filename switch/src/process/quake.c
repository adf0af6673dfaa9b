#include "quake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <rte_mbuf.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/log.h"
#include "../base/loop.h"
#include "../openflow/ofp13.h"
#include "ports.h"
#include "restore.h"

#define TICK_MS 50
#define LOOK_EVERY_MS 100
#define MBUF_CACHE 256
#define FRAME_ROOM 2048

/* ---- What the parts ask of the whole ---- */

static void packet_in(void *aux, const struct dp_packet_in *event) {
    of_packet_in(((struct quake *) aux)->of, event);
}

static void flow_removed(void *aux, const struct dp_flow *flow, enum dp_removed_reason reason) {
    of_flow_removed(((struct quake *) aux)->of, flow, reason);
}

static void port_status(void *aux, const struct dp_port *port, enum dp_port_reason reason) {
    struct quake *quake = aux;
    if (quake->of) /* not yet, or no longer, when ports come first and go last */
        of_port_status(quake->of, port, reason);
}

static void accepted(void *aux, const uint8_t *const *messages, const size_t *lengths, unsigned n) {
    struct quake *quake = aux;
    if (!quake->replaying)
        quake_record_messages(quake, messages, lengths, n);
}

/* A packet-out runs on the worker that polls its in_port, between that port's packets, and before any later change. */
static void packet_out(void *aux, uint32_t in_port, const struct action *actions, unsigned n_actions,
                       const uint8_t *data, size_t len) {
    struct quake *quake = aux;
    struct worker *worker = workers_of_slot(&quake->workers, dp_port_slot(quake->dp, in_port));
    struct rte_mbuf *packet = rte_pktmbuf_alloc(quake->pool);
    char *room = packet && len <= UINT16_MAX ? rte_pktmbuf_append(packet, (uint16_t) len) : NULL;
    if (!room) {
        rte_pktmbuf_free(packet);
        log_warning("a packet-out of %zu bytes was dropped: larger than a buffer, or no buffer free", len);
        return;
    }
    memcpy(room, data, len);
    struct job *job = xmalloc(sizeof *job + n_actions * sizeof *actions);
    *job = (struct job){.type = JOB_EXECUTE, .packet = packet, .in_port = in_port, .n_actions = n_actions};
    memcpy(job->actions, actions, n_actions * sizeof *actions);
    worker_give(worker, job);
    worker_finish_jobs(worker);
}

static void ports_synchronize(void *aux) {
    workers_synchronize(&((struct quake *) aux)->workers);
}

static void ports_send(void *aux, struct port *port, struct rte_mbuf *packet) {
    struct quake *quake = aux;
    struct job *job = xmalloc(sizeof *job);
    *job = (struct job){.type = JOB_SEND, .packet = packet, .port = port};
    worker_give(workers_of_slot(&quake->workers, port->slot), job);
}

static struct port *ports_find(void *aux, const char *name) {
    struct quake_port *entry = quake_port_find(aux, name);
    return entry ? entry->port : NULL;
}

/* ---- Time ---- */

static void dp_ready(void *aux, uint32_t events) {
    (void) events;
    dp_poll(((struct quake *) aux)->dp);
}

static void tick(void *aux) {
    struct quake *quake = aux;
    uint64_t now = loop_now_ms();
    dp_poll(quake->dp);
    if (now / LOOK_EVERY_MS != (now - TICK_MS) / LOOK_EVERY_MS)
        workers_balance(&quake->workers);
    loop_timer_set(quake->tick, now + TICK_MS);
}

static void second(void *aux) {
    struct quake *quake = aux;
    quake_ports_retry(quake);
    loop_timer_set(quake->second, loop_now_ms() + 1000);
}

/* ---- Controllers ---- */

char *quake_controller_add(struct quake *quake, const char *target) {
    const char *refusal = of_controller_add(quake->of, target);
    if (refusal)
        return error_make("controller %s: %s", target, refusal);
    json_array_append_new(quake->controllers, json_string(target));
    quake_record(quake, JOURNAL_CONTROLLER_ADD, target);
    return NULL;
}

void quake_controllers_forget(struct quake *quake, const char *target) {
    for (size_t i = json_array_size(quake->controllers); i--;)
        if (!strcmp(json_string_value(json_array_get(quake->controllers, i)), target))
            json_array_remove(quake->controllers, i);
}

char *quake_controller_remove(struct quake *quake, const char *target) {
    const char *refusal = of_controller_remove(quake->of, target);
    if (refusal)
        return error_make("controller %s: %s", target, refusal);
    quake_controllers_forget(quake, target);
    quake_record(quake, JOURNAL_CONTROLLER_REMOVE, target);
    return NULL;
}

/* ---- Life ---- */

char *quake_prepare(struct quake *quake, const struct config *config) {
    quake->pool = rte_pktmbuf_pool_create("packets", config->mbufs, MBUF_CACHE, 0, FRAME_ROOM + RTE_PKTMBUF_HEADROOM,
                                          SOCKET_ID_ANY);
    if (quake->pool)
        return NULL;
    return error_make("there is no memory for %u packets of %d bytes: lower memory.mbufs or raise memory.mib",
                      config->mbufs, FRAME_ROOM);
}

static char *make_parts(struct quake *quake, const struct config *config) {
    const struct dp_events events = {quake, packet_in, flow_removed, port_status};
    const struct of_description description = {"Tephra", "DPDK " RTE_STR(RTE_VER_YEAR) "." RTE_STR(RTE_VER_MONTH),
                                               "quake " QUAKE_VERSION, "", "quake"};
    const struct of_hooks hooks = {quake, accepted, packet_out};
    quake->controllers = json_array();
    quake->loop = loop_create();
    quake->dp = dp_create(config->datapath_id, &events);
    quake->of = of_create(quake->loop, quake->dp, &description, &hooks);
    quake->host = (struct port_host){.loop = quake->loop,
                                     .pool = quake->pool,
                                     .n_workers = config->n_cpus,
                                     .aux = quake,
                                     .changed = quake_port_changed,
                                     .synchronize = ports_synchronize,
                                     .send = ports_send,
                                     .find = ports_find};
    dp_set_port_hook(quake->dp, quake_port_statistics, quake);
    quake->workers.policy = config->policy;
    return workers_start(&quake->workers, quake->dp, quake->pool, config->cpus, config->n_cpus);
}

/* What the file says; only once in the life of a journal, for later changes are newer. */
static char *configure(struct quake *quake, const struct config *config) {
    size_t i;
    json_t *item;
    char *error = NULL;
    json_array_foreach(config->ports, i, item) if ((error = quake_port_add(quake, item, &(uint32_t){0}))) return error;
    json_array_foreach(config->controllers, i,
                       item) if ((error = quake_controller_add(quake, json_string_value(item)))) return error;
    quake_record(quake, JOURNAL_CONFIGURED, "");
    return NULL;
}

char *quake_start(struct quake *quake, const struct config *config, int journal_fd) {
    quake->started_ms = loop_now_ms();
    quake->journal = journal_open(journal_fd);
    if (!quake->journal)
        return error_make("the journal cannot be mapped: it needs 4 GiB of address space");
    char *error = make_parts(quake, config);
    if (error)
        return error;
    quake->dp_watch = loop_fd_add(quake->loop, dp_wake_fd(quake->dp), EPOLLIN, dp_ready, quake);
    quake->tick = loop_timer_add(quake->loop, loop_now_ms() + TICK_MS, tick, quake);
    quake->second = loop_timer_add(quake->loop, loop_now_ms() + 1000, second, quake);
    if (config->tls_key) {
        const struct of_tls tls = {config->tls_key, config->tls_certificate, config->tls_ca};
        const char *refusal = of_set_tls(quake->of, &tls);
        if (refusal)
            return error_make("tls: %s", refusal);
    }
    return quake_restore(quake) ? NULL : configure(quake, config);
}

void quake_stop(struct quake *quake) {
    loop_timer_remove(quake->tick);
    loop_timer_remove(quake->second);
    loop_fd_remove(quake->dp_watch);
    quake_compact_now(quake);
    of_destroy(quake->of);
    quake->of = NULL;
    quake_ports_close(quake);
    workers_stop(&quake->workers);
    dp_destroy(quake->dp);
    json_decref(quake->controllers);
    journal_close(quake->journal);
    loop_destroy(quake->loop);
}
