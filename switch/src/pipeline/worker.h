/* A worker's own state: the batch under way, the queues of what goes out, and its counters. Private to pipeline/.
 *
 * A batch is run table by table, not packet by packet: packets wait on the list of the table that they are to visit
 * next, and the lists are served in ascending order, which is the only way that goto leads. So each table is looked up
 * once for all packets of a batch that visit it.
 *
 * Neighbours: worker.c owns it and runs tables; execute.c interprets actions; upcall.h carries packet-ins; trace.c runs
 * a worker of its own that sends nothing. */
#ifndef QUAKE_PIPELINE_WORKER_H
#define QUAKE_PIPELINE_WORKER_H 1

#include <stdalign.h>

#include "datapath.h"
#include "group.h"
#include "upcall.h"

#include "../packet/packet.h"

#define TX_MAX 64
#define NO_COOKIE UINT64_MAX
#define COPIES_MAX 4096U

/* A packet on its way through the tables. The first line is all that a rule on ports, metadata and tunnel touches, the
 * first two all that a rule on Ethernet addresses does. */
struct packet {
    alignas(64) struct rte_mbuf *mbuf;
    uint32_t have; /* bit i: flow.word[i] is right; this and the next four are set by one store */
    uint8_t n_set; /* length of the action set */
    bool layers_known;
    bool waits;                 /* packet-out: the packet was put before table 0 */
    uint8_t table_id;           /* of `rule` */
    const struct dp_flow *rule; /* whose program is interpreted; NULL in a packet-out */
    struct layers layers;
    uint8_t index; /* in the batch; never changes */
    alignas(8) struct flow flow;
};

struct tx_queue {
    unsigned n;
    uint64_t bytes; /* of all `n` */
    struct rte_mbuf *mbuf[TX_MAX];
};

struct slot_stats { /* one writer */
    uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes, tx_dropped;
};

struct table_counter {
    uint64_t lookups, matched;
};

struct dp_worker {
    struct dp *dp;
    unsigned id;
    struct rte_mempool *pool;
    dp_transmit *transmit;
    void *aux;
    /* the batch */
    const struct dp_state *state;
    int in_slot;       /* of all packets of the batch; NO_SLOT: from the controller */
    uint64_t now_ns;   /* 0: the clock has not been read yet */
    unsigned copies;   /* made of the packet by the rule that is interpreted */
    uint64_t visit[4]; /* bit t: list[t] is not empty */
    uint8_t n_list[DP_TABLES];
    uint8_t list[DP_TABLES][DP_BATCH]; /* indices into packets */
    unsigned n_packets;
    struct packet packets[DP_BATCH];
    struct packet *all[DP_BATCH]; /* &packets[i], and its flow, for the table that all of a batch visit */
    const struct flow *all_flows[DP_BATCH];
    const struct action *set[DP_BATCH][ACTION_SET_MAX]; /* action sets, by index */
    /* what goes out */
    uint64_t tx_used[DP_MAX_PORTS / 64];
    struct tx_queue tx[DP_MAX_PORTS];
    /* counters */
    struct counters counters;
    struct slot_stats slots[DP_MAX_PORTS];
    struct table_counter tables[DP_TABLES];
    struct upcall_ring upcalls;
    struct trace *trace; /* NULL on the packet path */
};

/* The words of a flow that do not come from the packet. */
#define PIPELINE_WORDS (1U << FW_PORTS | 1U << FW_METADATA | 1U << FW_TUNNEL)
#define ALL_WORDS ((1U << FLOW_WORDS) - 1)

/* worker.c */
void worker_visit(struct dp_worker *w, uint8_t table_id, unsigned index); /* the packet waits for the table */
void worker_send(struct dp_worker *w, int slot, struct rte_mbuf *mbuf);   /* takes it */
void worker_drop(struct dp_worker *w, struct rte_mbuf *mbuf);
void packet_need(struct packet *p, uint32_t words); /* see to it that flow has `words` */
void packet_need_layers(struct packet *p);
uint64_t worker_now_ns(struct dp_worker *w);
void worker_trace(struct dp_worker *w, uint32_t in_port, uint64_t tunnel_id, struct rte_mbuf *mbuf);
void workers_port_stats(const struct dp *dp, unsigned slot, struct dp_port_stats *sum);

/* execute.c: run a rule's program, or a list, on the packet. Either takes the packet, unless it waits for a table. */
void execute_program(struct dp_worker *w, struct packet *p, const struct program *program);
void execute_list(struct dp_worker *w, struct packet *p, const struct action *actions, unsigned n);

/* trace.c; `w->trace` is not NULL */
struct rte_mbuf *trace_copy(const struct rte_mbuf *mbuf);
__attribute__((format(printf, 2, 3))) void trace_line(struct dp_worker *w, const char *format, ...);
void trace_visit(struct dp_worker *w, const struct packet *p, uint8_t table_id);
void trace_action(struct dp_worker *w, const struct action *action);
void trace_match(struct dp_worker *w, const struct packet *p);
#define TRACE(w, ...)                                                                                                  \
    do {                                                                                                               \
        if (__builtin_expect((w)->trace != NULL, 0)) {                                                                 \
            trace_line(w, __VA_ARGS__);                                                                                \
        }                                                                                                              \
    } while (0)

#endif
