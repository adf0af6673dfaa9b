/* Batches: from a port, through the tables, to the queues of the ports. See worker.h. */
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <rte_rcu_qsbr.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "keys.h"

/* ---- Life ---- */

struct dp_worker *dp_worker_create(struct dp *dp, unsigned id, struct rte_mempool *pool, dp_transmit *transmit,
                                   void *aux) {
    struct dp_worker *w = huge_alloc(sizeof *w);
    w->dp = dp;
    w->id = id;
    w->pool = pool;
    w->transmit = transmit;
    w->aux = aux;
    counters_attach(&dp->counters, id, &w->counters);
    for (unsigned i = 0; i < DP_BATCH; i++) {
        w->packets[i].index = i;
        w->all[i] = &w->packets[i];
        w->all_flows[i] = &w->packets[i].flow;
    }
    rte_rcu_qsbr_thread_register(dp->rcu.qsbr, id);
    rte_rcu_qsbr_thread_online(dp->rcu.qsbr, id);
    dp->workers[id] = w;
    return w;
}

static void retire_counts(struct dp *dp, const struct dp_worker *w) {
    for (unsigned slot = 0; slot < DP_MAX_PORTS; slot++) {
        struct dp_port_stats *sum = &dp->ports.retired[slot];
        sum->rx_packets += w->slots[slot].rx_packets;
        sum->rx_bytes += w->slots[slot].rx_bytes;
        sum->rx_dropped += w->slots[slot].rx_dropped;
        sum->tx_packets += w->slots[slot].tx_packets;
        sum->tx_bytes += w->slots[slot].tx_bytes;
        sum->tx_dropped += w->slots[slot].tx_dropped;
    }
    for (unsigned table = 0; table < DP_TABLES; table++) {
        dp->retired_tables[table].lookups += w->tables[table].lookups;
        dp->retired_tables[table].matched += w->tables[table].matched;
    }
}

void dp_worker_destroy(struct dp_worker *w) {
    struct dp *dp = w->dp;
    rte_rcu_qsbr_thread_offline(dp->rcu.qsbr, w->id);
    rte_rcu_qsbr_thread_unregister(dp->rcu.qsbr, w->id);
    dp->workers[w->id] = NULL;
    upcall_ring_empty(&w->upcalls);
    counters_detach(&dp->counters, w->id);
    retire_counts(dp, w);
    huge_free(w, sizeof *w);
}

void dp_worker_quiescent(struct dp_worker *w) {
    rte_rcu_qsbr_quiescent(w->dp->rcu.qsbr, w->id);
}

void dp_worker_offline(struct dp_worker *w) {
    rte_rcu_qsbr_thread_offline(w->dp->rcu.qsbr, w->id);
}

void dp_worker_online(struct dp_worker *w) {
    rte_rcu_qsbr_thread_online(w->dp->rcu.qsbr, w->id);
}

uint64_t worker_now_ns(struct dp_worker *w) {
    if (!w->now_ns) {
        w->now_ns = now_ns();
    }
    return w->now_ns;
}

/* ---- Keys ---- */

void packet_need_layers(struct packet *p) {
    if (!p->layers_known) {
        p->have &= PIPELINE_WORDS;
        packet_need(p, ALL_WORDS);
    }
}

void packet_need(struct packet *p, uint32_t words) {
    need(p, words);
}

/* ---- Output ---- */

static void flush_slot(struct dp_worker *w, unsigned slot) {
    struct tx_queue *queue = &w->tx[slot];
    if (!queue->n) {
        return;
    }
    struct slot_stats *stats = &w->slots[slot];
    relaxed_set(&stats->tx_packets, stats->tx_packets + queue->n);
    relaxed_set(&stats->tx_bytes, stats->tx_bytes + queue->bytes);
    queue->bytes = 0;
    w->transmit(w->aux, slot, queue->mbuf, queue->n);
    queue->n = 0;
}

static void flush(struct dp_worker *w) {
    for (unsigned i = 0; i < RTE_DIM(w->tx_used); i++) {
        for (uint64_t bits = w->tx_used[i]; bits; bits &= bits - 1) {
            flush_slot(w, i * 64 + __builtin_ctzll(bits));
        }
        w->tx_used[i] = 0;
    }
}

static void trace_free(struct rte_mbuf *mbuf) {
    free(mbuf); /* trace.c made it with malloc() */
}

void worker_drop(struct dp_worker *w, struct rte_mbuf *mbuf) {
    if (unlikely(w->trace != NULL)) {
        trace_free(mbuf);
    } else {
        rte_pktmbuf_free(mbuf);
    }
}

