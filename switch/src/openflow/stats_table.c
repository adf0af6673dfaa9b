/* Table statistics and features (sections 7.3.5.4 and 7.3.5.5). Every table can do everything, in hits and in misses.
 */
#include <stdio.h>
#include <string.h>

#include "experimenter.h"
#include "multipart.h"
#include "oxm.h"

#define TABLE_FEATURES_FAILED(code) OFPERR(OFPET_TABLE_FEATURES_FAILED, OFPTFFC_##code)
#define MAX_ENTRIES UINT32_C(0xffffffff) /* as many as there is memory for */

ofperr multipart_table(struct reply *reply, const void *body, size_t len) {
    (void) body, (void) len;
    for (unsigned id = 0; id < DP_TABLES; id++) {
        struct dp_table_stats stats;
        dp_table_stats(reply->conn->of->dp, (uint8_t) id, &stats);
        struct ofp_table_stats *wire = reply_entry(reply, sizeof *wire);
        wire->table_id = (uint8_t) id;
        wire->active_count = htobe32(stats.active);
        wire->lookup_count = htobe64(stats.lookups);
        wire->matched_count = htobe64(stats.matched);
    }
    return 0;
}

/* ---- Properties: a header, a list of ids, zeroes to eight bytes ---- */

static size_t property_begin(struct buf *out, uint16_t type) {
    size_t start = buf_len(out);
    struct ofp_table_feature_prop_header *wire = buf_put_zeros(out, sizeof *wire);
    wire->type = htobe16(type);
    return start;
}

static void property_end(struct buf *out, size_t start) {
    size_t len = buf_len(out) - start;
    struct ofp_table_feature_prop_header *wire = (struct ofp_table_feature_prop_header *) (buf_data(out) + start);
    wire->length = htobe16((uint16_t) len);
    buf_put_zeros(out, (8 - len % 8) % 8);
}

static void put_id(struct buf *out, unsigned type, unsigned len) {
    be16 id[2] = {htobe16((uint16_t) type), htobe16((uint16_t) len)};
    buf_put(out, id, sizeof id);
}

static void put_instructions(struct buf *out, uint16_t type, uint8_t table_id) {
    size_t start = property_begin(out, type);
    for (unsigned id = OFPIT_GOTO_TABLE; id <= OFPIT_METER; id++)
        if (id != OFPIT_GOTO_TABLE || table_id + 1 < DP_TABLES)
            put_id(out, id, 4);
    property_end(out, start);
}

static void put_next_tables(struct buf *out, uint16_t type, uint8_t table_id) {
    size_t start = property_begin(out, type);
    for (unsigned id = table_id + 1u; id < DP_TABLES; id++) {
        uint8_t next = (uint8_t) id;
        buf_put(out, &next, 1);
    }
    property_end(out, start);
}

static void put_actions(struct buf *out, uint16_t type) {
    size_t start = property_begin(out, type);
    for (unsigned id = ACTION_OUTPUT; id < ACTION_ARP_ND_REPLY; id++)
        if (id != ACTION_SET_QUEUE)
            put_id(out, action_wire_type(id), 4);
    be32 experimenter = htobe32(QUAKE_EXPERIMENTER_ID);
    put_id(out, OFPAT_EXPERIMENTER, 8);
    buf_put(out, &experimenter, sizeof experimenter);
    property_end(out, start);
}

/* Fields as OXM headers; of a field that can be masked, the header says so. */
static void put_fields(struct buf *out, uint16_t type, bool settable_only, bool masks) {
    size_t start = property_begin(out, type);
    for (unsigned id = 0; id < FIELD_COUNT; id++) {
        const struct field_info *info = field_by_id(id);
        be32 header = htobe32(oxm_header(info, masks && info->maskable));
        if (info->settable || !settable_only)
            buf_put(out, &header, sizeof header);
    }
    property_end(out, start);
}

static void put_properties(struct buf *out, uint8_t table_id) {
    for (uint16_t miss = 0; miss < 2; miss++) {
        put_instructions(out, OFPTFPT_INSTRUCTIONS + miss, table_id);
        put_next_tables(out, OFPTFPT_NEXT_TABLES + miss, table_id);
        put_actions(out, OFPTFPT_WRITE_ACTIONS + miss);
        put_actions(out, OFPTFPT_APPLY_ACTIONS + miss);
        put_fields(out, OFPTFPT_WRITE_SETFIELD + miss, true, false);
        put_fields(out, OFPTFPT_APPLY_SETFIELD + miss, true, false);
    }
    put_fields(out, OFPTFPT_MATCH, false, true);
    put_fields(out, OFPTFPT_WILDCARDS, false, false);
}

static void put_table(struct reply *reply, uint8_t table_id) {
    size_t entry = reply_entry_begin(reply, sizeof(struct ofp_table_features));
    put_properties(reply->out, table_id);
    struct ofp_table_features *wire = reply_at(reply, entry);
    wire->length = htobe16((uint16_t) (buf_len(reply->out) - entry));
    wire->table_id = table_id;
    snprintf(wire->name, sizeof wire->name, "table%u", table_id);
    wire->metadata_match = wire->metadata_write = UINT64_MAX;
    wire->max_entries = htobe32(MAX_ENTRIES);
    reply_entry_end(reply, entry);
}

/* ---- A request to change tables ---- */

static bool known_property(unsigned type) {
    return type <= OFPTFPT_MATCH || type == OFPTFPT_WILDCARDS ||
           (type >= OFPTFPT_WRITE_SETFIELD && type <= OFPTFPT_APPLY_SETFIELD_MISS) || type == OFPTFPT_EXPERIMENTER ||
           type == OFPTFPT_EXPERIMENTER_MISS;
}

static ofperr check_properties(const uint8_t *data, size_t len) {
    while (len) {
        const struct ofp_table_feature_prop_header *wire = (const struct ofp_table_feature_prop_header *) data;
        size_t used = len < sizeof *wire ? 0 : (be16toh(wire->length) + 7u) / 8 * 8;
        if (used < sizeof *wire || be16toh(wire->length) < sizeof *wire || used > len)
            return TABLE_FEATURES_FAILED(BAD_LEN);
        if (!known_property(be16toh(wire->type)))
            return TABLE_FEATURES_FAILED(BAD_TYPE);
        data += used;
        len -= used;
    }
    return 0;
}

static ofperr check_table(const struct ofp_table_features *wire, size_t len) {
    if (wire->table_id >= DP_TABLES)
        return TABLE_FEATURES_FAILED(BAD_TABLE);
    return check_properties((const uint8_t *) wire + sizeof *wire, len - sizeof *wire);
}

/* Well-formed wishes are refused too: the tables are all alike, able to do everything, and stay so. */
static ofperr refuse_change(const uint8_t *data, size_t len) {
    while (len) {
        const struct ofp_table_features *wire = (const struct ofp_table_features *) data;
        size_t used = len < sizeof *wire ? 0 : be16toh(wire->length);
        if (used < sizeof *wire || used > len || used % 8)
            return TABLE_FEATURES_FAILED(BAD_LEN);
        ofperr error = check_table(wire, used);
        if (error)
            return error;
        data += used;
        len -= used;
    }
    return TABLE_FEATURES_FAILED(EPERM);
}

ofperr multipart_table_features(struct reply *reply, const void *body, size_t len) {
    if (len)
        return conn_is_slave(reply->conn) ? OFPERR(OFPET_BAD_REQUEST, OFPBRC_IS_SLAVE) : refuse_change(body, len);
    for (unsigned id = 0; id < DP_TABLES; id++)
        put_table(reply, (uint8_t) id);
    return 0;
}
