#include "multipart.h"

#include <stdlib.h>
#include <string.h>

#define BAD_REQUEST(code) OFPERR(OFPET_BAD_REQUEST, OFPBRC_##code)
#define ASSEMBLY_MAX ((size_t) 4 * 1024 * 1024) /* room for the features of all tables */

static const struct multipart_row {
    multipart_handler *handle;
    uint16_t len; /* of the request's body: exactly, or at least if `longer` */
    bool longer;
} rows[OFPMP_TYPES] = {
    [OFPMP_DESC] = {multipart_desc, 0, false},
    [OFPMP_FLOW] = {multipart_flow, sizeof(struct ofp_flow_stats_request), true},
    [OFPMP_AGGREGATE] = {multipart_aggregate, sizeof(struct ofp_flow_stats_request), true},
    [OFPMP_TABLE] = {multipart_table, 0, false},
    [OFPMP_PORT_STATS] = {multipart_port_stats, sizeof(struct ofp_port_stats_request), false},
    [OFPMP_QUEUE] = {multipart_queue, sizeof(struct ofp_queue_stats_request), false},
    [OFPMP_GROUP] = {multipart_group, sizeof(struct ofp_group_stats_request), false},
    [OFPMP_GROUP_DESC] = {multipart_group_desc, 0, false},
    [OFPMP_GROUP_FEATURES] = {multipart_group_features, 0, false},
    [OFPMP_METER] = {multipart_meter, sizeof(struct ofp_meter_multipart_request), false},
    [OFPMP_METER_CONFIG] = {multipart_meter_config, sizeof(struct ofp_meter_multipart_request), false},
    [OFPMP_METER_FEATURES] = {multipart_meter_features, 0, false},
    [OFPMP_TABLE_FEATURES] = {multipart_table_features, 0, true},
    [OFPMP_PORT_DESC] = {multipart_port_desc, 0, false},
};

/* ---- Replies ---- */

static void reply_message_begin(struct reply *reply, size_t at) {
    reply->start = at;
    message_begin(reply->out, OFPT_MULTIPART_REPLY, reply->xid, sizeof(struct ofp_multipart));
    reply->conn->messages_out++;
    ((struct ofp_multipart *) reply_at(reply, at))->type = htobe16(reply->type);
}

/* Nothing but its header was put. */
static void reply_message_forget(struct reply *reply) {
    reply->out->end = reply->out->start + reply->start;
    reply->conn->messages_out--;
}

/* The message ends before `end`, and another follows; `entry`, which did not fit, is the first of that. */
static void reply_split(struct reply *reply, size_t entry) {
    struct ofp_multipart header = *(struct ofp_multipart *) reply_at(reply, reply->start);
    buf_insert_zeros(reply->out, entry, sizeof header);
    *(struct ofp_multipart *) reply_at(reply, entry) = header;
    struct ofp_multipart *full = reply_at(reply, reply->start);
    full->flags = htobe16(OFPMPF_REPLY_MORE);
    full->header.length = htobe16((uint16_t) (entry - reply->start));
    reply->conn->messages_out++;
    reply->start = entry;
}

size_t reply_entry_begin(struct reply *reply, size_t size) {
    size_t entry = buf_len(reply->out);
    buf_put_zeros(reply->out, size);
    return entry;
}

void reply_entry_end(struct reply *reply, size_t entry) {
    if (buf_len(reply->out) - reply->start > OFP_MAX_MESSAGE)
        reply_split(reply, entry);
}

void *reply_entry(struct reply *reply, size_t size) {
    size_t entry = reply_entry_begin(reply, size), end = buf_len(reply->out);
    reply_entry_end(reply, entry);
    return reply_at(reply, entry + (buf_len(reply->out) - end));
}

static ofperr answer(struct conn *conn, be32 xid, uint16_t type, const void *body, size_t len) {
    struct reply reply = {.conn = conn, .out = &conn->out, .xid = xid, .type = type};
    if (len < rows[type].len || (len > rows[type].len && !rows[type].longer))
        return BAD_REQUEST(BAD_LEN);
    reply_message_begin(&reply, buf_len(&conn->out));
    ofperr error = rows[type].handle(&reply, body, len);
    if (error || conn->series)
        reply_message_forget(&reply);
    else
        message_end(&conn->out, reply.start);
    if (conn->series)
        series_continue(conn);
    return error;
}

/* ---- Replies in series ---- */

