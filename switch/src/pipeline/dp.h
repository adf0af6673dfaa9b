/* The datapath: tables, groups, meters and ports, and the pipeline that packets run through.
 *
 * Two sides
 * ---------
 * The *control thread* (one; the caller sees to it) makes changes through transactions and reads statistics. Any number
 * of *workers* run packets through. Workers never take a lock and never wait; the control thread never stops a worker.
 *
 * How a change becomes visible
 * ----------------------------
 * A worker reads the datapath's current `version` once per batch, and every rule, group and bucket carries the
 * versions between which it exists. A plain change (txn that is not atomic) is made in place and exists from the moment
 * it is linked in. An atomic transaction (a bundle) links everything in for version V+1, then publishes V+1 with one
 * store: each packet sees all of it or nothing. What a change took out is freed after every worker that is online
 * has passed a quiescent state. dp_barrier() waits for just that, so after it returns the next packet of every worker
 * meets the new state.
 *
 * No flow cache, no slow path: each table is held in the form that suits its rules (classifier.h), and lookup
 * costs the same for the first packet of a flow as for the last.
 *
 * Counters are kept per worker and summed when asked for; no cache line is written by two workers on the packet path,
 * but for meters, whose token bucket is one for all.
 *
 * Neighbours: openflow/ calls the control side; process/worker.c drives dp_process(); tests do both. */
#ifndef QUAKE_PIPELINE_DP_H
#define QUAKE_PIPELINE_DP_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../packet/action.h"
#include "../packet/flow.h"
#include "ofperr.h"

struct rte_mbuf;
struct rte_mempool;
struct dp;
struct dp_worker;
struct dp_txn;

#define DP_TABLES 254    /* tables 0..253 */
#define DP_MAX_PORTS 256 /* slots, so at once; port numbers are any 1..OFPP_MAX */
#define DP_MAX_WORKERS 64
#define DP_BATCH 64      /* packets at a time: enough for the cache misses of many flows to overlap */

/* Events, called on the control thread from dp_poll() or from the change that caused them. */
enum dp_removed_reason { DP_REMOVED_IDLE, DP_REMOVED_HARD, DP_REMOVED_DELETE, DP_REMOVED_GROUP_DELETE }; /* OFPRR_* */
enum dp_packet_in_reason { DP_PACKET_IN_NO_MATCH, DP_PACKET_IN_ACTION, DP_PACKET_IN_INVALID_TTL };       /* OFPR_* */
enum dp_port_reason { DP_PORT_ADD, DP_PORT_DELETE, DP_PORT_MODIFY };                                     /* OFPPR_* */

struct dp_packet_in {
    enum dp_packet_in_reason reason;
    uint8_t table_id;
    uint16_t max_len; /* bytes asked for by the action that sent it; 0xffff for all */
    uint64_t cookie;  /* of the rule, or all ones */
    uint32_t in_port, in_phy_port;
    uint64_t metadata, tunnel_id;
    const uint8_t *data; /* valid during the call */
    uint32_t len;
};

struct dp_flow; /* a rule; opaque, alive during the callback that shows it */

struct dp_port {
    uint32_t port_no;
    char name[16]; /* OFP_MAX_PORT_NAME_LEN */
    uint8_t hw_addr[6];
    uint32_t config, state;                     /* OFPPC_*, OFPPS_* */
    uint32_t curr, advertised, supported, peer; /* OFPPF_* */
    uint32_t curr_speed, max_speed;             /* kbit/s */
};

struct dp_events {
    void *aux;
    void (*packet_in)(void *aux, const struct dp_packet_in *event);
    /* Of every rule that goes, whatever its flags say; but not of one that an ADD of the same match takes the place of.
     */
    void (*flow_removed)(void *aux, const struct dp_flow *flow, enum dp_removed_reason reason);
    void (*port_status)(void *aux, const struct dp_port *port, enum dp_port_reason reason);
};

/* ---- Life ---- */
struct dp *dp_create(uint64_t datapath_id, const struct dp_events *events);
void dp_destroy(struct dp *dp); /* every worker must have been destroyed */
uint64_t dp_id(const struct dp *dp);

/* Timeouts, packet-ins and deferred frees; call at least every 50 ms and when dp_wake_fd() is readable. */
void dp_poll(struct dp *dp);
int dp_wake_fd(const struct dp *dp); /* an eventfd: a worker queued a packet-in */

