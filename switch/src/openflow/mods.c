#include "mods.h"

#include <string.h>

#include "oxm.h"

#define BAD_REQUEST(code) OFPERR(OFPET_BAD_REQUEST, OFPBRC_##code)
#define FLOW_MOD_FAILED(code) OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_##code)
#define GROUP_MOD_FAILED(code) OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_##code)
#define METER_MOD_FAILED(code) OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_##code)
#define PORT_MOD_FAILED(code) OFPERR(OFPET_PORT_MOD_FAILED, OFPPMFC_##code)

#define FLOW_FLAGS                                                                                                     \
    (OFPFF_SEND_FLOW_REM | OFPFF_CHECK_OVERLAP | OFPFF_RESET_COUNTS | OFPFF_NO_PKT_COUNTS | OFPFF_NO_BYT_COUNTS)
#define METER_FLAGS (OFPMF_KBPS | OFPMF_PKTPS | OFPMF_BURST | OFPMF_STATS)
#define PORT_CONFIG (OFPPC_PORT_DOWN | OFPPC_NO_RECV | OFPPC_NO_FWD | OFPPC_NO_PACKET_IN)

/* ---- Flow mods ---- */

static bool is_delete(uint8_t command) {
    return command == OFPFC_DELETE || command == OFPFC_DELETE_STRICT;
}

static ofperr check_flow_mod(const struct ofp_flow_mod *wire, size_t len) {
    if (wire->command > OFPFC_DELETE_STRICT)
        return FLOW_MOD_FAILED(BAD_COMMAND);
    if (wire->table_id >= DP_TABLES && !(wire->table_id == OFPTT_ALL && is_delete(wire->command)))
        return FLOW_MOD_FAILED(BAD_TABLE_ID);
    if (be16toh(wire->flags) & ~FLOW_FLAGS)
        return FLOW_MOD_FAILED(BAD_FLAGS);
    if (be32toh(wire->buffer_id) != OFP_NO_BUFFER && !is_delete(wire->command))
        return BAD_REQUEST(BUFFER_UNKNOWN);
    return len > MOD_MAX_LEN ? OFPERR(OFPET_BAD_ACTION, OFPBAC_TOO_MANY) : 0;
}

static void flow_mod_header(const struct ofp_flow_mod *wire, struct flow_mod *mod) {
    mod->cookie = be64toh(wire->cookie);
    mod->cookie_mask = be64toh(wire->cookie_mask);
    mod->table_id = wire->table_id;
    mod->command = wire->command;
    mod->idle_timeout = be16toh(wire->idle_timeout);
    mod->hard_timeout = be16toh(wire->hard_timeout);
    mod->priority = be16toh(wire->priority);
    mod->flags = be16toh(wire->flags);
    mod->out_port = be32toh(wire->out_port);
    mod->out_group = be32toh(wire->out_group);
    mod->created_ms = 0;
}

static ofperr decode_flow_mod(const struct ofp_header *message, size_t len, struct mod_space *space,
                              struct flow_mod *mod) {
    const struct ofp_flow_mod *wire = (const struct ofp_flow_mod *) message;
    const uint8_t *body = (const uint8_t *) message + sizeof *wire;
    if (len < sizeof *wire)
        return BAD_REQUEST(BAD_LEN);
    ofperr error = check_flow_mod(wire, len);
    if (error)
        return error;
    flow_mod_header(wire, mod);
    size_t used = 0;
    error = oxm_decode_match(body, len - sizeof *wire, &mod->match, &used);
    if (error)
        return error;
    /* A delete takes no instructions; what it brings along is ignored. */
    size_t rest = is_delete(mod->command) ? 0 : len - sizeof *wire - used;
    return instructions_decode(body + used, rest, mod->table_id, &mod->match, &space->pool, &mod->instructions);
}

/* ---- Group mods ---- */

static ofperr decode_bucket(const struct ofp_bucket *wire, size_t len, struct action_pool *pool,
                            struct group_bucket *bucket) {
    unsigned n = 0;
    bucket->weight = be16toh(wire->weight);
    bucket->watch_port = be32toh(wire->watch_port);
    bucket->watch_group = be32toh(wire->watch_group);
    ofperr error = actions_decode((const uint8_t *) wire + sizeof *wire, len - sizeof *wire, ACTIONS_SET, NULL, pool,
                                  &bucket->actions, &n);
    bucket->n_actions = (uint16_t) n;
    return error;
}

