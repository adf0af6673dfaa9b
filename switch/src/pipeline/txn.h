/* Transactions: changes that take effect one by one, or all at once, or not at all.
 *
 * An atomic transaction is given the next version. What it adds exists from that version on, what it removes until
 * then, so nothing that it does is seen before its commit publishes the version. The log tells what to undo, and what
 * to unlink once no worker reads an older version any more.
 *
 * Neighbours: flow_mod.c, group.c, meter.c and dp.c (ports) log what they do. */
#ifndef QUAKE_PIPELINE_TXN_H
#define QUAKE_PIPELINE_TXN_H 1

#include "datapath.h"

enum change_kind {
    CHANGE_RULE_ADDED,
    CHANGE_RULE_REMOVED,
    CHANGE_GROUP_ADDED,
    CHANGE_GROUP_REMOVED,
    CHANGE_METER_ADDED,
    CHANGE_METER_REMOVED,
    CHANGE_PORT
};

struct change {
    uint8_t kind;
    bool replaced;  /* a removed rule has a successor: nobody is told */
    uint8_t reason; /* enum dp_removed_reason */
    union {
        struct dp_flow *rule;
        struct versioned *object; /* group or meter */
        struct dp_port *port;
    };
    uint32_t port_config; /* before the change */
};

struct dp_txn {
    struct dp *dp;
    bool atomic;
    uint64_t version; /* atomic: from which it holds */
    struct change *log;
    size_t n, size;
};

void txn_log(struct dp_txn *txn, struct change change); /* atomic only */

/* When an object that is added exists from, and how one that is removed stops to exist. */
static inline uint64_t txn_added(const struct dp_txn *txn) {
    return txn->atomic ? txn->version : 0;
}

/* Groups and meters, alike. `release` frees an object that nobody reads any more. */
struct idmap;
struct versioned;
void txn_add_object(struct dp_txn *txn, struct idmap *map, struct versioned *object, enum change_kind kind);
void txn_remove_object(struct dp_txn *txn, struct idmap *map, struct versioned *object, enum change_kind kind,
                       bool replaced);

/* flow_mod.c, for txn.c */
void rule_undo_add(struct dp *dp, struct dp_flow *rule);
void rule_undo_remove(struct dp *dp, struct dp_flow *rule);
void rule_unlink_later(struct dp *dp, struct dp_flow *rule); /* after a grace period; freed after another */
void rule_tell_removed(struct dp *dp, struct dp_flow *rule, enum dp_removed_reason reason);
/* group.c, meter.c: rcu callbacks */
void group_release(void *dp, void *group);
void meter_release(void *dp, void *meter);

#endif