/* ---- Workers ----
 * `transmit` is called at the end of each batch for every port that packets were sent to, on the worker's thread; it
 * owns the packets. `pool` gives the packets for copies (several outputs, groups). */
typedef void dp_transmit(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n);
struct dp_worker *dp_worker_create(struct dp *dp, unsigned id, struct rte_mempool *pool, dp_transmit *transmit,
                                   void *aux);
void dp_worker_destroy(struct dp_worker *worker);

/* Run a batch (n <= DP_BATCH) that came in on port `slot` through the pipeline; takes the packets. Ends in a quiescent
 * state. `tunnel_id` is that of the port or, for flow-based tunnels, of the packets (all of a batch have the same). */
void dp_process(struct dp_worker *worker, unsigned slot, uint64_t tunnel_id, struct rte_mbuf **packets, unsigned n);

/* A quiescent state without packets. A worker that sleeps or blocks goes offline first, so that nobody waits for it. */
void dp_worker_quiescent(struct dp_worker *worker);
void dp_worker_offline(struct dp_worker *worker);
void dp_worker_online(struct dp_worker *worker);

/* Packet-out: run `actions` on `packet` as if it had come in on `in_port` (a port number, OFPP_CONTROLLER included), on
 * the worker's thread. OFPP_TABLE enters the pipeline at table 0. Takes the packet. */
void dp_execute(struct dp_worker *worker, uint32_t in_port, const struct action *actions, unsigned n,
                struct rte_mbuf *packet);

/* ---- Ports (control thread) ---- */
int dp_port_add(struct dp *dp, const struct dp_port *port); /* the slot, or a negative errno */
int dp_port_remove(struct dp *dp, uint32_t port_no);        /* waits until no worker can send to the slot any more */
/* Raises port_status and moves fast failover. OFPPS_LIVE is not the caller's: it is set while the port is neither
 * OFPPS_LINK_DOWN nor OFPPS_BLOCKED nor configured OFPPC_PORT_DOWN. */
void dp_port_set_state(struct dp *dp, uint32_t port_no, uint32_t state);
const struct dp_port *dp_port_get(const struct dp *dp, uint32_t port_no);
int dp_port_slot(const struct dp *dp, uint32_t port_no);                                 /* or -1 */
const struct dp_port *dp_port_next(const struct dp *dp, const struct dp_port *previous); /* NULL starts and ends */

/* ---- Transactions (control thread) ----
 * Changes of a plain transaction take effect one by one as they are made. Those of an atomic one take effect together
 * at commit; dp_txn_abort() undoes them. Functions return 0 or the error that the specification demands, and a call
 * that fails changes nothing. */
struct dp_txn *dp_txn_begin(struct dp *dp, bool atomic);
ofperr dp_txn_commit(struct dp_txn *txn);
void dp_txn_abort(struct dp_txn *txn);

struct flow_mod {
    uint64_t cookie, cookie_mask;
    uint8_t table_id, command;                            /* OFPTT_ALL for deletes of all tables; OFPFC_* */
    uint16_t idle_timeout, hard_timeout, priority, flags; /* seconds; OFPFF_* */
    uint32_t out_port, out_group;                         /* filters of deletes; OFPP_ANY, OFPG_ANY */
    struct match match;
    struct instructions instructions;
    uint64_t created_ms; /* 0: now; else CLOCK_MONOTONIC ms, for rules restored after a restart */
};
ofperr dp_flow_mod(struct dp_txn *txn, const struct flow_mod *mod);

struct group_bucket {
    uint16_t weight;
    uint32_t watch_port, watch_group;
    uint16_t n_actions;
    const struct action *actions;
};
struct group_mod {
    uint16_t command; /* OFPGC_* */
    uint8_t type;     /* OFPGT_* */
    uint32_t group_id;
    unsigned n_buckets;
    const struct group_bucket *buckets;
};
ofperr dp_group_mod(struct dp_txn *txn, const struct group_mod *mod);

