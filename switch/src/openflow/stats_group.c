/* Groups and meters: statistics, descriptions, features (section 7.3.5.9 to 7.3.5.14). */
#include "multipart.h"

#define MAX_GROUPS OFPG_MAX
#define MAX_METERS OFPM_MAX
#define PART_ENTRIES 1000 /* of a reply in series */
#define PART_BYTES ((size_t) 512 * 1024)

/* ---- Groups ---- */

static void put_counter(struct buf *out, const struct dp_counter *counter) {
    struct ofp_counter *wire = buf_put_zeros(out, sizeof *wire);
    wire->packet_count = htobe64(counter->packets);
    wire->byte_count = htobe64(counter->bytes);
}

static void put_group_stats(struct reply *reply, const struct dp_group_view *group) {
    size_t entry = reply_entry_begin(reply, sizeof(struct ofp_group_stats));
    for (unsigned i = 0; i < group->n_buckets; i++)
        put_counter(reply->out, &group->bucket_counters[i]);
    struct ofp_group_stats *wire = reply_at(reply, entry);
    wire->length = htobe16((uint16_t) (buf_len(reply->out) - entry));
    wire->group_id = htobe32(group->group_id);
    wire->ref_count = htobe32(group->ref_count);
    wire->packet_count = htobe64(group->counter.packets);
    wire->byte_count = htobe64(group->counter.bytes);
    wire->duration_sec = duration_sec(group->age_ns);
    wire->duration_nsec = duration_nsec(group->age_ns);
    reply_entry_end(reply, entry);
}

static void put_group_desc(struct reply *reply, const struct dp_group_view *group) {
    size_t entry = reply_entry_begin(reply, sizeof(struct ofp_group_desc));
    mod_encode_buckets(reply->out, group);
    struct ofp_group_desc *wire = reply_at(reply, entry);
    wire->length = htobe16((uint16_t) (buf_len(reply->out) - entry));
    wire->type = group->type;
    wire->group_id = htobe32(group->group_id);
    reply_entry_end(reply, entry);
}

/* Some more groups, until a good deal waits to be sent. */
static bool put_groups(struct series *series, struct reply *reply,
                       void (*put)(struct reply *reply, const struct dp_group_view *group)) {
    struct dp *dp = reply->conn->of->dp;
    struct dp_group_view view;
    for (unsigned i = 0; i < PART_ENTRIES && buf_len(reply->out) < PART_BYTES; i++) {
        series->id = dp_group_next(dp, series->id);
        if (series->id == OFPG_ANY)
            return false;
        if (dp_group_view(dp, series->id, &view))
            put(reply, &view);
    }
    return true;
}

static bool put_all_group_stats(struct series *series, struct reply *reply) {
    return put_groups(series, reply, put_group_stats);
}

static bool put_all_group_desc(struct series *series, struct reply *reply) {
    return put_groups(series, reply, put_group_desc);
}

ofperr multipart_group(struct reply *reply, const void *body, size_t len) {
    const struct ofp_group_stats_request *request = body;
    uint32_t id = be32toh(request->group_id);
    struct dp_group_view view;
    (void) len;
    if (id == OFPG_ALL)
        series_begin(reply, put_all_group_stats)->id = OFPG_ANY;
    else if (id > OFPG_MAX)
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_INVALID_GROUP);
    else if (dp_group_view(reply->conn->of->dp, id, &view))
        put_group_stats(reply, &view);
    else
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_UNKNOWN_GROUP);
    return 0;
}

ofperr multipart_group_desc(struct reply *reply, const void *body, size_t len) {
    (void) body, (void) len;
    series_begin(reply, put_all_group_desc)->id = OFPG_ANY;
    return 0;
}

static uint32_t supported_actions(void) {
    uint32_t bitmap = 0;
    for (unsigned type = ACTION_OUTPUT; type < ACTION_ARP_ND_REPLY; type++)
        if (type != ACTION_SET_QUEUE)
            bitmap |= UINT32_C(1) << action_wire_type(type);
    return bitmap;
}

