/* The channel's own messages: hello, echo, features, configuration, roles, the choice of asynchronous messages,
 * barriers, queues (specification 1.3.5, sections 6.3, 7.3.1, 7.3.2, 7.3.6, 7.3.8 to 7.3.10, 7.5). */
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "conn.h"
#include "experimenter.h"

#define BAD_REQUEST(code) OFPERR(OFPET_BAD_REQUEST, OFPBRC_##code)
#define DEFAULT_MISS_SEND_LEN 128
#define ERRORS_LOGGED 10 /* of a connection: one that only sends errors must not fill the log */
#define ALL_REASONS(last) ((UINT32_C(2) << (last)) - 1)

void session_reset(struct conn *conn) {
    conn->role = OFPCR_ROLE_EQUAL;
    conn->packet_in_mask[0] = 1 << OFPR_NO_MATCH | 1 << OFPR_ACTION;
    conn->packet_in_mask[1] = 0;
    conn->port_status_mask[0] = conn->port_status_mask[1] = ALL_REASONS(OFPPR_MODIFY);
    conn->flow_removed_mask[0] = ALL_REASONS(OFPRR_GROUP_DELETE);
    conn->flow_removed_mask[1] = 0;
    conn->miss_send_len = DEFAULT_MISS_SEND_LEN;
    conn->probing = false;
    conn->errors_heard = 0;
    conn->multipart.open = false;
    buf_free(&conn->multipart.body);
    series_end(conn);
    bundles_discard(conn);
}

static void send_plain(struct conn *conn, uint8_t type, be32 xid) {
    conn_message_begin(conn, type, xid, sizeof(struct ofp_header));
}

/* ---- Hello (sections 6.3.1, 7.5.1) ---- */

void send_hello(struct conn *conn) {
    struct {
        struct ofp_hello_elem elem;
        be32 versions;
    } WIRE bitmap = {{htobe16(OFPHET_VERSIONBITMAP), htobe16(sizeof bitmap)}, htobe32(UINT32_C(1) << OFP_VERSION)};
    size_t start = conn_message_begin(conn, OFPT_HELLO, 0, sizeof(struct ofp_header));
    buf_put(&conn->out, &bitmap, sizeof bitmap);
    conn_message_end(conn, start);
}

/* Whether the bitmap of versions, if the hello has one, names ours; without one the header's version is the highest. */
static bool hello_agrees(const struct ofp_header *message, size_t len) {
    const uint8_t *data = (const uint8_t *) message + sizeof *message;
    for (len -= sizeof *message; len >= sizeof(struct ofp_hello_elem);) {
        const struct ofp_hello_elem *elem = (const struct ofp_hello_elem *) data;
        size_t used = be16toh(elem->length), padded = (used + 7) / 8 * 8;
        if (used < sizeof *elem || used > len)
            break;
        if (be16toh(elem->type) == OFPHET_VERSIONBITMAP && used >= sizeof *elem + 4)
            return data[sizeof *elem + 3] >> OFP_VERSION & 1;
        data += padded < len ? padded : len;
        len -= padded < len ? padded : len;
    }
    return message->version >= OFP_VERSION;
}

static void refuse_hello(struct conn *conn, const struct ofp_header *message, const char *why) {
    size_t start = conn_message_begin(conn, OFPT_ERROR, message->xid, sizeof(struct ofp_error_msg));
    struct ofp_error_msg *wire = conn_at(conn, start);
    wire->type = htobe16(OFPET_HELLO_FAILED);
    wire->code = htobe16(OFPHFC_INCOMPATIBLE);
    buf_put(&conn->out, why, strlen(why));
    conn_message_end(conn, start);
    conn->close_reason = why;
}

ofperr handle_hello(struct conn *conn, const struct ofp_header *message, size_t len) {
    if (conn->state == CONN_UP)
        return 0;
    if (message->type == OFPT_ERROR)
        conn->close_reason = "the controller refused our hello";
    else if (message->type != OFPT_HELLO)
        refuse_hello(conn, message, "the first message must be a hello");
    else if (!hello_agrees(message, len))
        refuse_hello(conn, message, "this switch speaks OpenFlow 1.3 (wire version 4) only");
    else
        conn_established(conn);
    return 0;
}

/* ---- Errors, echoes ---- */

ofperr handle_error(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct ofp_error_msg *wire = (const struct ofp_error_msg *) message;
    if (len >= sizeof *wire && conn->errors_heard++ < ERRORS_LOGGED)
        log_warning("controller %s: sent error type %u code %u", conn->controller->text, be16toh(wire->type),
                    be16toh(wire->code));
    return 0;
}

void send_echo_request(struct conn *conn) {
    send_plain(conn, OFPT_ECHO_REQUEST, 0);
}

ofperr handle_echo_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    size_t start = conn_message_begin(conn, OFPT_ECHO_REPLY, message->xid, sizeof *message);
    buf_put(&conn->out, message + 1, len - sizeof *message);
    conn_message_end(conn, start);
    return 0;
}

ofperr handle_echo_reply(struct conn *conn, const struct ofp_header *message, size_t len) {
    (void) message, (void) len;
    conn->probing = false;
    return 0;
}

/* ---- Features and configuration ---- */

ofperr handle_features_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    (void) len;
    struct ofp_switch_features *wire =
        conn_at(conn, conn_message_begin(conn, OFPT_FEATURES_REPLY, message->xid, sizeof *wire));
    wire->datapath_id = htobe64(dp_id(conn->of->dp));
    wire->n_tables = DP_TABLES;
    wire->auxiliary_id = conn->aux_id;
    wire->capabilities = htobe32(OFPC_FLOW_STATS | OFPC_TABLE_STATS | OFPC_PORT_STATS | OFPC_GROUP_STATS);
    return 0;
}

