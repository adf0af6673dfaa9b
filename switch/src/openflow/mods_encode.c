/* Making the messages of mods.h from what the datapath shows. */
#include <string.h>

#include "mods.h"
#include "oxm.h"

void message_begin(struct buf *out, uint8_t type, be32 xid, size_t size) {
    struct ofp_header *header = buf_put_zeros(out, size);
    *header = (struct ofp_header){OFP_VERSION, type, htobe16((uint16_t) size), xid};
}

void message_end(struct buf *out, size_t start) {
    struct ofp_header *header = (struct ofp_header *) (buf_data(out) + start);
    header->length = htobe16((uint16_t) (buf_len(out) - start));
}

void mod_encode_flow(struct buf *out, const struct dp_flow_view *flow, enum mod_flow_command command) {
    size_t start = buf_len(out);
    message_begin(out, OFPT_FLOW_MOD, 0, sizeof(struct ofp_flow_mod));
    struct ofp_flow_mod *wire = (struct ofp_flow_mod *) (buf_data(out) + start);
    wire->cookie = htobe64(flow->cookie);
    wire->table_id = flow->table_id;
    wire->command = command == MOD_FLOW_ADD ? OFPFC_ADD : OFPFC_DELETE_STRICT;
    wire->idle_timeout = htobe16(flow->idle_timeout);
    wire->hard_timeout = htobe16(flow->hard_timeout);
    wire->priority = htobe16(flow->priority);
    wire->buffer_id = htobe32(OFP_NO_BUFFER);
    wire->out_port = htobe32(OFPP_ANY);
    wire->out_group = htobe32(OFPG_ANY);
    wire->flags = htobe16(flow->flags & ~OFPFF_CHECK_OVERLAP & ~OFPFF_RESET_COUNTS);
    oxm_encode_match(out, flow->match);
    if (command == MOD_FLOW_ADD)
        instructions_encode(out, flow->instructions);
    message_end(out, start);
}

void mod_encode_buckets(struct buf *out, const struct dp_group_view *group) {
    for (unsigned i = 0; i < group->n_buckets; i++) {
        const struct group_bucket *bucket = &group->buckets[i];
        size_t start = buf_len(out);
        buf_put_zeros(out, sizeof(struct ofp_bucket));
        actions_encode(out, bucket->actions, bucket->n_actions);
        struct ofp_bucket *wire = (struct ofp_bucket *) (buf_data(out) + start);
        wire->len = htobe16((uint16_t) (buf_len(out) - start));
        wire->weight = htobe16(bucket->weight);
        wire->watch_port = htobe32(bucket->watch_port);
        wire->watch_group = htobe32(bucket->watch_group);
    }
}

void mod_encode_group(struct buf *out, const struct dp_group_view *group) {
    size_t start = buf_len(out);
    message_begin(out, OFPT_GROUP_MOD, 0, sizeof(struct ofp_group_mod));
    struct ofp_group_mod *wire = (struct ofp_group_mod *) (buf_data(out) + start);
    wire->command = htobe16(OFPGC_ADD);
    wire->type = group->type;
    wire->group_id = htobe32(group->group_id);
    mod_encode_buckets(out, group);
    message_end(out, start);
}

void mod_encode_bands(struct buf *out, const struct meter_mod *meter) {
    for (unsigned i = 0; i < meter->n_bands; i++) {
        struct ofp_meter_band *wire = buf_put_zeros(out, sizeof *wire);
        wire->type = htobe16(meter->bands[i].type);
        wire->len = htobe16(sizeof *wire);
        wire->rate = htobe32(meter->bands[i].rate);
        wire->burst_size = htobe32(meter->bands[i].burst_size);
        wire->prec_level = meter->bands[i].prec_level;
    }
}

void mod_encode_meter(struct buf *out, const struct dp_meter_view *meter) {
    size_t start = buf_len(out);
    message_begin(out, OFPT_METER_MOD, 0, sizeof(struct ofp_meter_mod));
    struct ofp_meter_mod *wire = (struct ofp_meter_mod *) (buf_data(out) + start);
    wire->command = htobe16(OFPMC_ADD);
    wire->flags = htobe16(meter->config.flags);
    wire->meter_id = htobe32(meter->config.meter_id);
    mod_encode_bands(out, &meter->config);
    message_end(out, start);
}

void mod_encode_port(struct buf *out, const struct dp_port *port) {
    size_t start = buf_len(out);
    message_begin(out, OFPT_PORT_MOD, 0, sizeof(struct ofp_port_mod));
    struct ofp_port_mod *wire = (struct ofp_port_mod *) (buf_data(out) + start);
    wire->port_no = htobe32(port->port_no);
    memcpy(wire->hw_addr, port->hw_addr, sizeof wire->hw_addr);
    wire->config = htobe32(port->config);
    wire->mask = htobe32(OFPPC_PORT_DOWN | OFPPC_NO_RECV | OFPPC_NO_FWD | OFPPC_NO_PACKET_IN);
}
