/* The datapath's insides, shared by the files of pipeline/. dp.h is what the rest of the switch sees. */
#ifndef QUAKE_PIPELINE_DATAPATH_H
#define QUAKE_PIPELINE_DATAPATH_H 1

#include "classifier.h"
#include "counters.h"
#include "dp.h"
#include "expiry.h"
#include "idmap.h"
#include "ports.h"
#include "program.h"
#include "rcu.h"
#include "slab.h"

/* What a worker reads once per batch; replaced as a whole. */
struct dp_state {
    uint64_t version;
    uint64_t number; /* each is the successor of one with a lower number */
    struct port_map *ports;
};

struct dp {
    struct dp_state *state;
    struct classifier tables[DP_TABLES];
    struct idmap groups, meters;
    struct dp_worker *workers[DP_MAX_WORKERS];
    int wake_fd;
    uint32_t wake_pending; /* a worker has written to wake_fd since it was last drained */
    /* control thread only */
    uint64_t id;
    struct dp_events events;
    struct rcu rcu;
    uint64_t last_version; /* the last that a transaction was given */
    uint64_t last_walk;    /* along chains of groups */
    struct dp_txn *open;   /* the atomic transaction under way */
    bool untidy;           /* one of the tables is */
    struct ports ports;
    struct shapes shapes;
    struct programs programs;
    struct slab slab;
    struct counter_space counters;
    struct expiry expiry;
    struct {
        uint64_t lookups, matched;
    } retired_tables[DP_TABLES];
    void *scratch;
    dp_port_hook *port_hook;
    void *port_hook_aux;
};

/* Memory for what a view shows; lives until the next call. */
void *dp_scratch(struct dp *dp, size_t size);

uint64_t now_ms(void); /* CLOCK_MONOTONIC */
uint64_t now_ns(void);

/* After rules were removed, or deferred removals called back: puts the tables in order that it left untidy. */
void dp_tidy(struct dp *dp);

/* Replace what workers read once per batch: the version, or the port map, made anew from dp->ports, or both. */
void dp_publish_version(struct dp *dp, uint64_t version);
void dp_publish_ports(struct dp *dp);
void dp_publish(struct dp *dp, uint64_t version, struct port_map *ports);

/* flow_mod.c */
void rule_destroy(struct dp *dp, struct dp_flow *rule); /* nobody reads it any more */
void rule_retire(struct dp_txn *txn, struct dp_flow *rule, enum dp_removed_reason reason);
void rules_retire_users(struct dp_txn *txn, bool (*uses)(const struct program *, uint32_t), uint32_t id,
                        enum dp_removed_reason reason);

#endif