ofperr multipart_group_features(struct reply *reply, const void *body, size_t len) {
    (void) body, (void) len;
    struct ofp_group_features *wire = reply_entry(reply, sizeof *wire);
    wire->types = htobe32(1 << OFPGT_ALL | 1 << OFPGT_SELECT | 1 << OFPGT_INDIRECT | 1 << OFPGT_FF);
    wire->capabilities =
        htobe32(OFPGFC_SELECT_WEIGHT | OFPGFC_SELECT_LIVENESS | OFPGFC_CHAINING | OFPGFC_CHAINING_CHECKS);
    for (int i = 0; i < OFPGT_TYPES; i++) {
        wire->max_groups[i] = htobe32(MAX_GROUPS);
        wire->actions[i] = htobe32(supported_actions());
    }
    return 0;
}

/* ---- Meters ---- */

static void put_meter_stats(struct reply *reply, const struct dp_meter_view *meter) {
    size_t entry = reply_entry_begin(reply, sizeof(struct ofp_meter_stats));
    for (unsigned i = 0; i < meter->config.n_bands; i++)
        put_counter(reply->out, &meter->bands[i]);
    struct ofp_meter_stats *wire = reply_at(reply, entry);
    wire->meter_id = htobe32(meter->config.meter_id);
    wire->len = htobe16((uint16_t) (buf_len(reply->out) - entry));
    wire->flow_count = htobe32(meter->flow_count);
    wire->packet_in_count = htobe64(meter->in.packets);
    wire->byte_in_count = htobe64(meter->in.bytes);
    wire->duration_sec = duration_sec(meter->age_ns);
    wire->duration_nsec = duration_nsec(meter->age_ns);
    reply_entry_end(reply, entry);
}

static void put_meter_config(struct reply *reply, const struct dp_meter_view *meter) {
    size_t entry = reply_entry_begin(reply, sizeof(struct ofp_meter_config));
    mod_encode_bands(reply->out, &meter->config);
    struct ofp_meter_config *wire = reply_at(reply, entry);
    wire->length = htobe16((uint16_t) (buf_len(reply->out) - entry));
    wire->flags = htobe16(meter->config.flags);
    wire->meter_id = htobe32(meter->config.meter_id);
    reply_entry_end(reply, entry);
}

static ofperr answer_meters(struct reply *reply, const struct ofp_meter_multipart_request *request,
                            void (*put)(struct reply *reply, const struct dp_meter_view *meter)) {
    struct dp *dp = reply->conn->of->dp;
    uint32_t only = be32toh(request->meter_id);
    struct dp_meter_view view;
    if (only != OFPM_ALL) {
        if (!only || only > OFPM_MAX)
            return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_INVALID_METER);
        if (!dp_meter_view(dp, only, &view))
            return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_UNKNOWN_METER);
        put(reply, &view);
        return 0;
    }
    for (uint32_t id = 0; (id = dp_meter_next(dp, id));)
        if (dp_meter_view(dp, id, &view))
            put(reply, &view);
    return 0;
}

ofperr multipart_meter(struct reply *reply, const void *body, size_t len) {
    (void) len;
    return answer_meters(reply, body, put_meter_stats);
}

ofperr multipart_meter_config(struct reply *reply, const void *body, size_t len) {
    (void) len;
    return answer_meters(reply, body, put_meter_config);
}

ofperr multipart_meter_features(struct reply *reply, const void *body, size_t len) {
    (void) body, (void) len;
    struct ofp_meter_features *wire = reply_entry(reply, sizeof *wire);
    wire->max_meter = htobe32(MAX_METERS);
    wire->band_types = htobe32(1 << OFPMBT_DROP | 1 << OFPMBT_DSCP_REMARK);
    wire->capabilities = htobe32(OFPMF_KBPS | OFPMF_PKTPS | OFPMF_BURST | OFPMF_STATS);
    wire->max_bands = MOD_MAX_BANDS;
    wire->max_color = 0;
    return 0;
}
