/* Multipart requests and replies (specification 1.3.5, section 7.3.5).
 *
 * multipart.c gathers requests that come in parts, finds the handler, and splits replies: entries never straddle two
 * messages. A reply that may be long is a series of parts, of which each is made when most of what went before has been
 * taken; the state may change in between. stats_flow.c, stats_table.c, stats_port.c and stats_group.c answer. */
#ifndef QUAKE_OPENFLOW_MULTIPART_H
#define QUAKE_OPENFLOW_MULTIPART_H 1

#include "conn.h"

/* A reply in the making: header, entries, and a split where a message would grow too long. */
struct reply {
    struct conn *conn;
    struct buf *out; /* the connection's */
    be32 xid;
    uint16_t type;
    size_t start; /* of the message being filled */
};

/* One entry: room for `size` zeroed bytes at its start; more may be appended to `out`; reply_entry_end() says it is
 * whole. */
size_t reply_entry_begin(struct reply *reply, size_t size);
void reply_entry_end(struct reply *reply, size_t entry);
static inline void *reply_at(struct reply *reply, size_t start) {
    return buf_data(reply->out) + start;
}
void *reply_entry(struct reply *reply, size_t size); /* an entry of fixed size, whole at once */

/* What a long reply goes on from. `put` adds some entries; it is false once it has put the last. */
struct series {
    be32 xid;
    uint16_t type;
    bool (*put)(struct series *series, struct reply *reply);
    struct dp_flow_walk *walk; /* over flows */
    struct {
        struct dp_counter counter;
        uint32_t flows;
    } sum;
    uint32_t id; /* the group that was put last */
};
/* For a handler that answers with a series: it puts nothing itself. */
struct series *series_begin(struct reply *reply, bool (*put)(struct series *series, struct reply *reply));

/* A handler of one OFPMP_*; `len` fits the type. An error must be returned before the first entry. */
typedef ofperr multipart_handler(struct reply *reply, const void *body, size_t len);
multipart_handler multipart_desc, multipart_flow, multipart_aggregate, multipart_table, multipart_table_features,
    multipart_port_stats, multipart_port_desc, multipart_queue, multipart_group, multipart_group_desc,
    multipart_group_features, multipart_meter, multipart_meter_config, multipart_meter_features;

static inline be32 duration_sec(uint64_t age_ns) {
    return htobe32((uint32_t) (age_ns / 1000000000));
}
static inline be32 duration_nsec(uint64_t age_ns) {
    return htobe32((uint32_t) (age_ns % 1000000000));
}

#endif
