/* What the switch says of its own accord (specification 1.3.5, section 7.4): packet-in, flow-removed, port-status. */
#include <string.h>

#include "../base/loop.h"
#include "conn.h"
#include "events.h"
#include "oxm.h"

#define PACKET_IN_BACKLOG ((size_t) 4 * 1024 * 1024) /* bytes unsent, beyond which packet-ins are dropped */

static bool wants(const struct conn *conn, const uint32_t mask[2], unsigned reason) {
    return conn->main == conn && conn->state == CONN_UP && mask[conn_is_slave(conn)] >> reason & 1;
}

/* What is put together now leaves in the next round of the loop, all of it together. */
static void send_soon(struct conn *conn) {
    loop_timer_set(conn->of->work, loop_now_ms());
}

/* ---- Packet-in ---- */

static void put_context(struct buf *out, enum field_id id, uint64_t value) {
    const struct field_info *info = field_by_id(id);
    be64 wide = htobe64(value);
    if (value)
        oxm_encode_field(out, info, (const uint8_t *) &wide + sizeof wide - info->n_bytes);
}

/* The fields that the packet itself does not tell; those that are zero are omitted. */
static void put_packet_context(struct buf *out, const struct dp_packet_in *event) {
    size_t start = buf_len(out);
    buf_put_zeros(out, sizeof(struct ofp_match));
    put_context(out, FIELD_IN_PORT, event->in_port);
    put_context(out, FIELD_IN_PHY_PORT, event->in_phy_port == event->in_port ? 0 : event->in_phy_port);
    put_context(out, FIELD_METADATA, event->metadata);
    put_context(out, FIELD_TUNNEL_ID, event->tunnel_id);
    struct ofp_match *match = (struct ofp_match *) (buf_data(out) + start);
    match->type = htobe16(OFPMT_OXM);
    match->length = htobe16((uint16_t) (buf_len(out) - start));
    buf_put_zeros(out, (8 - (buf_len(out) - start) % 8) % 8);
}

static void put_packet_in(struct conn *conn, const struct dp_packet_in *event) {
    size_t start = conn_message_begin(conn, OFPT_PACKET_IN, 0, sizeof(struct ofp_packet_in));
    struct ofp_packet_in *wire = conn_at(conn, start);
    wire->buffer_id = htobe32(OFP_NO_BUFFER);
    wire->total_len = htobe16((uint16_t) event->len);
    wire->reason = (uint8_t) event->reason;
    wire->table_id = event->table_id;
    wire->cookie = htobe64(event->cookie);
    put_packet_context(&conn->out, event);
    buf_put_zeros(&conn->out, 2);
    buf_put(&conn->out, event->data, event->len);
    conn_message_end(conn, start);
}

/* Packet-ins ride an auxiliary connection where there is one, so that they do not delay what the controller asked for
 * (section 6.3.6); those of one port stay in order. */
static struct conn *packet_in_channel(struct conn *main, uint32_t in_port) {
    struct conn *up[8], *conn;
    unsigned n = 0;
    LIST_FOREACH (conn, &main->of->conns, link)
        if (conn->main == main && conn != main && conn->state == CONN_UP && n < 8)
            up[n++] = conn;
    return n ? up[in_port % n] : main;
}

void of_packet_in(void *aux, const struct dp_packet_in *event) {
    struct of *of = aux;
    struct conn *conn;
    if (event->len > OFP_MAX_MESSAGE - 128)
        return; /* more than a message can carry, context included */
    LIST_FOREACH (conn, &of->conns, link) {
        if (!wants(conn, conn->packet_in_mask, event->reason))
            continue;
        struct conn *channel = packet_in_channel(conn, event->in_port);
        if (buf_len(&channel->out) > PACKET_IN_BACKLOG)
            continue;
        put_packet_in(channel, event);
        send_soon(channel);
    }
}

/* ---- Flow removed ---- */

struct dp_counter flow_counter(const struct dp_flow *flow, uint16_t flags) {
    struct dp_counter counter = dp_flow_counter(flow);
    if (flags & OFPFF_NO_PKT_COUNTS)
        counter.packets = UINT64_MAX;
    if (flags & OFPFF_NO_BYT_COUNTS)
        counter.bytes = UINT64_MAX;
    return counter;
}

static void put_flow_removed(struct conn *conn, const struct dp_flow_view *flow, struct dp_counter counter,
                             enum dp_removed_reason reason) {
    size_t start = conn_message_begin(conn, OFPT_FLOW_REMOVED, 0, sizeof(struct ofp_flow_removed));
    struct ofp_flow_removed *wire = conn_at(conn, start);
    wire->cookie = htobe64(flow->cookie);
    wire->priority = htobe16(flow->priority);
    wire->reason = (uint8_t) reason;
    wire->table_id = flow->table_id;
    wire->duration_sec = htobe32((uint32_t) (flow->age_ns / 1000000000));
    wire->duration_nsec = htobe32((uint32_t) (flow->age_ns % 1000000000));
    wire->idle_timeout = htobe16(flow->idle_timeout);
    wire->hard_timeout = htobe16(flow->hard_timeout);
    wire->packet_count = htobe64(counter.packets);
    wire->byte_count = htobe64(counter.bytes);
    oxm_encode_match(&conn->out, flow->match);
    conn_message_end(conn, start);
}

/* A rule that ran out is no message's doing, so the journal is told by a message that would have removed it. */
static void journal_timeout(struct of *of, const struct dp_flow_view *flow) {
    struct buf message = {0};
    mod_encode_flow(&message, flow, MOD_FLOW_DELETE_STRICT);
    of_accepted(of, (const struct ofp_header *) buf_data(&message), buf_len(&message));
    buf_free(&message);
}

void of_flow_removed(void *aux, const struct dp_flow *flow, enum dp_removed_reason reason) {
    struct of *of = aux;
    struct dp_flow_view view;
    struct conn *conn;
    dp_flow_view(flow, &view);
    if (reason == DP_REMOVED_IDLE || reason == DP_REMOVED_HARD)
        journal_timeout(of, &view);
    if (!(view.flags & OFPFF_SEND_FLOW_REM))
        return;
    LIST_FOREACH (conn, &of->conns, link) {
        if (!wants(conn, conn->flow_removed_mask, reason))
            continue;
        put_flow_removed(conn, &view, flow_counter(flow, view.flags), reason);
        send_soon(conn);
    }
}

/* ---- Port status ---- */

void port_encode(struct ofp_port *wire, const struct dp_port *port) {
    wire->port_no = htobe32(port->port_no);
    memcpy(wire->hw_addr, port->hw_addr, sizeof wire->hw_addr);
    memcpy(wire->name, port->name, strnlen(port->name, sizeof wire->name - 1));
    wire->config = htobe32(port->config);
    wire->state = htobe32(port->state);
    wire->curr = htobe32(port->curr);
    wire->advertised = htobe32(port->advertised);
    wire->supported = htobe32(port->supported);
    wire->peer = htobe32(port->peer);
    wire->curr_speed = htobe32(port->curr_speed);
    wire->max_speed = htobe32(port->max_speed);
}

void of_port_status(void *aux, const struct dp_port *port, enum dp_port_reason reason) {
    struct of *of = aux;
    struct conn *conn;
    LIST_FOREACH (conn, &of->conns, link) {
        if (!wants(conn, conn->port_status_mask, reason))
            continue;
        struct ofp_port_status *wire = conn_at(conn, conn_message_begin(conn, OFPT_PORT_STATUS, 0, sizeof *wire));
        wire->reason = (uint8_t) reason;
        port_encode(&wire->desc, port);
        send_soon(conn);
    }
}
