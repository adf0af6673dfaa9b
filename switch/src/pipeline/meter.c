/* Meter mods and token buckets. See meter.h. */
#include "meter.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "txn.h"

#define DEFAULT_BURST_MS 100     /* of traffic at the band's rate, where no burst is given */
#define LONGEST_FRAME_BITS 76800 /* a jumbo frame of 9,600 bytes: what the default burst holds at least */
#define MOST_TICKS 0x1p62        /* nine years; sums of times stay within 64 bits */

/* ---- Workers ---- */

/* Whether the packet exceeds the band; one that does not is counted against its bucket. */
static bool exceeds(struct band_runtime *band, uint64_t cost, uint64_t now) {
    uint64_t empty_at = relaxed_get(&band->empty_at), next;
    do {
        next = (empty_at > now ? empty_at : now) + cost;
        if (next > now + band->burst) {
            return true;
        }
    } while (!__atomic_compare_exchange_n(&band->empty_at, &empty_at, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return false;
}

int meter_run(struct meter *meter, uint32_t bytes, uint64_t now_ns_) {
    uint64_t now = now_ns_ * METER_TICKS_PER_NS;
    double units = meter->flags & OFPMF_PKTPS ? 1 : bytes * 8.0;
    int applies = METER_PASS;
    for (unsigned i = 0; i < meter->n_bands; i++) {
        uint64_t cost = (uint64_t) (units * meter->runtime[i].ticks_per_unit);
        if (exceeds(&meter->runtime[i], cost, now) &&
            (applies == METER_PASS || meter->bands[i].rate > meter->bands[applies].rate)) {
            applies = (int) i;
        }
    }
    return applies;
}

/* ---- Mods ---- */

static struct meter *alive(const struct dp *dp, uint32_t id) {
    return (struct meter *) idmap_alive(&dp->meters, id);
}

static ofperr check(const struct meter_mod *mod) {
    if (!mod->meter_id || mod->meter_id > OFPM_MAX) {
        return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_INVALID_METER);
    }
    for (unsigned i = 0; i < mod->n_bands; i++) {
        if (mod->bands[i].type != OFPMBT_DROP && mod->bands[i].type != OFPMBT_DSCP_REMARK) {
            return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_BAD_BAND);
        }
        if (!mod->bands[i].rate) {
            return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_BAD_RATE);
        }
    }
    return 0;
}

static void band_init(struct band_runtime *band, const struct meter_band *given, uint16_t flags) {
    double per_second = flags & OFPMF_PKTPS ? given->rate : given->rate * 1000.0;
    double burst = flags & OFPMF_PKTPS ? given->burst_size : given->burst_size * 1000.0;
    if (!(flags & OFPMF_BURST) || !given->burst_size) {
        double least = flags & OFPMF_PKTPS ? 1 : LONGEST_FRAME_BITS; /* less, and a slow band would pass nothing ever */
        burst = RTE_MAX(per_second * DEFAULT_BURST_MS / 1000, least);
    }
    band->ticks_per_unit = 1e9 * METER_TICKS_PER_NS / per_second;
    band->burst = (uint64_t) RTE_MIN(burst * band->ticks_per_unit, MOST_TICKS);
    if (band->burst < band->ticks_per_unit && (flags & OFPMF_PKTPS)) {
        band->burst = (uint64_t) band->ticks_per_unit + 1; /* a packet at least, or nothing could ever pass */
    }
}

void meter_release(void *aux, void *object) {
    struct dp *dp = aux;
    struct meter *meter = object;
    for (unsigned i = 0; i < meter->n_bands; i++) {
        if (meter->runtime[i].counter != COUNTER_NONE) {
            counter_free(&dp->counters, meter->runtime[i].counter);
        }
    }
    if (meter->counter != COUNTER_NONE) {
        counter_free(&dp->counters, meter->counter);
    }
    free(meter->runtime);
    free(meter->bands);
    free(meter);
}