static ofperr decode_buckets(const uint8_t *data, size_t len, struct mod_space *space, struct group_mod *mod) {
    mod->buckets = space->buckets;
    for (mod->n_buckets = 0; len; mod->n_buckets++) {
        const struct ofp_bucket *wire = (const struct ofp_bucket *) data;
        size_t used = len < sizeof *wire ? 0 : be16toh(wire->len);
        if (used < sizeof *wire || used > len || used % 8)
            return GROUP_MOD_FAILED(BAD_BUCKET);
        if (mod->n_buckets == MOD_MAX_BUCKETS)
            return GROUP_MOD_FAILED(OUT_OF_BUCKETS);
        ofperr error = decode_bucket(wire, used, &space->pool, &space->buckets[mod->n_buckets]);
        if (error)
            return error;
        data += used;
        len -= used;
    }
    return 0;
}

static bool has_weight(const struct group_mod *mod) {
    for (unsigned i = 0; i < mod->n_buckets; i++)
        if (mod->buckets[i].weight)
            return true;
    return false;
}

/* Section 5.6.1: an indirect group has one bucket; each bucket of a fast-failover group watches something. Section 6.5:
 * a group that gives what its type does not define, such as weights, is refused. */
static ofperr check_group(const struct group_mod *mod) {
    if (mod->group_id > OFPG_MAX)
        return GROUP_MOD_FAILED(INVALID_GROUP);
    if (mod->type >= OFPGT_TYPES)
        return GROUP_MOD_FAILED(BAD_TYPE);
    if ((mod->type == OFPGT_INDIRECT && mod->n_buckets != 1) || (mod->type != OFPGT_SELECT && has_weight(mod)))
        return GROUP_MOD_FAILED(INVALID_GROUP);
    if (mod->type == OFPGT_FF)
        for (unsigned i = 0; i < mod->n_buckets; i++)
            if (mod->buckets[i].watch_port == OFPP_ANY && mod->buckets[i].watch_group == OFPG_ANY)
                return GROUP_MOD_FAILED(BAD_WATCH);
    return 0;
}

static ofperr decode_group_mod(const struct ofp_header *message, size_t len, struct mod_space *space,
                               struct group_mod *mod) {
    const struct ofp_group_mod *wire = (const struct ofp_group_mod *) message;
    if (len < sizeof *wire)
        return BAD_REQUEST(BAD_LEN);
    *mod = (struct group_mod){be16toh(wire->command), wire->type, be32toh(wire->group_id), 0, NULL};
    if (mod->command > OFPGC_DELETE)
        return GROUP_MOD_FAILED(BAD_COMMAND);
    if (mod->command == OFPGC_DELETE)
        return mod->group_id <= OFPG_MAX || mod->group_id == OFPG_ALL ? 0 : GROUP_MOD_FAILED(INVALID_GROUP);
    if (len > MOD_MAX_LEN)
        return GROUP_MOD_FAILED(OUT_OF_BUCKETS);
    ofperr error = decode_buckets((const uint8_t *) message + sizeof *wire, len - sizeof *wire, space, mod);
    return error ? error : check_group(mod);
}

/* ---- Meter mods ---- */

static ofperr decode_band(const struct ofp_meter_band *wire, struct meter_band *band) {
    *band = (struct meter_band){be16toh(wire->type), be32toh(wire->rate), be32toh(wire->burst_size), 0};
    if (band->type == OFPMBT_DROP)
        return 0;
    if (band->type != OFPMBT_DSCP_REMARK)
        return METER_MOD_FAILED(BAD_BAND);
    band->prec_level = wire->prec_level;
    return band->prec_level <= 3 ? 0 : METER_MOD_FAILED(BAD_BAND_VALUE);
}

static ofperr decode_bands(const uint8_t *data, size_t len, struct mod_space *space, struct meter_mod *mod) {
    mod->bands = space->bands;
    for (mod->n_bands = 0; len; mod->n_bands++) {
        const struct ofp_meter_band *wire = (const struct ofp_meter_band *) data;
        if (len < sizeof *wire || be16toh(wire->len) != sizeof *wire)
            return BAD_REQUEST(BAD_LEN);
        if (mod->n_bands == MOD_MAX_BANDS)
            return METER_MOD_FAILED(OUT_OF_BANDS);
        ofperr error = decode_band(wire, &space->bands[mod->n_bands]);
        if (error)
            return error;
        data += sizeof *wire;
        len -= sizeof *wire;
    }
    return 0;
}

