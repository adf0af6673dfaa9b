/* Changes and packet-outs that come one by one (specification 1.3.5, sections 7.3.3, 7.3.4, 7.3.7). */
#include "conn.h"

#define BAD_REQUEST(code) OFPERR(OFPET_BAD_REQUEST, OFPBRC_##code)
#define ETHERNET_HEADER 14

struct dp_txn *of_txn(struct of *of) {
    if (!of->txn)
        of->txn = dp_txn_begin(of->dp, false);
    return of->txn;
}

/* Each change of a plain transaction was in force when it was made, so there is nothing that could fail now. */
void of_txn_end(struct of *of) {
    struct dp_txn *txn = of->txn;
    of->txn = NULL;
    if (txn)
        dp_txn_commit(txn);
}

void of_accepted(struct of *of, const struct ofp_header *message, size_t len) {
    const uint8_t *data = (const uint8_t *) message;
    if (of->hooks.accepted)
        of->hooks.accepted(of->hooks.aux, &data, &len, 1);
}

ofperr handle_change(struct conn *conn, const struct ofp_header *message, size_t len) {
    struct of *of = conn->of;
    ofperr error = mod_decode(message, len, of->space, &of->mod);
    if (!error)
        error = mod_apply(&of->mod, of_txn(of));
    if (!error)
        of_accepted(of, message, len);
    return error;
}

static ofperr check_packet_out(struct of *of, const struct ofp_packet_out *wire, size_t len) {
    uint32_t in_port = be32toh(wire->in_port);
    if (be32toh(wire->buffer_id) != OFP_NO_BUFFER)
        return BAD_REQUEST(BUFFER_UNKNOWN);
    if (in_port != OFPP_CONTROLLER && !dp_port_get(of->dp, in_port))
        return BAD_REQUEST(BAD_PORT);
    if (be16toh(wire->actions_len) > len - sizeof *wire || be16toh(wire->actions_len) % 8)
        return BAD_REQUEST(BAD_LEN);
    return 0;
}

ofperr packet_out_decode(struct of *of, const struct ofp_header *message, size_t len, struct packet_out *out) {
    const struct ofp_packet_out *wire = (const struct ofp_packet_out *) message;
    const uint8_t *body = (const uint8_t *) message + sizeof *wire;
    if (len < sizeof *wire)
        return BAD_REQUEST(BAD_LEN);
    ofperr error = check_packet_out(of, wire, len);
    if (error)
        return error;
    size_t actions_len = be16toh(wire->actions_len);
    of->space->pool.n = 0;
    error =
        actions_decode(body, actions_len, ACTIONS_PACKET_OUT, NULL, &of->space->pool, &out->actions, &out->n_actions);
    if (error)
        return error;
    out->in_port = be32toh(wire->in_port);
    out->data = body + actions_len;
    out->len = len - sizeof *wire - actions_len;
    return out->len < ETHERNET_HEADER ? BAD_REQUEST(BAD_PACKET) : 0;
}

void packet_out_send(struct of *of, const struct packet_out *out) {
    if (of->hooks.packet_out)
        of->hooks.packet_out(of->hooks.aux, out->in_port, out->actions, out->n_actions, out->data, out->len);
}

ofperr handle_packet_out(struct conn *conn, const struct ofp_header *message, size_t len) {
    struct packet_out out;
    ofperr error = packet_out_decode(conn->of, message, len, &out);
    if (!error)
        packet_out_send(conn->of, &out);
    return error;
}
