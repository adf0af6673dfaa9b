/* Batches: from a port, through the tables, to the queues of the ports. See worker.h. */
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "extract.h"

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
    if (likely(!(words & ~p->have))) {
        return;
    }
    if (!(words & ~(p->have | 1U << FW_ETH0)) && rte_pktmbuf_data_len(p->mbuf) >= RTE_ETHER_HDR_LEN) {
        memcpy(&p->flow.word[FW_ETH0], rte_pktmbuf_mtod(p->mbuf, const void *), sizeof(uint64_t));
        p->have |= 1U << FW_ETH0;
        return;
    }
    if (!extract_plain(p->mbuf, &p->flow, &p->layers)) {
        if (p->mbuf->nb_segs > 1) {
            packet_headers_contiguous(p->mbuf);
        }
        struct flow flow;
        flow_extract(p->mbuf, p->flow.in_port, p->flow.in_phy_port, p->flow.metadata, p->flow.tunnel_id, &flow,
                     &p->layers);
        p->flow = flow;
    }
    p->have = ALL_WORDS;
    p->layers_known = true;
}

/* ---- Output ---- */

static void flush_slot(struct dp_worker *w, unsigned slot) {
    struct tx_queue *queue = &w->tx[slot];
    struct slot_stats *stats = &w->slots[slot];
    uint64_t bytes = 0;
    for (unsigned i = 0; i < queue->n; i++) {
        bytes += rte_pktmbuf_pkt_len(queue->mbuf[i]);
    }
    relaxed_set(&stats->tx_packets, stats->tx_packets + queue->n);
    relaxed_set(&stats->tx_bytes, stats->tx_bytes + bytes);
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

static void rewrite_head(struct packet *p, const struct program *program) {
    uint64_t *keep = (uint64_t *) (uintptr_t) program->head_keep, *set = (uint64_t *) (uintptr_t) program->head_set;
    uint8_t *data = rte_pktmbuf_mtod(p->mbuf, uint8_t *);
    uint64_t head[2];
    memcpy(head, data, PROGRAM_HEAD);
    head[0] = (head[0] & keep[0]) | set[0];
    head[1] = (head[1] & keep[1]) | set[1];
    memcpy(data, head, PROGRAM_HEAD);
    if (program->goto_table != GOTO_NONE) {
        memcpy(p->flow.eth_dst, data, 2 * RTE_ETHER_ADDR_LEN);
    }
}

static void straight_output(struct dp_worker *w, struct packet *p, uint32_t port_no) {
    const struct port_map *ports = w->state->ports;
    int slot = port_map_slot(ports, port_no);
    if (likely(slot != NO_SLOT && (ports->flags[slot] & PORT_SENDS) && slot != p->in_slot)) {
        worker_send(w, slot, p->mbuf);
    } else {
        worker_drop(w, p->mbuf);
    }
}

static void run_program(struct dp_worker *w, struct packet *p, const struct program *program) {
    if (unlikely(!program->straight || p->n_set || w->trace || rte_pktmbuf_data_len(p->mbuf) < PROGRAM_HEAD)) {
        execute_program(w, p, program);
        return;
    }
    if (program->rewrites) {
        rewrite_head(p, program);
    }
    if (program->goto_table != GOTO_NONE) {
        p->flow.metadata = (p->flow.metadata & ~program->metadata_mask) | program->metadata;
        worker_visit(w, program->goto_table, p->index);
    } else if (program->out_port) {
        straight_output(w, p, program->out_port);
    } else {
        worker_drop(w, p->mbuf);
    }
}

static void count_rule(struct dp_worker *w, const struct dp_flow *rule, uint32_t bytes) {
    counter_add(counter_of(&w->counters, rule->counter), 1, bytes);
    if (unlikely(rule->idle)) {
        relaxed_set(&counter_of(&w->counters, rule->used)->packets, worker_now_ns(w) / 1000000);
    }
}

static void run_matched(struct dp_worker *w, struct packet *p, const struct dp_flow *rule, uint8_t table_id) {
    p->rule = rule;
    p->table_id = table_id;
    if (unlikely(w->trace != NULL)) {
        trace_match(w, p);
    } else {
        count_rule(w, rule, rte_pktmbuf_pkt_len(p->mbuf));
    }
    run_program(w, p, rcu_get(&rule->program));
}

static void run_table(struct dp_worker *w, uint8_t table_id) {
    struct packet *packets[DP_BATCH];
    const struct flow *flows[DP_BATCH];
    struct dp_flow *found[DP_BATCH];
    const struct search *search = rcu_get(&w->dp->tables[table_id].search);
    unsigned n = w->n_list[table_id], matched = 0;
    w->n_list[table_id] = 0;
    for (unsigned i = 0; i < n; i++) {
        packets[i] = &w->packets[w->list[table_id][i]];
        flows[i] = &packets[i]->flow;
        found[i] = NULL;
        if (search) {
            packet_need(packets[i], search->words);
        }
    }
    if (search) {
        classifier_lookup(search, flows, n, w->state->version, found);
    }
    for (unsigned i = 0; i < n; i++) {
        if (unlikely(w->trace != NULL)) {
            trace_visit(w, packets[i], table_id);
        }
        if (likely(found[i] != NULL)) {
            matched++;
            run_matched(w, packets[i], found[i], table_id);
        } else {
            TRACE(w, "  no rule matches: dropped");
            worker_drop(w, packets[i]->mbuf);
        }
    }
    struct table_counter *counter = &w->tables[table_id];
    relaxed_set(&counter->lookups, counter->lookups + n);
    relaxed_set(&counter->matched, counter->matched + matched);
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

static void packet_init(struct packet *p, unsigned index, struct rte_mbuf *mbuf, uint32_t in_port, int in_slot,
                        uint64_t tunnel_id) {
    p->flow.in_port = in_port;
    p->flow.in_phy_port = in_port;
    p->flow.metadata = 0;
    p->flow.tunnel_id = tunnel_id;
    p->mbuf = mbuf;
    p->have = PIPELINE_WORDS;
    p->layers_known = false;
    p->n_set = 0;
    p->index = index;
    p->rule = NULL;
    p->in_slot = in_slot;
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

static void count_received(struct dp_worker *w, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    struct slot_stats *stats = &w->slots[slot];
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        bytes += rte_pktmbuf_pkt_len(packets[i]);
    }
    relaxed_set(&stats->rx_packets, stats->rx_packets + n);
    relaxed_set(&stats->rx_bytes, stats->rx_bytes + bytes);
}

void dp_process(struct dp_worker *w, unsigned slot, uint64_t tunnel_id, struct rte_mbuf **packets, unsigned n) {
    begin(w);
    const struct port_map *ports = w->state->ports;
    count_received(w, slot, packets, n);
    if (unlikely(!(ports->flags[slot] & PORT_RECEIVES))) {
        relaxed_set(&w->slots[slot].rx_dropped, w->slots[slot].rx_dropped + n);
        rte_pktmbuf_free_bulk(packets, n);
        dp_worker_quiescent(w);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        packet_init(&w->packets[i], i, packets[i], ports->port_no[slot], slot, tunnel_id);
        worker_visit(w, 0, i);
    }
    w->n_packets = n;
    end(w);
}

void dp_execute(struct dp_worker *w, uint32_t in_port, const struct action *actions, unsigned n,
                struct rte_mbuf *packet) {
    begin(w);
    packet_init(&w->packets[0], 0, packet, in_port, port_map_slot(w->state->ports, in_port), 0);
    w->n_packets = 1;
    execute_list(w, &w->packets[0], actions, n);
    end(w);
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

void worker_trace(struct dp_worker *w, uint32_t in_port, uint64_t tunnel_id, struct rte_mbuf *mbuf) {
    begin(w);
    packet_init(&w->packets[0], 0, mbuf, in_port, port_map_slot(w->state->ports, in_port), tunnel_id);
    w->n_packets = 1;
    worker_visit(w, 0, 0);
    run_tables(w);
}
