/* Port statistics and descriptions, queue statistics (section 7.3.5.6 to 7.3.5.8). */
#include "events.h"
#include "multipart.h"

static void put_port_stats(struct reply *reply, uint32_t port_no) {
    struct dp_port_stats stats = {0};
    dp_port_stats(reply->conn->of->dp, port_no, &stats);
    struct ofp_port_stats *wire = reply_entry(reply, sizeof *wire);
    wire->port_no = htobe32(port_no);
    wire->rx_packets = htobe64(stats.rx_packets);
    wire->tx_packets = htobe64(stats.tx_packets);
    wire->rx_bytes = htobe64(stats.rx_bytes);
    wire->tx_bytes = htobe64(stats.tx_bytes);
    wire->rx_dropped = htobe64(stats.rx_dropped);
    wire->tx_dropped = htobe64(stats.tx_dropped);
    wire->rx_errors = htobe64(stats.rx_errors);
    wire->tx_errors = htobe64(stats.tx_errors);
    /* No kind of port tells these apart: "not available" is all ones. */
    wire->rx_frame_err = wire->rx_over_err = wire->rx_crc_err = wire->collisions = UINT64_MAX;
    wire->duration_sec = duration_sec(stats.age_ns);
    wire->duration_nsec = duration_nsec(stats.age_ns);
}

ofperr multipart_port_stats(struct reply *reply, const void *body, size_t len) {
    const struct ofp_port_stats_request *request = body;
    struct dp *dp = reply->conn->of->dp;
    uint32_t port_no = be32toh(request->port_no);
    (void) len;
    if (port_no == OFPP_ANY)
        for (const struct dp_port *port = dp_port_next(dp, NULL); port; port = dp_port_next(dp, port))
            put_port_stats(reply, port->port_no);
    else if (dp_port_get(dp, port_no))
        put_port_stats(reply, port_no);
    else
        return OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_PORT);
    return 0;
}

ofperr multipart_port_desc(struct reply *reply, const void *body, size_t len) {
    struct dp *dp = reply->conn->of->dp;
    (void) body, (void) len;
    for (const struct dp_port *port = dp_port_next(dp, NULL); port; port = dp_port_next(dp, port))
        port_encode(reply_entry(reply, sizeof(struct ofp_port)), port);
    return 0;
}

/* No port has queues: all of them are none. */
ofperr multipart_queue(struct reply *reply, const void *body, size_t len) {
    const struct ofp_queue_stats_request *request = body;
    (void) len;
    if (be32toh(request->port_no) != OFPP_ANY && !dp_port_get(reply->conn->of->dp, be32toh(request->port_no)))
        return OFPERR(OFPET_QUEUE_OP_FAILED, OFPQOFC_BAD_PORT);
    return be32toh(request->queue_id) == OFPQ_ALL ? 0 : OFPERR(OFPET_QUEUE_OP_FAILED, OFPQOFC_BAD_QUEUE);
}
