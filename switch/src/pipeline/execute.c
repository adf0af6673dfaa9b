/* Instructions and actions, interpreted for one packet (sections 5.9 to 5.12). See worker.h.
 *
 * An action that ends the packet's way may take it; every other output sends a copy. A packet that was taken has no
 * mbuf any more. Groups that lead to groups multiply copies, so there is an end to them: COPIES_MAX, of one packet by
 * one rule. */
#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "../openflow/ofp13.h"
#include "hash.h"
#include "meter.h"
#include "worker.h"

static void run_group(struct dp_worker *w, struct packet *p, uint32_t group_id, bool take, unsigned depth);

static void drop(struct dp_worker *w, struct packet *p) {
    if (p->mbuf) {
        worker_drop(w, p->mbuf);
        p->mbuf = NULL;
    }
}

/* The packet itself if it may be taken, else a copy; NULL if there is no memory, or there were too many. */
static struct rte_mbuf *take_or_copy(struct dp_worker *w, struct packet *p, bool take) {
    struct rte_mbuf *mbuf = p->mbuf;
    if (take) {
        p->mbuf = NULL;
        return mbuf;
    }
    if (w->copies == COPIES_MAX) {
        TRACE(w, "    more than %u copies: dropped", COPIES_MAX);
        return NULL;
    }
    w->copies++;
    return w->trace ? trace_copy(mbuf) : rte_pktmbuf_copy(mbuf, w->pool, 0, UINT32_MAX);
}

/* ---- Output ---- */

static void output_slot(struct dp_worker *w, struct packet *p, int slot, bool take) {
    const struct port_map *ports = w->state->ports;
    if (slot == NO_SLOT || !(ports->flags[slot] & PORT_SENDS)) {
        TRACE(w, "    no such port, or it does not send: dropped");
        return;
    }
    struct rte_mbuf *mbuf = take_or_copy(w, p, take);
    if (mbuf) {
        TRACE(w, "    sent to port %u, %u bytes", ports->port_no[slot], rte_pktmbuf_pkt_len(mbuf));
        worker_send(w, slot, mbuf);
    } else {
        relaxed_set(&w->slots[slot].tx_dropped, w->slots[slot].tx_dropped + 1);
    }
}

static void output_all(struct dp_worker *w, struct packet *p) {
    const struct port_map *ports = w->state->ports;
    for (int slot = 0; slot < (int) ports->n_slots; slot++) {
        if (ports->port_no[slot] && slot != w->in_slot) {
            output_slot(w, p, slot, false);
        }
    }
}

static void packet_in(struct dp_worker *w, struct packet *p, enum dp_packet_in_reason reason, uint16_t max_len,
                      bool take) {
    bool miss = reason == DP_PACKET_IN_NO_MATCH; /* all that NO_PACKET_IN speaks of (section 7.2.1) */
    if (miss && w->in_slot != NO_SLOT && !(w->state->ports->flags[w->in_slot] & PORT_PACKET_IN)) {
        return;
    }
    struct dp_packet_in event = {.reason = reason,
                                 .table_id = p->rule ? p->table_id : 0,
                                 .max_len = max_len,
                                 .cookie = p->rule ? p->rule->cookie : NO_COOKIE,
                                 .in_port = p->flow.in_port,
                                 .in_phy_port = p->flow.in_phy_port,
                                 .metadata = p->flow.metadata,
                                 .tunnel_id = p->flow.tunnel_id};
    TRACE(w, "    to the controllers");
    struct rte_mbuf *mbuf = w->trace ? NULL : take_or_copy(w, p, take);
    if (mbuf && !upcall_push(w, &event, mbuf)) {
        worker_drop(w, mbuf);
    }
}

static bool is_table_miss(const struct dp_flow *rule) {
    return rule && !rule->priority && !rule->n;
}

/* Packet-out only: into the pipeline as if it had just come in. */
static void output_table(struct dp_worker *w, struct packet *p, bool take) {
    unsigned index = p->index;
    if (p->rule || p != &w->packets[index]) {
        return;
    }
    if (!take) {
        struct rte_mbuf *mbuf = w->n_packets < DP_BATCH ? take_or_copy(w, p, false) : NULL;
        if (!mbuf) {
            return;
        }
        index = w->n_packets++;
        w->packets[index] = *p;
        w->packets[index].index = index;
        w->packets[index].mbuf = mbuf;
    }
    worker_visit(w, 0, index);
    if (take) {
        w->packets[index].waits = true;
    }
}