struct series *series_begin(struct reply *reply, bool (*put)(struct series *series, struct reply *reply)) {
    struct series *series = xzalloc(sizeof *series);
    series->xid = reply->xid;
    series->type = reply->type;
    series->put = put;
    return reply->conn->series = series;
}

void series_continue(struct conn *conn) {
    struct series *series = conn->series;
    struct reply reply = {.conn = conn, .out = &conn->out, .xid = series->xid, .type = series->type};
    reply_message_begin(&reply, buf_len(&conn->out));
    bool more = series->put(series, &reply);
    if (more && buf_len(&conn->out) == reply.start + sizeof(struct ofp_multipart)) {
        reply_message_forget(&reply);
        return;
    }
    message_end(&conn->out, reply.start);
    if (more)
        ((struct ofp_multipart *) reply_at(&reply, reply.start))->flags = htobe16(OFPMPF_REPLY_MORE);
    else
        series_end(conn);
}

void series_end(struct conn *conn) {
    if (conn->series)
        dp_flow_walk_end(conn->series->walk);
    free(conn->series);
    conn->series = NULL;
}

/* ---- Requests ---- */

static ofperr assemble(struct multipart_assembly *assembly, const struct ofp_multipart *wire, size_t len) {
    if (!assembly->open) {
        buf_clear(&assembly->body);
        assembly->open = true;
        assembly->xid = wire->header.xid;
        assembly->type = be16toh(wire->type);
    }
    if (assembly->xid != wire->header.xid || buf_len(&assembly->body) + len > ASSEMBLY_MAX)
        return BAD_REQUEST(MULTIPART_BUFFER_OVERFLOW);
    if (assembly->type != be16toh(wire->type))
        return BAD_REQUEST(BAD_MULTIPART);
    buf_put(&assembly->body, (const uint8_t *) wire + sizeof *wire, len - sizeof *wire);
    return 0;
}

static ofperr handle_part(struct conn *conn, const struct ofp_multipart *wire, size_t len) {
    struct multipart_assembly *assembly = &conn->multipart;
    bool ours = !assembly->open || assembly->xid == wire->header.xid;
    ofperr error = assemble(assembly, wire, len);
    if (!error && be16toh(wire->flags) & OFPMPF_REQ_MORE)
        return 0;
    if (!error)
        error = answer(conn, assembly->xid, assembly->type, buf_data(&assembly->body), buf_len(&assembly->body));
    if (ours) {
        assembly->open = false;
        buf_clear(&assembly->body);
    }
    return error;
}

static ofperr check_type(uint16_t type, const uint8_t *body, size_t len) {
    if (type < OFPMP_TYPES)
        return 0;
    if (type != OFPMP_EXPERIMENTER || !body)
        return BAD_REQUEST(BAD_MULTIPART);
    return len < 8 ? BAD_REQUEST(BAD_LEN) : BAD_REQUEST(BAD_EXPERIMENTER);
}

ofperr handle_multipart_request(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct ofp_multipart *wire = (const struct ofp_multipart *) message;
    const uint8_t *body = (const uint8_t *) message + sizeof *wire;
    uint16_t type = be16toh(wire->type);
    ofperr error = check_type(type, body, len - sizeof *wire);
    if (error)
        return error;
    bool in_parts = conn->multipart.open && conn->multipart.xid == message->xid;
    if (in_parts || be16toh(wire->flags) & OFPMPF_REQ_MORE)
        return handle_part(conn, wire, len);
    return answer(conn, message->xid, type, body, len - sizeof *wire);
}

/* ---- OFPMP_DESC ---- */

static void put_text(char *to, size_t size, const char *text) {
    if (text)
        memcpy(to, text, strnlen(text, size - 1));
}

ofperr multipart_desc(struct reply *reply, const void *body, size_t len) {
    (void) body, (void) len;
    const struct of_description *description = &reply->conn->of->description;
    struct ofp_desc *wire = reply_entry(reply, sizeof *wire);
    put_text(wire->mfr_desc, sizeof wire->mfr_desc, description->manufacturer);
    put_text(wire->hw_desc, sizeof wire->hw_desc, description->hardware);
    put_text(wire->sw_desc, sizeof wire->sw_desc, description->software);
    put_text(wire->serial_num, sizeof wire->serial_num, description->serial);
    put_text(wire->dp_desc, sizeof wire->dp_desc, description->datapath);
    return 0;
}
