/* A binary heap. See expiry.h. */
#include "expiry.h"

#include "../base/buf.h"
#include "datapath.h"

#define MS_PER_S 1000

static uint64_t hard_due(const struct dp_flow *rule) {
    return rule->hard_timeout ? rule->created_ms + (uint64_t) rule->hard_timeout * MS_PER_S : UINT64_MAX;
}

static uint64_t idle_due(const struct dp_flow *rule) {
    return rule->idle_timeout ? rule->active_ms + (uint64_t) rule->idle_timeout * MS_PER_S : UINT64_MAX;
}

static uint64_t due(const struct dp_flow *rule) {
    return idle_due(rule) < hard_due(rule) ? idle_due(rule) : hard_due(rule);
}

static void put(struct expiry *e, uint32_t at, struct expiry_entry entry) {
    e->heap[at] = entry;
    entry.rule->expiry = at;
}

static void sift_up(struct expiry *e, uint32_t at, struct expiry_entry entry) {
    for (; at > 1 && e->heap[at / 2].due_ms > entry.due_ms; at /= 2) {
        put(e, at, e->heap[at / 2]);
    }
    put(e, at, entry);
}

static void sift_down(struct expiry *e, uint32_t at, struct expiry_entry entry) {
    for (uint32_t child; (child = at * 2) <= e->n; at = child) {
        if (child < e->n && e->heap[child + 1].due_ms < e->heap[child].due_ms) {
            child++;
        }
        if (e->heap[child].due_ms >= entry.due_ms) {
            break;
        }
        put(e, at, e->heap[child]);
    }
    put(e, at, entry);
}

void expiry_add(struct expiry *e, struct dp_flow *rule) {
    if (!rule->idle_timeout && !rule->hard_timeout) {
        return;
    }
    if (e->n + 1 >= e->size) {
        e->size = e->size ? e->size * 2 : 64;
        e->heap = xrealloc(e->heap, e->size * sizeof *e->heap);
    }
    sift_up(e, ++e->n, (struct expiry_entry){due(rule), rule});
}

void expiry_remove(struct expiry *e, struct dp_flow *rule) {
    uint32_t at = rule->expiry;
    if (!at) {
        return;
    }
    rule->expiry = 0;
    struct expiry_entry last = e->heap[e->n--];
    if (last.rule != rule) {
        if (at > 1 && e->heap[at / 2].due_ms > last.due_ms) {
            sift_up(e, at, last);
        } else {
            sift_down(e, at, last);
        }
    }
}

void expiry_note_activity(struct dp *dp, struct dp_flow *rule) {
    if (rule->idle_timeout) {
        uint64_t last = counter_last_used(&dp->counters, rule->used);
        rule->active_ms = last > rule->active_ms ? last : rule->active_ms;
    }
}

void expiry_run(struct dp *dp, uint64_t now) {
    struct expiry *e = &dp->expiry;
    struct dp_txn *txn = NULL;
    while (e->n && e->heap[1].due_ms <= now) {
        struct dp_flow *rule = e->heap[1].rule;
        expiry_note_activity(dp, rule);
        if (due(rule) > now) {
            sift_down(e, 1, (struct expiry_entry){due(rule), rule});
            continue;
        }
        if (!txn) {
            txn = dp_txn_begin(dp, false);
        }
        rule_retire(txn, rule, hard_due(rule) <= now ? DP_REMOVED_HARD : DP_REMOVED_IDLE);
    }
    if (txn) {
        dp_txn_commit(txn);
    }
}
