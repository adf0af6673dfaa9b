/* Bundles: changes that are gathered, then made at once (ONF extension 230; see experimenter.h). */
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "experimenter.h"

#define BUNDLES_MAX 64
#define BUNDLE_BYTES_MAX ((size_t) 512 * 1024 * 1024) /* of all bundles of a connection */
#define BUNDLE_FLAGS (OFPBF_ATOMIC | OFPBF_ORDERED)
#define BUNDLE_FAILED(code) ONF_ERROR(ONF_BFC_##code)

struct bundle {
    LIST_ENTRY(bundle) link;
    uint32_t id;
    uint16_t flags;
    bool closed;
    unsigned n; /* messages, which lie one behind the other */
    struct buf messages;
};

static struct bundle *bundle_find(struct conn *conn, uint32_t id) {
    struct bundle *bundle;
    LIST_FOREACH (bundle, &conn->bundles, link)
        if (bundle->id == id)
            return bundle;
    return NULL;
}

static void bundle_free(struct conn *conn, struct bundle *bundle) {
    LIST_REMOVE(bundle, link);
    conn->n_bundles--;
    buf_free(&bundle->messages);
    free(bundle);
}

static size_t bundles_size(const struct conn *conn) {
    size_t size = 0;
    const struct bundle *bundle;
    LIST_FOREACH (bundle, &conn->bundles, link)
        size += buf_len(&bundle->messages);
    return size;
}

void bundles_discard(struct conn *conn) {
    struct bundle *bundle = LIST_FIRST(&conn->bundles);
    while (bundle) {
        struct bundle *next = LIST_NEXT(bundle, link);
        bundle_free(conn, bundle);
        bundle = next;
    }
}

static ofperr bundle_open(struct conn *conn, uint32_t id, uint16_t flags, struct bundle **opened) {
    if (flags & ~BUNDLE_FLAGS)
        return BUNDLE_FAILED(BAD_FLAGS);
    if (conn->n_bundles == BUNDLES_MAX)
        return BUNDLE_FAILED(OUT_OF_BUNDLES);
    struct bundle *bundle = xzalloc(sizeof *bundle);
    bundle->id = id;
    bundle->flags = flags;
    LIST_INSERT_HEAD(&conn->bundles, bundle, link);
    conn->n_bundles++;
    *opened = bundle;
    return 0;
}

/* ---- Adding ---- */

static ofperr check_inner(const struct ofp_header *outer, const struct ofp_header *inner, size_t room) {
    size_t len = room < sizeof *inner ? 0 : be16toh(inner->length);
    if (len < sizeof *inner || len > room)
        return BUNDLE_FAILED(MSG_BAD_LEN);
    if (inner->xid != outer->xid)
        return BUNDLE_FAILED(MSG_BAD_XID);
    if (inner->version != OFP_VERSION)
        return OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_VERSION);
    return mod_is_change(inner->type) || inner->type == OFPT_PACKET_OUT ? 0 : BUNDLE_FAILED(MSG_UNSUP);
}

/* What can be seen to be wrong is refused at once, rather than at commit. */
static ofperr check_content(struct of *of, const struct ofp_header *inner, size_t len) {
    struct packet_out out;
    if (inner->type == OFPT_PACKET_OUT)
        return packet_out_decode(of, inner, len, &out);
    return mod_decode(inner, len, of->space, &of->mod);
}

static ofperr bundle_for_adding(struct conn *conn, uint32_t id, uint16_t flags, struct bundle **bundle) {
    *bundle = bundle_find(conn, id);
    if (!*bundle)
        return bundle_open(conn, id, flags, bundle);
    if ((*bundle)->closed)
        return BUNDLE_FAILED(BUNDLE_CLOSED);
    return (*bundle)->flags != flags ? BUNDLE_FAILED(BAD_FLAGS) : 0;
}

ofperr handle_bundle_add(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct onf_bundle_add_message *wire = (const struct onf_bundle_add_message *) message;
    const struct ofp_header *inner = (const struct ofp_header *) ((const uint8_t *) message + sizeof *wire);
    struct bundle *bundle;
    if (len < sizeof *wire)
        return OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    ofperr error = bundle_for_adding(conn, be32toh(wire->bundle_id), be16toh(wire->flags), &bundle);
    if (!error)
        error = check_inner(message, inner, len - sizeof *wire);
    if (!error)
        error = check_content(conn->of, inner, be16toh(inner->length));
    if (!error && bundles_size(conn) > BUNDLE_BYTES_MAX)
        error = BUNDLE_FAILED(MSG_TOO_MANY);
    if (error)
        return error;
    buf_put(&bundle->messages, inner, be16toh(inner->length));
    bundle->n++;
    return 0;
}

/* ---- Committing ---- */

struct bundle_walk {
    const struct bundle *bundle;
    size_t at;
};

static const struct ofp_header *bundle_next(struct bundle_walk *walk) {
    if (walk->at == buf_len(&walk->bundle->messages))
        return NULL;
    const struct ofp_header *message = (const struct ofp_header *) (buf_data(&walk->bundle->messages) + walk->at);
    walk->at += be16toh(message->length);
    return message;
}