void worker_send(struct dp_worker *w, int slot, struct rte_mbuf *mbuf) {
    if (unlikely(w->trace != NULL)) {
        trace_free(mbuf);
        return;
    }
    struct tx_queue *queue = &w->tx[slot];
    queue->mbuf[queue->n++] = mbuf;
    queue->bytes += rte_pktmbuf_pkt_len(mbuf);
    w->tx_used[slot / 64] |= UINT64_C(1) << (slot % 64);
    if (unlikely(queue->n == TX_MAX)) {
        flush_slot(w, slot);
    }
}

/* ---- Tables ---- */

void worker_visit(struct dp_worker *w, uint8_t table_id, unsigned index) {
    w->list[table_id][w->n_list[table_id]++] = index;
    w->visit[table_id / 64] |= UINT64_C(1) << (table_id % 64);
}

/* One visit of a batch to a table. Runs of packets that meet the same rule, or leave by the same port, are added up here,
 * in registers, and settled when the run ends: two packets in a row would else wait for each other's sums in memory.
 * No pointer to it leaves the inlined functions, or it would live in memory after all. */
struct sweep {
    const struct dp_flow *rule; /* that the last packets met; NULL: none yet */
    const struct program *program;
    uint64_t packets, bytes; /* to be counted for it */
    struct tx_queue *queue;  /* that the last packets went out of; NULL: nothing can go out of `port_no` */
    uint32_t port_no;        /* 0: none yet */
    uint32_t n_queue;
    uint64_t queue_bytes;
    uint8_t table_id;
};

/* The queue of a port, which is not the ingress port's: that is written to by its reserved name only (section 4.5). */
static __rte_noinline struct tx_queue *queue_to(struct dp_worker *w, uint32_t port_no) {
    const struct port_map *ports = w->state->ports;
    int slot = port_map_slot(ports, port_no);
    if (slot == NO_SLOT || !(ports->flags[slot] & PORT_SENDS) || slot == w->in_slot) {
        return NULL;
    }
    w->tx_used[slot / 64] |= UINT64_C(1) << (slot % 64);
    return &w->tx[slot];
}

static __rte_always_inline void settle_queue(struct sweep *sweep) {
    if (sweep->queue) {
        sweep->queue->n = sweep->n_queue;
        sweep->queue->bytes = sweep->queue_bytes;
    }
}

static __rte_always_inline void load_queue(struct sweep *sweep) {
    if (sweep->queue) {
        sweep->n_queue = sweep->queue->n;
        sweep->queue_bytes = sweep->queue->bytes;
    }
}

static __rte_always_inline void straight_output(struct dp_worker *w, struct sweep *sweep, struct packet *p,
                                                uint32_t port_no, uint32_t bytes) {
    if (unlikely(port_no != sweep->port_no)) {
        settle_queue(sweep);
        sweep->port_no = port_no;
        sweep->queue = queue_to(w, port_no);
        load_queue(sweep);
    }
    if (unlikely(!sweep->queue)) {
        worker_drop(w, p->mbuf);
        return;
    }
    sweep->queue->mbuf[sweep->n_queue++] = p->mbuf;
    sweep->queue_bytes += bytes;
    if (unlikely(sweep->n_queue == TX_MAX)) {
        settle_queue(sweep);
        flush_slot(w, sweep->queue - w->tx);
        load_queue(sweep);
    }
}

static __rte_always_inline void rewrite_head(struct packet *p, const struct program *program) {
    uint8_t *data = rte_pktmbuf_mtod(p->mbuf, uint8_t *);
    uint64_t head[2], keep[2], set[2];
    memcpy(head, data, PROGRAM_HEAD);
    memcpy(keep, program->head_keep, PROGRAM_HEAD);
    memcpy(set, program->head_set, PROGRAM_HEAD);
    head[0] = (head[0] & keep[0]) | set[0];
    head[1] = (head[1] & keep[1]) | set[1];
    memcpy(data, head, PROGRAM_HEAD);
    if (program->goto_table != GOTO_NONE) {
        memcpy(p->flow.eth_dst, head, sizeof p->flow.eth_dst + sizeof p->flow.eth_src);
    }
}

static __rte_noinline void interpret(struct dp_worker *w, struct packet *p, const struct dp_flow *rule,
                                     const struct program *program, uint8_t table_id) {
    p->rule = rule;
    p->table_id = table_id;
    if (w->trace) {
        trace_match(w, p);
    }
    execute_program(w, p, program);
}