ofperr handle_get_config_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    (void) len;
    struct ofp_switch_config *wire =
        conn_at(conn, conn_message_begin(conn, OFPT_GET_CONFIG_REPLY, message->xid, sizeof *wire));
    wire->flags = htobe16(OFPC_FRAG_NORMAL);
    wire->miss_send_len = htobe16(conn->main->miss_send_len);
    return 0;
}

/* Fragments are matched as they come: the other ways to treat them are not supported. */
ofperr handle_set_config(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct ofp_switch_config *wire = (const struct ofp_switch_config *) message;
    (void) len;
    if (be16toh(wire->flags) != OFPC_FRAG_NORMAL)
        return OFPERR(OFPET_SWITCH_CONFIG_FAILED, OFPSCFC_BAD_FLAGS);
    conn->main->miss_send_len = be16toh(wire->miss_send_len);
    return 0;
}

/* ---- Roles (section 6.3.5) ---- */

static void demote_master(struct of *of) {
    struct conn *conn;
    LIST_FOREACH (conn, &of->conns, link)
        if (conn->role == OFPCR_ROLE_MASTER)
            conn->role = OFPCR_ROLE_SLAVE;
}

static ofperr check_generation(struct of *of, uint64_t generation_id) {
    if (of->generation_defined && (int64_t) (generation_id - of->generation_id) < 0)
        return OFPERR(OFPET_ROLE_REQUEST_FAILED, OFPRRFC_STALE);
    of->generation_defined = true;
    of->generation_id = generation_id;
    return 0;
}

static ofperr change_role(struct conn *conn, uint32_t role, uint64_t generation_id) {
    if (role > OFPCR_ROLE_SLAVE)
        return OFPERR(OFPET_ROLE_REQUEST_FAILED, OFPRRFC_BAD_ROLE);
    if (role == OFPCR_ROLE_NOCHANGE)
        return 0;
    if (role != OFPCR_ROLE_EQUAL) {
        ofperr error = check_generation(conn->of, generation_id);
        if (error)
            return error;
    }
    if (role == OFPCR_ROLE_MASTER)
        demote_master(conn->of);
    conn->role = role;
    return 0;
}

ofperr handle_role_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct ofp_role_request *request = (const struct ofp_role_request *) message;
    (void) len;
    ofperr error = change_role(conn->main, be32toh(request->role), be64toh(request->generation_id));
    if (error)
        return error;
    struct ofp_role_request *wire =
        conn_at(conn, conn_message_begin(conn, OFPT_ROLE_REPLY, message->xid, sizeof *wire));
    wire->role = htobe32(conn->main->role);
    wire->generation_id = conn->of->generation_defined ? htobe64(conn->of->generation_id) : UINT64_MAX;
    return 0;
}

/* ---- Asynchronous configuration (section 7.3.10) ---- */

ofperr handle_get_async_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    (void) len;
    struct ofp_async_config *wire =
        conn_at(conn, conn_message_begin(conn, OFPT_GET_ASYNC_REPLY, message->xid, sizeof *wire));
    for (int i = 0; i < 2; i++) {
        wire->packet_in_mask[i] = htobe32(conn->main->packet_in_mask[i]);
        wire->port_status_mask[i] = htobe32(conn->main->port_status_mask[i]);
        wire->flow_removed_mask[i] = htobe32(conn->main->flow_removed_mask[i]);
    }
    return 0;
}

ofperr handle_set_async(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct ofp_async_config *wire = (const struct ofp_async_config *) message;
    (void) len;
    for (int i = 0; i < 2; i++) {
        conn->main->packet_in_mask[i] = be32toh(wire->packet_in_mask[i]) & ALL_REASONS(OFPR_INVALID_TTL);
        conn->main->port_status_mask[i] = be32toh(wire->port_status_mask[i]) & ALL_REASONS(OFPPR_MODIFY);
        conn->main->flow_removed_mask[i] = be32toh(wire->flow_removed_mask[i]) & ALL_REASONS(OFPRR_GROUP_DELETE);
    }
    return 0;
}

/* ---- Barriers, queues, experimenters ---- */

/* Everything before it has been handled, in order; what is left is that every worker sees it. */
ofperr handle_barrier_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    (void) len;
    of_txn_end(conn->of);
    dp_barrier(conn->of->dp);
    send_plain(conn, OFPT_BARRIER_REPLY, message->xid);
    return 0;
}

/* No port has queues: the list is empty. */
ofperr handle_queue_get_config_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct ofp_queue_get_config *request = (const struct ofp_queue_get_config *) message;
    uint32_t port = be32toh(request->port);
    (void) len;
    if (port != OFPP_ANY && !dp_port_get(conn->of->dp, port))
        return OFPERR(OFPET_QUEUE_OP_FAILED, OFPQOFC_BAD_PORT);
    struct ofp_queue_get_config *wire =
        conn_at(conn, conn_message_begin(conn, OFPT_QUEUE_GET_CONFIG_REPLY, message->xid, sizeof *wire));
    wire->port = request->port;
    return 0;
}

ofperr handle_experimenter(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct ofp_experimenter_header *wire = (const struct ofp_experimenter_header *) message;
    if (be32toh(wire->experimenter) != ONF_EXPERIMENTER_ID)
        return BAD_REQUEST(BAD_EXPERIMENTER);
    bool control = be32toh(wire->exp_type) == ONF_BUNDLE_CONTROL;
    if (!control && be32toh(wire->exp_type) != ONF_BUNDLE_ADD_MESSAGE)
        return BAD_REQUEST(BAD_EXP_TYPE);
    if (conn_is_slave(conn))
        return BAD_REQUEST(IS_SLAVE);
    return control ? handle_bundle_control(conn, message, len) : handle_bundle_add(conn, message, len);
}