static ofperr apply_changes(struct of *of, const struct bundle *bundle, struct dp_txn *txn,
                            const struct ofp_header **failed) {
    struct bundle_walk walk = {bundle, 0};
    while ((*failed = bundle_next(&walk))) {
        if (!mod_is_change((*failed)->type))
            continue;
        ofperr error = mod_decode(*failed, be16toh((*failed)->length), of->space, &of->mod);
        if (!error)
            error = mod_apply(&of->mod, txn);
        if (error)
            return error;
    }
    return 0;
}

/* A packet-out was sound when it was added; if its port has gone since, so has the packet. */
static void send_packets(struct of *of, const struct bundle *bundle) {
    struct bundle_walk walk = {bundle, 0};
    const struct ofp_header *message;
    struct packet_out out;
    while ((message = bundle_next(&walk)))
        if (!mod_is_change(message->type) && !packet_out_decode(of, message, be16toh(message->length), &out))
            packet_out_send(of, &out);
}

static void tell_accepted(struct of *of, const struct bundle *bundle) {
    if (!of->hooks.accepted || !bundle->n)
        return;
    const uint8_t **messages = xmalloc(bundle->n * sizeof *messages);
    size_t *lengths = xmalloc(bundle->n * sizeof *lengths);
    struct bundle_walk walk = {bundle, 0};
    const struct ofp_header *message;
    unsigned n = 0;
    while ((message = bundle_next(&walk))) {
        if (!mod_is_change(message->type))
            continue;
        messages[n] = (const uint8_t *) message;
        lengths[n++] = be16toh(message->length);
    }
    if (n)
        of->hooks.accepted(of->hooks.aux, messages, lengths, n);
    free(messages);
    free(lengths);
}

static ofperr bundle_commit(struct conn *conn, struct bundle *bundle) {
    struct of *of = conn->of;
    const struct ofp_header *failed;
    of_txn_end(of);
    struct dp_txn *txn = dp_txn_begin(of->dp, true);
    ofperr error = apply_changes(of, bundle, txn, &failed);
    if (error) {
        dp_txn_abort(txn);
        send_error(conn, failed, be16toh(failed->length), error);
        return BUNDLE_FAILED(MSG_FAILED);
    }
    if (dp_txn_commit(txn))
        return BUNDLE_FAILED(MSG_FAILED);
    tell_accepted(of, bundle);
    send_packets(of, bundle);
    return 0;
}

/* ---- Control ---- */

static ofperr control_open(struct conn *conn, uint32_t id, uint16_t flags) {
    struct bundle *bundle;
    return bundle_find(conn, id) ? BUNDLE_FAILED(BUNDLE_EXIST) : bundle_open(conn, id, flags, &bundle);
}

static ofperr control_close(struct bundle *bundle) {
    if (bundle->closed)
        return BUNDLE_FAILED(BUNDLE_CLOSED);
    bundle->closed = true;
    return 0;
}

static ofperr control_end(struct conn *conn, struct bundle *bundle, bool commit) {
    ofperr error = commit ? bundle_commit(conn, bundle) : 0;
    bundle_free(conn, bundle);
    return error;
}

static ofperr bundle_control(struct conn *conn, unsigned type, uint32_t id, uint16_t flags) {
    if (type == OFPBCT_OPEN_REQUEST)
        return control_open(conn, id, flags);
    if (type != OFPBCT_CLOSE_REQUEST && type != OFPBCT_COMMIT_REQUEST && type != OFPBCT_DISCARD_REQUEST)
        return BUNDLE_FAILED(BAD_TYPE);
    struct bundle *bundle = bundle_find(conn, id);
    if (!bundle)
        return BUNDLE_FAILED(BAD_ID);
    if (type != OFPBCT_DISCARD_REQUEST && bundle->flags != flags)
        return BUNDLE_FAILED(BAD_FLAGS);
    return type == OFPBCT_CLOSE_REQUEST ? control_close(bundle)
                                        : control_end(conn, bundle, type == OFPBCT_COMMIT_REQUEST);
}

ofperr handle_bundle_control(struct conn *conn, const struct ofp_header *message, size_t len) {
    const struct onf_bundle_control *request = (const struct onf_bundle_control *) message;
    if (len < sizeof *request)
        return OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    unsigned type = be16toh(request->type);
    ofperr error = bundle_control(conn, type, be32toh(request->bundle_id), be16toh(request->flags));
    if (error)
        return error;
    struct onf_bundle_control *wire =
        conn_at(conn, conn_message_begin(conn, OFPT_EXPERIMENTER, message->xid, sizeof *wire));
    wire->header.experimenter = htobe32(ONF_EXPERIMENTER_ID);
    wire->header.exp_type = htobe32(ONF_BUNDLE_CONTROL);
    wire->bundle_id = request->bundle_id;
    wire->type = htobe16((uint16_t) (type + 1)); /* each reply follows its request */
    wire->flags = request->flags;
    return 0;
}