static __rte_always_inline void settle_rule(struct dp_worker *w, struct sweep *sweep) {
    if (!sweep->packets) {
        return;
    }
    counter_add(counter_of(&w->counters, sweep->rule->counter), sweep->packets, sweep->bytes);
    if (unlikely(sweep->rule->idle)) {
        relaxed_set(&counter_of(&w->counters, sweep->rule->used)->packets, worker_now_ns(w) / 1000000);
    }
    sweep->packets = sweep->bytes = 0;
}

static __rte_always_inline void run_rule(struct dp_worker *w, struct sweep *sweep, struct packet *p,
                                         const struct dp_flow *rule) {
    if (rule != sweep->rule) {
        settle_rule(w, sweep);
        sweep->rule = rule;
        sweep->program = rcu_get(&rule->program);
    }
    const struct program *program = sweep->program;
    const uint32_t bytes = rte_pktmbuf_pkt_len(p->mbuf);
    bool simple = program->straight && !p->n_set && rte_pktmbuf_data_len(p->mbuf) >= PROGRAM_HEAD;
    sweep->packets++;
    sweep->bytes += bytes;
    if (unlikely(!simple)) {
        settle_queue(sweep);
        interpret(w, p, rule, program, sweep->table_id);
        load_queue(sweep);
        return;
    }
    if (program->rewrites) {
        rewrite_head(p, program);
    }
    if (program->goto_table != GOTO_NONE) {
        p->flow.metadata = (p->flow.metadata & ~program->metadata_mask) | program->metadata;
        worker_visit(w, program->goto_table, p->index);
    } else if (likely(program->out_port)) {
        straight_output(w, sweep, p, program->out_port, bytes);
    } else {
        worker_drop(w, p->mbuf);
    }
}

/* Counters of so few rules stay in the caches by themselves. */
#define CACHED_COUNTERS 4096

static __rte_noinline void fetch_counters(const struct dp_worker *w, struct dp_flow *const *found, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (likely(found[i] != NULL)) {
            rte_prefetch1(counter_of(&w->counters, found[i]->counter));
        }
    }
}

static __rte_always_inline void run_found(struct dp_worker *w, uint8_t table_id, struct packet *const *packets,
                                          unsigned n, struct dp_flow *const *found) {
    struct sweep sweep = {.table_id = table_id};
    if (relaxed_get(&w->dp->counters.next) > CACHED_COUNTERS) {
        fetch_counters(w, found, n);
    }
    unsigned missed = 0;
    for (unsigned i = 0; i < n; i++) {
        if (likely(found[i] != NULL)) {
            run_rule(w, &sweep, packets[i], found[i]);
        } else {
            missed++;
            worker_drop(w, packets[i]->mbuf);
        }
    }
    settle_rule(w, &sweep);
    settle_queue(&sweep);
    struct table_counter *counter = &w->tables[table_id];
    relaxed_set(&counter->lookups, counter->lookups + n);
    relaxed_set(&counter->matched, counter->matched + n - missed);
}

static void trace_found(struct dp_worker *w, uint8_t table_id, struct packet *p, const struct dp_flow *rule) {
    trace_visit(w, p, table_id);
    if (rule) {
        interpret(w, p, rule, rcu_get(&rule->program), table_id);
    } else {
        trace_line(w, "  no rule matches: dropped");
        worker_drop(w, p->mbuf);
    }
}

static uint32_t words_of(const struct search *search) {
    return search ? search->words : 0;
}

/* Let `n` packets visit a table. Their flows have the words of `search`, which is the table's. */
static __rte_always_inline void visit(struct dp_worker *w, uint8_t table_id, const struct search *search,
                                      struct packet *const *packets, const struct flow *const *flows, unsigned n) {
    struct dp_flow *found[DP_BATCH];
    if (likely(search != NULL)) {
        classifier_lookup(search, flows, n, w->state->version, found);
    } else {
        memset(found, 0, sizeof found);
    }
    if (likely(!w->trace)) {
        run_found(w, table_id, packets, n, found);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        trace_found(w, table_id, packets[i], found[i]);
    }
}

static __rte_noinline void run_table(struct dp_worker *w, uint8_t table_id) {
    struct packet *packets[DP_BATCH];
    const struct flow *flows[DP_BATCH];
    const struct search *search = rcu_get(&w->dp->tables[table_id].search);
    const uint32_t words = words_of(search);
    unsigned n = w->n_list[table_id];
    w->n_list[table_id] = 0;
    for (unsigned i = 0; i < n; i++) {
        packets[i] = &w->packets[w->list[table_id][i]];
        flows[i] = &packets[i]->flow;
        need(packets[i], words);
    }
    visit(w, table_id, search, packets, flows, n);
}