struct meter_band {
    uint16_t type;             /* OFPMBT_DROP, OFPMBT_DSCP_REMARK */
    uint32_t rate, burst_size; /* kb/s and kb, or packets/s and packets */
    uint8_t prec_level;
};
struct meter_mod {
    uint16_t command, flags; /* OFPMC_*, OFPMF_* */
    uint32_t meter_id;
    unsigned n_bands;
    const struct meter_band *bands;
};
ofperr dp_meter_mod(struct dp_txn *txn, const struct meter_mod *mod);
ofperr dp_port_mod(struct dp_txn *txn, uint32_t port_no, const uint8_t hw_addr[6], uint32_t config, uint32_t mask);

/* Wait until every online worker has passed a quiescent state since the last change: it is in force everywhere. */
void dp_barrier(struct dp *dp);

/* ---- Statistics (control thread) ---- */
struct dp_counter {
    uint64_t packets, bytes;
};
struct dp_flow_view {
    uint8_t table_id;
    uint16_t priority, idle_timeout, hard_timeout, flags;
    uint64_t cookie;
    uint64_t age_ns;
    uint64_t created_ms;
    const struct match *match; /* == &storage: a view is not to be copied */
    const struct instructions *instructions;
    struct match storage;
};
void dp_flow_view(const struct dp_flow *flow, struct dp_flow_view *view);
struct dp_counter dp_flow_counter(const struct dp_flow *flow); /* summed over the workers, which takes its time */

struct dp_flow_filter {
    uint8_t table_id; /* OFPTT_ALL for all */
    uint32_t out_port, out_group;
    uint64_t cookie, cookie_mask;
    const struct match *match; /* NULL: any */
};
/* Calls `each` for every rule that the filter selects; stops when it returns false. */
void dp_flow_each(struct dp *dp, const struct dp_flow_filter *filter,
                  bool (*each)(void *aux, const struct dp_flow *flow), void *aux);

/* The same in steps, between which anything may change: a rule that is there all the time is met once, one that comes or
 * goes meanwhile perhaps. The filter is copied. */
struct dp_flow_walk;
struct dp_flow_walk *dp_flow_walk_begin(struct dp *dp, const struct dp_flow_filter *filter);
/* False when that was the last of it; the walk is to be ended all the same. A step's cost is bounded. */
bool dp_flow_walk_step(struct dp_flow_walk *walk, bool (*each)(void *aux, const struct dp_flow *flow), void *aux);
void dp_flow_walk_end(struct dp_flow_walk *walk); /* NULL is none */

struct dp_table_stats {
    uint32_t active;
    uint64_t lookups, matched;
    const char *form; /* how the table is held now: "exact", "tuple-space", ...: for people */
};
void dp_table_stats(struct dp *dp, uint8_t table_id, struct dp_table_stats *stats);

struct dp_port_stats {
    uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_dropped, tx_dropped, rx_errors, tx_errors;
    uint64_t age_ns;
};
/* What the pipeline saw; the drivers' own drops and errors are added by `dp_port_hook`. */
void dp_port_stats(struct dp *dp, uint32_t port_no, struct dp_port_stats *stats);
typedef void dp_port_hook(void *aux, uint32_t port_no, struct dp_port_stats *stats);
void dp_set_port_hook(struct dp *dp, dp_port_hook *hook, void *aux);

struct dp_group_view {
    uint32_t group_id;
    uint8_t type;
    unsigned n_buckets;
    const struct group_bucket *buckets;
    const struct dp_counter *bucket_counters;
    struct dp_counter counter;
    uint32_t ref_count;
    uint64_t age_ns;
};
bool dp_group_view(struct dp *dp, uint32_t group_id, struct dp_group_view *view);
uint32_t dp_group_next(const struct dp *dp, uint32_t after); /* ids in ascending order from `after`; OFPG_ANY ends */

struct dp_meter_view {
    struct meter_mod config;
    uint32_t flow_count;
    struct dp_counter in;
    const struct dp_counter *bands;
    uint64_t age_ns;
};
bool dp_meter_view(struct dp *dp, uint32_t meter_id, struct dp_meter_view *view);
uint32_t dp_meter_next(const struct dp *dp, uint32_t after); /* 0 ends */

/* ---- For people ---- */
/* Run a copy of `packet` through the pipeline without sending it, telling each decision as a line of text. */
void dp_trace(struct dp *dp, uint32_t in_port, uint64_t tunnel_id, const uint8_t *data, size_t len,
              void (*line)(void *aux, const char *text), void *aux);

#endif