static void output(struct dp_worker *w, struct packet *p, const struct action *action, bool take) {
    switch (action->port) {
    case OFPP_IN_PORT:
        output_slot(w, p, w->in_slot, take);
        break;
    case OFPP_ALL:
    case OFPP_FLOOD:
        output_all(w, p);
        break;
    case OFPP_CONTROLLER:
        packet_in(w, p, is_table_miss(p->rule) ? DP_PACKET_IN_NO_MATCH : DP_PACKET_IN_ACTION, action->max_len, take);
        break;
    case OFPP_TABLE:
        output_table(w, p, take);
        break;
    default: /* the ingress port only by its reserved name (section 4.5) */
        if (action->port != p->flow.in_port) {
            output_slot(w, p, port_map_slot(w->state->ports, action->port), take);
        }
        break;
    }
}

/* ---- Edits ---- */

static void edit_ethernet(struct packet *p, const struct action *action) {
    unsigned at = action->field == FIELD_ETH_DST ? 0 : OFP_ETH_ALEN;
    if (rte_pktmbuf_data_len(p->mbuf) >= 2 * OFP_ETH_ALEN) {
        memcpy(rte_pktmbuf_mtod_offset(p->mbuf, uint8_t *, at), action->value, OFP_ETH_ALEN);
        memcpy(p->flow.eth_dst + at, action->value, OFP_ETH_ALEN);
    }
}

static enum packet_verdict edit_headers(struct packet *p, const struct action *action) {
    packet_need_layers(p);
    enum packet_verdict verdict = packet_edit(p->mbuf, &p->layers, action);
    p->have &= PIPELINE_WORDS;
    return verdict;
}

static enum packet_verdict edit(struct packet *p, const struct action *action) {
    if (action->type != ACTION_SET_FIELD) {
        return edit_headers(p, action);
    }
    switch (action->field) {
    case FIELD_METADATA:
    case FIELD_TUNNEL_ID:
        field_set(action->field, &p->flow, action->value);
        return PACKET_OK;
    case FIELD_ETH_DST:
    case FIELD_ETH_SRC:
        edit_ethernet(p, action);
        return PACKET_OK;
    default:
        return edit_headers(p, action);
    }
}

/* ---- Lists of actions ---- */

static void run_action(struct dp_worker *w, struct packet *p, const struct action *action, bool take, unsigned depth) {
    if (__builtin_expect(w->trace != NULL, 0)) {
        trace_action(w, action);
    }
    switch (action->type) {
    case ACTION_OUTPUT:
        output(w, p, action, take);
        break;
    case ACTION_GROUP:
        run_group(w, p, action->group_id, take, depth);
        break;
    case ACTION_SET_QUEUE: /* ports have one queue */
        break;
    default: {
        enum packet_verdict verdict = edit(p, action);
        if (verdict == PACKET_INVALID_TTL) {
            packet_in(w, p, DP_PACKET_IN_INVALID_TTL, UINT16_MAX, true);
        }
        if (verdict != PACKET_OK) {
            TRACE(w, "    %s: dropped",
                  verdict == PACKET_INVALID_TTL ? "invalid TTL" : "cannot be done on this packet");
            drop(w, p);
        }
    }
    }
}

/* `take`: nothing comes after the list, so its last action may have the packet. */
static void run_list(struct dp_worker *w, struct packet *p, const struct action *actions, unsigned n, bool take,
                     unsigned depth) {
    for (unsigned i = 0; i < n && p->mbuf; i++) {
        run_action(w, p, &actions[i], take && i + 1 == n, depth);
    }
}

static void run_set(struct dp_worker *w, struct packet *p) {
    const struct action *const *set = w->set[p->index];
    unsigned n = p->n_set;
    if (n > 1 && set[n - 1]->type == ACTION_OUTPUT && set[n - 2]->type == ACTION_GROUP) {
        n--;
    }
    for (unsigned i = 0; i < n && p->mbuf; i++) {
        run_action(w, p, set[i], i + 1 == n, 0);
    }
}

/* ---- Groups ---- */

static void run_bucket(struct dp_worker *w, struct packet *p, const struct group *group, unsigned i, bool take,
                       unsigned depth) {
    struct packet copy;
    const struct bucket_runtime *bucket = &group->runtime[i];
    if (!w->trace) {
        counter_add(counter_of(&w->counters, bucket->counter), 1, rte_pktmbuf_pkt_len(p->mbuf));
    }
    TRACE(w, "    bucket %u", i);
    memcpy(&copy, p, sizeof copy);
    copy.mbuf = take_or_copy(w, p, take);
    if (copy.mbuf) {
        run_list(w, &copy, bucket->run, bucket->n_run, true, depth);
        drop(w, &copy);
    } else if (w->in_slot != NO_SLOT) { /* which port it was meant for nobody knows */
        relaxed_set(&w->slots[w->in_slot].rx_dropped, w->slots[w->in_slot].rx_dropped + 1);
    }
}