static struct meter *meter_create(struct dp *dp, const struct meter_mod *mod) {
    struct meter *meter = xzalloc(sizeof *meter);
    meter->versioned.id = mod->meter_id;
    meter->flags = mod->flags;
    meter->n_bands = mod->n_bands;
    meter->bands = xzalloc((mod->n_bands + 1) * sizeof *meter->bands);
    memcpy(meter->bands, mod->bands, mod->n_bands * sizeof *meter->bands);
    meter->runtime = xzalloc((mod->n_bands + 1) * sizeof *meter->runtime);
    meter->created_ms = now_ms();
    meter->counter = counter_alloc(&dp->counters);
    bool room = meter->counter != COUNTER_NONE;
    for (unsigned i = 0; i < mod->n_bands; i++) {
        band_init(&meter->runtime[i], &mod->bands[i], mod->flags);
        meter->runtime[i].counter = counter_alloc(&dp->counters);
        room = room && meter->runtime[i].counter != COUNTER_NONE;
    }
    if (!room) {
        meter_release(dp, meter);
        return NULL;
    }
    return meter;
}

static ofperr meter_put(struct dp_txn *txn, const struct meter_mod *mod) {
    struct dp *dp = txn->dp;
    struct meter *old = alive(dp, mod->meter_id);
    bool is_add = mod->command == OFPMC_ADD;
    if (is_add && old) {
        return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_METER_EXISTS);
    }
    ofperr error = check(mod);
    if (error) {
        return error;
    }
    if (!is_add && !old) {
        return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_UNKNOWN_METER);
    }
    struct meter *meter = meter_create(dp, mod);
    if (!meter) {
        return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_OUT_OF_METERS);
    }
    txn_add_object(txn, &dp->meters, &meter->versioned, CHANGE_METER_ADDED);
    if (old) {
        txn_remove_object(txn, &dp->meters, &old->versioned, CHANGE_METER_REMOVED, true);
    }
    return 0;
}

/* The rules that use a meter go with it (section 6.5). */
static void meter_remove(struct dp_txn *txn, uint32_t id) {
    struct dp *dp = txn->dp;
    rules_retire_users(txn, program_uses_meter, id, DP_REMOVED_DELETE);
    txn_remove_object(txn, &dp->meters, &alive(dp, id)->versioned, CHANGE_METER_REMOVED, false);
}

static ofperr meter_delete(struct dp_txn *txn, uint32_t id) {
    struct dp *dp = txn->dp;
    while (id == OFPM_ALL && dp->meters.n) {
        meter_remove(txn, dp->meters.ids[dp->meters.n - 1]);
    }
    if (id != OFPM_ALL && alive(dp, id)) {
        meter_remove(txn, id);
    }
    return 0;
}

ofperr dp_meter_mod(struct dp_txn *txn, const struct meter_mod *mod) {
    switch (mod->command) {
    case OFPMC_ADD:
    case OFPMC_MODIFY:
        return meter_put(txn, mod);
    case OFPMC_DELETE:
        return meter_delete(txn, mod->meter_id);
    default:
        return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_BAD_COMMAND);
    }
}

/* ---- Statistics ---- */

bool dp_meter_view(struct dp *dp, uint32_t meter_id, struct dp_meter_view *view) {
    const struct meter *meter = alive(dp, meter_id);
    if (!meter) {
        return false;
    }
    struct dp_counter *bands = dp_scratch(dp, meter->n_bands * sizeof *bands);
    for (unsigned i = 0; i < meter->n_bands; i++) {
        bands[i] = counter_sum(&dp->counters, meter->runtime[i].counter);
    }
    *view = (struct dp_meter_view){
        .config = {.flags = meter->flags, .meter_id = meter_id, .n_bands = meter->n_bands, .bands = meter->bands},
        .flow_count = programs_count(&dp->programs, program_uses_meter, meter_id),
        .in = counter_sum(&dp->counters, meter->counter),
        .bands = bands,
        .age_ns = (now_ms() - meter->created_ms) * UINT64_C(1000000),
    };
    return true;
}

uint32_t dp_meter_next(const struct dp *dp, uint32_t after) {
    return idmap_next_id(&dp->meters, after, 0);
}