static ofperr decode_meter_mod(const struct ofp_header *message, size_t len, struct mod_space *space,
                               struct meter_mod *mod) {
    const struct ofp_meter_mod *wire = (const struct ofp_meter_mod *) message;
    if (len < sizeof *wire)
        return BAD_REQUEST(BAD_LEN);
    *mod = (struct meter_mod){be16toh(wire->command), be16toh(wire->flags), be32toh(wire->meter_id), 0, NULL};
    if (mod->command > OFPMC_DELETE)
        return METER_MOD_FAILED(BAD_COMMAND);
    bool all = mod->command == OFPMC_DELETE && mod->meter_id == OFPM_ALL;
    if (!all && (!mod->meter_id || mod->meter_id > OFPM_MAX))
        return METER_MOD_FAILED(INVALID_METER);
    if (mod->command == OFPMC_DELETE)
        return 0;
    if (mod->flags & ~METER_FLAGS || (mod->flags & OFPMF_KBPS && mod->flags & OFPMF_PKTPS))
        return METER_MOD_FAILED(BAD_FLAGS);
    return decode_bands((const uint8_t *) message + sizeof *wire, len - sizeof *wire, space, mod);
}

/* ---- Port and table mods ---- */

static ofperr decode_port_mod(const struct ofp_header *message, size_t len, struct mod *mod) {
    const struct ofp_port_mod *wire = (const struct ofp_port_mod *) message;
    if (len != sizeof *wire)
        return BAD_REQUEST(BAD_LEN);
    mod->port.port_no = be32toh(wire->port_no);
    mod->port.config = be32toh(wire->config);
    mod->port.mask = be32toh(wire->mask);
    memcpy(mod->port.hw_addr, wire->hw_addr, sizeof mod->port.hw_addr);
    if (mod->port.mask & ~PORT_CONFIG)
        return PORT_MOD_FAILED(BAD_CONFIG);
    return wire->advertise ? PORT_MOD_FAILED(BAD_ADVERTISE) : 0; /* no kind of port lets that be changed */
}

/* Kept in 1.3 for old controllers only: it configures nothing any more (section 7.3.3). */
static ofperr decode_table_mod(const struct ofp_header *message, size_t len) {
    const struct ofp_table_mod *wire = (const struct ofp_table_mod *) message;
    if (len != sizeof *wire)
        return BAD_REQUEST(BAD_LEN);
    if (wire->table_id >= DP_TABLES && wire->table_id != OFPTT_ALL)
        return OFPERR(OFPET_TABLE_MOD_FAILED, OFPTMFC_BAD_TABLE);
    return be32toh(wire->config) & ~OFPTC_DEPRECATED_MASK ? OFPERR(OFPET_TABLE_MOD_FAILED, OFPTMFC_BAD_CONFIG) : 0;
}

/* ---- All of them ---- */

bool mod_is_change(uint8_t type) {
    return type == OFPT_FLOW_MOD || type == OFPT_GROUP_MOD || type == OFPT_METER_MOD || type == OFPT_PORT_MOD ||
           type == OFPT_TABLE_MOD;
}

ofperr mod_decode(const struct ofp_header *message, size_t len, struct mod_space *space, struct mod *mod) {
    space->pool.n = 0;
    mod->type = message->type;
    switch (message->type) {
    case OFPT_FLOW_MOD:
        return decode_flow_mod(message, len, space, &mod->flow);
    case OFPT_GROUP_MOD:
        return decode_group_mod(message, len, space, &mod->group);
    case OFPT_METER_MOD:
        return decode_meter_mod(message, len, space, &mod->meter);
    case OFPT_PORT_MOD:
        return decode_port_mod(message, len, mod);
    case OFPT_TABLE_MOD:
        return decode_table_mod(message, len);
    default:
        return BAD_REQUEST(BAD_TYPE);
    }
}

ofperr mod_apply(const struct mod *mod, struct dp_txn *txn) {
    switch (mod->type) {
    case OFPT_FLOW_MOD:
        return dp_flow_mod(txn, &mod->flow);
    case OFPT_GROUP_MOD:
        return dp_group_mod(txn, &mod->group);
    case OFPT_METER_MOD:
        return dp_meter_mod(txn, &mod->meter);
    case OFPT_PORT_MOD:
        return dp_port_mod(txn, mod->port.port_no, mod->port.hw_addr, mod->port.config, mod->port.mask);
    default:
        return 0;
    }
}
