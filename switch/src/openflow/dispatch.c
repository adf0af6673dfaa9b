/* Messages to handlers: which types there are, how long they must be, who may send them; errors as answers. */
#include <string.h>

#include "conn.h"
#include "experimenter.h"

#define BAD_REQUEST(code) OFPERR(OFPET_BAD_REQUEST, OFPBRC_##code)
#define ERROR_DATA 64 /* bytes of the offending message that an error carries, if it has so many */

/* A type without a row is not for a switch to receive. */
static const struct message_row {
    handler *handle;
    uint16_t len; /* exactly, or at least if `longer` */
    bool longer;
    bool write; /* changes the switch or sends packets: not for slaves (section 6.3.5) */
} rows[OFPT_TYPES] = {
    [OFPT_HELLO] = {handle_hello, sizeof(struct ofp_header), true, false},
    [OFPT_ERROR] = {handle_error, sizeof(struct ofp_header), true, false},
    [OFPT_ECHO_REQUEST] = {handle_echo_request, sizeof(struct ofp_header), true, false},
    [OFPT_ECHO_REPLY] = {handle_echo_reply, sizeof(struct ofp_header), true, false},
    [OFPT_EXPERIMENTER] = {handle_experimenter, sizeof(struct ofp_experimenter_header), true, false},
    [OFPT_FEATURES_REQUEST] = {handle_features_request, sizeof(struct ofp_header), false, false},
    [OFPT_GET_CONFIG_REQUEST] = {handle_get_config_request, sizeof(struct ofp_header), false, false},
    [OFPT_SET_CONFIG] = {handle_set_config, sizeof(struct ofp_switch_config), false, false},
    [OFPT_PACKET_OUT] = {handle_packet_out, sizeof(struct ofp_packet_out), true, true},
    [OFPT_FLOW_MOD] = {handle_change, sizeof(struct ofp_flow_mod), true, true},
    [OFPT_GROUP_MOD] = {handle_change, sizeof(struct ofp_group_mod), true, true},
    [OFPT_PORT_MOD] = {handle_change, sizeof(struct ofp_port_mod), false, true},
    [OFPT_TABLE_MOD] = {handle_change, sizeof(struct ofp_table_mod), false, true},
    [OFPT_MULTIPART_REQUEST] = {handle_multipart_request, sizeof(struct ofp_multipart), true, false},
    [OFPT_BARRIER_REQUEST] = {handle_barrier_request, sizeof(struct ofp_header), false, false},
    [OFPT_QUEUE_GET_CONFIG_REQUEST] = {handle_queue_get_config_request, sizeof(struct ofp_queue_get_config), false,
                                       false},
    [OFPT_ROLE_REQUEST] = {handle_role_request, sizeof(struct ofp_role_request), false, false},
    [OFPT_GET_ASYNC_REQUEST] = {handle_get_async_request, sizeof(struct ofp_header), false, false},
    [OFPT_SET_ASYNC] = {handle_set_async, sizeof(struct ofp_async_config), false, false},
    [OFPT_METER_MOD] = {handle_change, sizeof(struct ofp_meter_mod), true, true},
};

static void put_error(struct conn *conn, be32 xid, uint16_t type, uint16_t code) {
    size_t start = conn_message_begin(conn, OFPT_ERROR, xid, sizeof(struct ofp_error_msg));
    struct ofp_error_msg *wire = conn_at(conn, start);
    wire->type = htobe16(type);
    wire->code = htobe16(code);
}

void send_error(struct conn *conn, const struct ofp_header *request, size_t len, ofperr error) {
    size_t start = buf_len(&conn->out);
    if (ofperr_type(error) == ONF_ERROR_TYPE) {
        be32 experimenter = htobe32(ONF_EXPERIMENTER_ID);
        put_error(conn, request->xid, OFPET_EXPERIMENTER, ofperr_code(error));
        buf_put(&conn->out, &experimenter, sizeof experimenter);
    } else {
        put_error(conn, request->xid, ofperr_type(error), ofperr_code(error));
    }
    buf_put(&conn->out, request, len < ERROR_DATA ? len : ERROR_DATA);
    conn_message_end(conn, start);
}

static ofperr check_message(const struct conn *conn, const struct ofp_header *message, size_t len) {
    if (message->version != OFP_VERSION)
        return BAD_REQUEST(BAD_VERSION);
    if (message->type >= OFPT_TYPES || !rows[message->type].handle)
        return BAD_REQUEST(BAD_TYPE);
    const struct message_row *row = &rows[message->type];
    if (len < row->len || (len > row->len && !row->longer))
        return BAD_REQUEST(BAD_LEN);
    return row->write && conn_is_slave(conn) ? BAD_REQUEST(IS_SLAVE) : 0;
}

void dispatch(struct conn *conn, const struct ofp_header *message, size_t len) {
    if (len < sizeof *message) { /* where the next message begins cannot be known */
        send_error(conn, message, sizeof *message, BAD_REQUEST(BAD_LEN));
        conn->close_reason = "a message said that it is shorter than its header";
        return;
    }
    if (conn->state == CONN_HELLO || message->type == OFPT_HELLO) { /* a hello may be of any version */
        handle_hello(conn, message, len);
        return;
    }
    ofperr error = check_message(conn, message, len);
    if (!error)
        error = rows[message->type].handle(conn, message, len);
    if (error && message->type != OFPT_ERROR)
        send_error(conn, message, len, error);
}