static void run_tables(struct dp_worker *w) {
    for (unsigned i = 0; i < RTE_DIM(w->visit); i++) {
        while (w->visit[i]) { /* a table may send to a later one of the same word */
            unsigned table_id = i * 64 + __builtin_ctzll(w->visit[i]);
            w->visit[i] &= w->visit[i] - 1;
            run_table(w, table_id);
        }
    }
}

/* ---- Entry ---- */

/* Whole words are stored, as whole words are loaded soon after: halves could not be forwarded to the load. */
static __rte_always_inline void packet_init(struct packet *p, struct rte_mbuf *mbuf, uint64_t ports,
                                            uint64_t tunnel_id) {
    p->mbuf = mbuf;
    memcpy(&p->have, (uint32_t[]){PIPELINE_WORDS, 0}, 2 * sizeof(uint32_t)); /* in one store */
    p->flow.word[FW_PORTS] = ports;
    p->flow.word[FW_METADATA] = 0;
    p->flow.word[FW_TUNNEL] = tunnel_id;
}

static uint64_t ports_word(uint32_t in_port) {
    struct flow flow = {.in_port = in_port, .in_phy_port = in_port};
    return flow.word[FW_PORTS];
}

static void begin(struct dp_worker *w) {
    w->state = rcu_get(&w->dp->state);
    w->now_ns = 0;
}

static void end(struct dp_worker *w) {
    run_tables(w);
    flush(w);
    dp_worker_quiescent(w);
}

static void count_received(struct dp_worker *w, unsigned slot, unsigned n, uint64_t bytes) {
    struct slot_stats *stats = &w->slots[slot];
    relaxed_set(&stats->rx_packets, stats->rx_packets + n);
    relaxed_set(&stats->rx_bytes, stats->rx_bytes + bytes);
}

static void refuse(struct dp_worker *w, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    relaxed_set(&w->slots[slot].rx_dropped, w->slots[slot].rx_dropped + n);
    rte_pktmbuf_free_bulk(packets, n);
    dp_worker_quiescent(w);
}

void dp_process(struct dp_worker *w, unsigned slot, uint64_t tunnel_id, struct rte_mbuf **packets, unsigned n) {
    begin(w);
    const struct port_map *ports = w->state->ports;
    if (unlikely(!n || !(ports->flags[slot] & PORT_RECEIVES))) {
        refuse(w, slot, packets, n);
        return;
    }
    const struct search *search = rcu_get(&w->dp->tables[0].search);
    const uint32_t words = words_of(search);
    const uint64_t ports_key = ports_word(ports->port_no[slot]);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        packet_init(&w->packets[i], packets[i], ports_key, tunnel_id);
        need(&w->packets[i], words);
        bytes += rte_pktmbuf_pkt_len(packets[i]);
    }
    w->n_packets = n;
    w->in_slot = (int) slot;
    count_received(w, slot, n, bytes);
    visit(w, 0, search, w->all, w->all_flows, n);
    end(w);
}

static void begin_one(struct dp_worker *w, uint32_t in_port, uint64_t tunnel_id, struct rte_mbuf *mbuf) {
    begin(w);
    w->in_slot = port_map_slot(w->state->ports, in_port);
    w->n_packets = 1;
    packet_init(&w->packets[0], mbuf, ports_word(in_port), tunnel_id);
    w->packets[0].rule = NULL;
}

void dp_execute(struct dp_worker *w, uint32_t in_port, const struct action *actions, unsigned n,
                struct rte_mbuf *packet) {
    begin_one(w, in_port, 0, packet);
    execute_list(w, &w->packets[0], actions, n);
    end(w);
}

void worker_trace(struct dp_worker *w, uint32_t in_port, uint64_t tunnel_id, struct rte_mbuf *mbuf) {
    begin_one(w, in_port, tunnel_id, mbuf);
    worker_visit(w, 0, 0);
    run_tables(w);
}

void workers_port_stats(const struct dp *dp, unsigned slot, struct dp_port_stats *sum) {
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++) {
        if (!dp->workers[i]) {
            continue;
        }
        const struct slot_stats *one = &dp->workers[i]->slots[slot];
        sum->rx_packets += relaxed_get(&one->rx_packets);
        sum->rx_bytes += relaxed_get(&one->rx_bytes);
        sum->rx_dropped += relaxed_get(&one->rx_dropped);
        sum->tx_packets += relaxed_get(&one->tx_packets);
        sum->tx_bytes += relaxed_get(&one->tx_bytes);
        sum->tx_dropped += relaxed_get(&one->tx_dropped);
    }
}
