/* Flow and aggregate statistics (section 7.3.5.2, 7.3.5.3). */
#include "multipart.h"
#include "oxm.h"

/* The filter of a request; `match` is where its match is kept. */
static ofperr decode_filter(const void *body, size_t len, struct dp_flow_filter *filter, struct match *match) {
    const struct ofp_flow_stats_request *wire = body;
    size_t used = 0, rest = len - sizeof *wire;
    if (wire->table_id >= DP_TABLES && wire->table_id != OFPTT_ALL)
        return OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_TABLE_ID);
    ofperr error = oxm_decode_match((const uint8_t *) body + sizeof *wire, rest, match, &used);
    if (error)
        return error;
    if (used != rest)
        return OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    *filter = (struct dp_flow_filter){
        .table_id = wire->table_id,
        .out_port = be32toh(wire->out_port),
        .out_group = be32toh(wire->out_group),
        .cookie = be64toh(wire->cookie),
        .cookie_mask = be64toh(wire->cookie_mask),
        .match = match,
    };
    return 0;
}

static bool put_flow(void *aux, const struct dp_flow *flow) {
    struct reply *reply = aux;
    struct dp_flow_view view;
    dp_flow_view(flow, &view);
    struct dp_counter counter = flow_counter(flow, view.flags);
    size_t entry = reply_entry_begin(reply, sizeof(struct ofp_flow_stats));
    oxm_encode_match(reply->out, view.match);
    instructions_encode(reply->out, view.instructions);
    struct ofp_flow_stats *wire = reply_at(reply, entry);
    wire->length = htobe16((uint16_t) (buf_len(reply->out) - entry));
    wire->table_id = view.table_id;
    wire->duration_sec = duration_sec(view.age_ns);
    wire->duration_nsec = duration_nsec(view.age_ns);
    wire->priority = htobe16(view.priority);
    wire->idle_timeout = htobe16(view.idle_timeout);
    wire->hard_timeout = htobe16(view.hard_timeout);
    wire->flags = htobe16(view.flags);
    wire->cookie = htobe64(view.cookie);
    wire->packet_count = htobe64(counter.packets);
    wire->byte_count = htobe64(counter.bytes);
    reply_entry_end(reply, entry);
    return true;
}

static bool put_flows(struct series *series, struct reply *reply) {
    return dp_flow_walk_step(series->walk, put_flow, reply);
}

/* Answers with what `put` makes of the flows that the request asks for. */
static ofperr walk_flows(struct reply *reply, const void *body, size_t len,
                         bool (*put)(struct series *series, struct reply *reply)) {
    struct dp_flow_filter filter;
    struct match match;
    ofperr error = decode_filter(body, len, &filter, &match);
    if (!error)
        series_begin(reply, put)->walk = dp_flow_walk_begin(reply->conn->of->dp, &filter);
    return error;
}

ofperr multipart_flow(struct reply *reply, const void *body, size_t len) {
    return walk_flows(reply, body, len, put_flows);
}

/* A sum of which a part is not known is not known. */
static uint64_t plus(uint64_t sum, uint64_t part) {
    return sum == UINT64_MAX || part == UINT64_MAX ? UINT64_MAX : sum + part;
}

static bool add_flow(void *aux, const struct dp_flow *flow) {
    struct series *series = aux;
    struct dp_flow_view view;
    dp_flow_view(flow, &view);
    struct dp_counter counter = flow_counter(flow, view.flags), *sum = &series->sum.counter;
    sum->packets = plus(sum->packets, counter.packets);
    sum->bytes = plus(sum->bytes, counter.bytes);
    series->sum.flows++;
    return true;
}

static bool put_sum(struct series *series, struct reply *reply) {
    if (dp_flow_walk_step(series->walk, add_flow, series))
        return true;
    struct ofp_aggregate_stats_reply *wire = reply_entry(reply, sizeof *wire);
    wire->packet_count = htobe64(series->sum.counter.packets);
    wire->byte_count = htobe64(series->sum.counter.bytes);
    wire->flow_count = htobe32(series->sum.flows);
    return false;
}

ofperr multipart_aggregate(struct reply *reply, const void *body, size_t len) {
    return walk_flows(reply, body, len, put_sum);
}
