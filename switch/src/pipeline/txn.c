/* Commit and abort. See txn.h. */
#include "txn.h"

#include <assert.h>
#include <stdlib.h>

#include "../base/buf.h"

struct dp_txn *dp_txn_begin(struct dp *dp, bool atomic) {
    assert(!dp->open);
    rcu_poll(&dp->rcu);
    struct dp_txn *txn = xzalloc(sizeof *txn);
    txn->dp = dp;
    txn->atomic = atomic;
    if (atomic) {
        txn->version = ++dp->last_version;
        dp->open = txn;
    }
    return txn;
}

void txn_log(struct dp_txn *txn, struct change change) {
    if (txn->n == txn->size) {
        txn->size = txn->size ? txn->size * 2 : 16;
        txn->log = xrealloc(txn->log, txn->size * sizeof *txn->log);
    }
    txn->log[txn->n++] = change;
}

static void finish(struct dp_txn *txn) {
    if (txn->atomic) {
        txn->dp->open = NULL;
    }
    dp_tidy(txn->dp);
    free(txn->log);
    free(txn);
}

/* ---- Groups and meters ---- */

static struct idmap *map_of(struct dp *dp, uint8_t kind) {
    return kind == CHANGE_GROUP_ADDED || kind == CHANGE_GROUP_REMOVED ? &dp->groups : &dp->meters;
}

static rcu_callback *release_of(uint8_t kind) {
    return kind == CHANGE_GROUP_ADDED || kind == CHANGE_GROUP_REMOVED ? group_release : meter_release;
}

static void unlink_group(void *aux, void *object) {
    struct dp *dp = aux;
    idmap_unlink(&dp->groups, object);
    rcu_defer(&dp->rcu, group_release, dp, object);
}

static void unlink_meter(void *aux, void *object) {
    struct dp *dp = aux;
    idmap_unlink(&dp->meters, object);
    rcu_defer(&dp->rcu, meter_release, dp, object);
}

void txn_add_object(struct dp_txn *txn, struct idmap *map, struct versioned *object, enum change_kind kind) {
    object->added = txn_added(txn);
    object->removed = RULE_ALIVE;
    idmap_link(map, object);
    idmap_add_id(map, object->id);
    if (txn->atomic) {
        txn_log(txn, (struct change){.kind = kind, .object = object});
    }
}

/* A plain replacement leaves the old object visible to whoever is reading it; the new one is found before it. */
void txn_remove_object(struct dp_txn *txn, struct idmap *map, struct versioned *object, enum change_kind kind,
                       bool replaced) {
    idmap_remove_id(map, object->id);
    if (txn->atomic) {
        relaxed_set(&object->removed, txn->version);
        txn_log(txn, (struct change){.kind = kind, .object = object, .replaced = replaced});
        return;
    }
    if (!replaced) {
        relaxed_set(&object->removed, 0);
    }
    idmap_unlink(map, object);
    rcu_defer(&txn->dp->rcu, release_of(kind), txn->dp, object);
}

/* ---- Commit ---- */

static void commit_change(struct dp *dp, const struct change *change) {
    switch (change->kind) {
    case CHANGE_RULE_REMOVED:
        if (!change->replaced) {
            rule_tell_removed(dp, change->rule, change->reason);
        }
        rule_unlink_later(dp, change->rule);
        break;
    case CHANGE_GROUP_REMOVED:
        rcu_defer(&dp->rcu, unlink_group, dp, change->object);
        break;
    case CHANGE_METER_REMOVED:
        rcu_defer(&dp->rcu, unlink_meter, dp, change->object);
        break;
    case CHANGE_PORT:
        if (dp->events.port_status) {
            dp->events.port_status(dp->events.aux, change->port, DP_PORT_MODIFY);
        }
        break;
    default:
        break;
    }
}

static bool changes_ports(const struct dp_txn *txn) {
    for (size_t i = 0; i < txn->n; i++) {
        if (txn->log[i].kind == CHANGE_PORT) {
            return true;
        }
    }
    return false;
}

ofperr dp_txn_commit(struct dp_txn *txn) {
    struct dp *dp = txn->dp;
    if (txn->atomic) {
        if (changes_ports(txn)) {
            dp_publish(dp, txn->version, port_map_create(&dp->ports));
        } else {
            dp_publish_version(dp, txn->version);
        }
        for (size_t i = 0; i < txn->n; i++) {
            commit_change(dp, &txn->log[i]);
        }
    }
    finish(txn);
    return 0;
}

/* ---- Abort ---- */

static void undo_object(struct dp *dp, const struct change *change) {
    struct idmap *map = map_of(dp, change->kind);
    if (change->kind == CHANGE_GROUP_REMOVED || change->kind == CHANGE_METER_REMOVED) {
        relaxed_set(&change->object->removed, RULE_ALIVE);
        idmap_add_id(map, change->object->id);
        return;
    }
    idmap_remove_id(map, change->object->id);
    idmap_unlink(map, change->object);
    rcu_defer(&dp->rcu, release_of(change->kind), dp, change->object);
}

static void undo(struct dp *dp, const struct change *change) {
    switch (change->kind) {
    case CHANGE_RULE_ADDED:
        rule_undo_add(dp, change->rule);
        break;
    case CHANGE_RULE_REMOVED:
        rule_undo_remove(dp, change->rule);
        break;
    case CHANGE_PORT:
        port_configure(change->port, change->port_config);
        break;
    default:
        undo_object(dp, change);
        break;
    }
}

void dp_txn_abort(struct dp_txn *txn) {
    for (size_t i = txn->n; i-- > 0;) {
        undo(txn->dp, &txn->log[i]);
    }
    finish(txn);
}