static uint32_t select_hash(struct packet *p) {
    static const uint8_t words[] = {FW_ETH0,      FW_ETH1,      FW_MPLS_PBB,  FW_IPV4, FW_IPV6_SRC0,
                                    FW_IPV6_SRC1, FW_IPV6_DST0, FW_IPV6_DST1, FW_TP};
    packet_need(p, ALL_WORDS);
    uint32_t hash = p->flow.ip_proto;
    for (unsigned i = 0; i < sizeof words; i++) {
        hash = hash_word(hash, p->flow.word[words[i]]);
    }
    return hash * UINT32_C(0x9e3779b1);
}

static void run_group(struct dp_worker *w, struct packet *p, uint32_t group_id, bool take, unsigned depth) {
    const struct group *group = (const void *) idmap_find(&w->dp->groups, group_id, w->state->version);
    if (!group || depth >= GROUP_MAX_DEPTH) {
        return;
    }
    if (!w->trace) {
        counter_add(counter_of(&w->counters, group->counter), 1, rte_pktmbuf_pkt_len(p->mbuf));
    }
    if (group->type == OFPGT_ALL) {
        for (unsigned i = 0; i < group->n_buckets; i++) {
            run_bucket(w, p, group, i, take && i + 1 == group->n_buckets, depth + 1);
        }
        return;
    }
    uint32_t hash = group->type == OFPGT_SELECT ? select_hash(p) : 0;
    int chosen = group_choose(w->dp, w->state, group, hash);
    if (chosen >= 0) {
        run_bucket(w, p, group, chosen, take, depth + 1);
    }
}

/* ---- Meters ---- */

/* The drop precedence of an assured-forwarding class (RFC 2597), raised by `levels`; other classes stay. */
static uint8_t remarked(uint8_t dscp, uint8_t levels) {
    uint8_t class = dscp >> 3, precedence = dscp >> 1 & 3;
    if (class < 1 || class > 4 || !precedence || (dscp & 1)) {
        return dscp;
    }
    precedence = precedence + levels > 3 ? 3 : precedence + levels;
    return class << 3 | precedence << 1;
}

static void remark(struct packet *p, uint8_t levels) {
    packet_need(p, ALL_WORDS);
    packet_need_layers(p);
    bool is_ip = p->flow.eth_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) || p->flow.eth_type == RTE_BE16(RTE_ETHER_TYPE_IPV6);
    uint8_t value[FIELD_MAX_BYTES] = {remarked(p->flow.ip_tos >> 2, levels)};
    if (is_ip && p->layers.l3) {
        packet_set_field(p->mbuf, &p->layers, FIELD_IP_DSCP, value);
        p->have &= PIPELINE_WORDS;
    }
}

static void run_meter(struct dp_worker *w, struct packet *p, uint32_t meter_id) {
    struct meter *meter = (struct meter *) idmap_find(&w->dp->meters, meter_id, w->state->version);
    if (!meter || w->trace) {
        return;
    }
    uint32_t bytes = rte_pktmbuf_pkt_len(p->mbuf);
    counter_add(counter_of(&w->counters, meter->counter), 1, bytes);
    int band = meter_run(meter, bytes, worker_now_ns(w));
    if (band == METER_PASS) {
        return;
    }
    counter_add(counter_of(&w->counters, meter->runtime[band].counter), 1, bytes);
    if (meter->bands[band].type == OFPMBT_DROP) {
        drop(w, p);
    } else {
        remark(p, meter->bands[band].prec_level);
    }
}

/* ---- Instructions ---- */

static void write_actions(struct dp_worker *w, struct packet *p, const struct instructions *i) {
    if (i->has_clear) {
        p->n_set = 0;
    }
    for (unsigned k = 0; k < i->n_write; k++) {
        p->n_set = action_set_put(w->set[p->index], p->n_set, &i->write[k]);
    }
}

void execute_program(struct dp_worker *w, struct packet *p, const struct program *program) {
    const struct instructions *i = &program->instructions;
    bool ends = !i->has_goto && !i->n_write && (!p->n_set || i->has_clear);
    w->copies = 0;
    if (i->meter_id) {
        run_meter(w, p, i->meter_id);
    }
    if (p->mbuf) {
        run_list(w, p, i->apply, i->n_apply, ends, 0);
    }
    if (!p->mbuf) {
        return;
    }
    write_actions(w, p, i);
    p->flow.metadata = (p->flow.metadata & ~program->metadata_mask) | program->metadata;
    if (i->has_goto) {
        worker_visit(w, i->goto_table, p->index);
        return;
    }
    run_set(w, p);
    drop(w, p);
}

void execute_list(struct dp_worker *w, struct packet *p, const struct action *actions, unsigned n) {
    p->waits = false;
    w->copies = 0;
    run_list(w, p, actions, n, true, 0);
    if (!p->waits) {
        drop(w, p);
    }
}
