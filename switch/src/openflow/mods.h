/* The messages that change the switch: flow, group, meter, port and table mods, decoded, checked, applied, and made.
 *
 * One path for all who change something: a controller's message, a bundle's, and a message replayed from the journal go
 * through mod_decode() and mod_apply(). Decoding makes every check that needs no datapath; the datapath makes the rest.
 *
 * Neighbours: modify.c, bundle.c and restore.c call; pipeline/dp.h carries out. */
#ifndef QUAKE_OPENFLOW_MODS_H
#define QUAKE_OPENFLOW_MODS_H 1

#include "../base/buf.h"
#include "../pipeline/dp.h"
#include "action_codec.h"
#include "wire.h"

#define MOD_MAX_BUCKETS 4000 /* so that a group's statistics fit a message */
#define MOD_MAX_BANDS 16
/* Longest flow or group mod: what it holds must fit a multipart reply, whose header is longer. */
#define MOD_MAX_LEN (OFP_MAX_MESSAGE - sizeof(struct ofp_multipart))

/* What decoded messages point into; one message at a time. Big: not for the stack. */
struct mod_space {
    struct action_pool pool;
    struct group_bucket buckets[MOD_MAX_BUCKETS];
    struct meter_band bands[MOD_MAX_BANDS];
};

struct mod {
    uint8_t type; /* OFPT_* */
    union {
        struct flow_mod flow;
        struct group_mod group;
        struct meter_mod meter;
        struct {
            uint32_t port_no, config, mask;
            uint8_t hw_addr[OFP_ETH_ALEN];
        } port;
    };
};

bool mod_is_change(uint8_t type); /* whether messages of this OFPT_* are for mod_decode() */

/* `len` is the message's length by its header and all of it is there. */
ofperr mod_decode(const struct ofp_header *message, size_t len, struct mod_space *space, struct mod *mod);
ofperr mod_apply(const struct mod *mod, struct dp_txn *txn);

/* Messages that make what is there anew, and parts of statistics. */
enum mod_flow_command { MOD_FLOW_ADD, MOD_FLOW_DELETE_STRICT };
void mod_encode_flow(struct buf *out, const struct dp_flow_view *flow, enum mod_flow_command command);
void mod_encode_group(struct buf *out, const struct dp_group_view *group);
void mod_encode_meter(struct buf *out, const struct dp_meter_view *meter);
void mod_encode_port(struct buf *out, const struct dp_port *port);
void mod_encode_buckets(struct buf *out, const struct dp_group_view *group);
void mod_encode_bands(struct buf *out, const struct meter_mod *meter);

/* The header of a message that begins at `start` of the content and ends with it. */
void message_begin(struct buf *out, uint8_t type, be32 xid, size_t size);
void message_end(struct buf *out, size_t start);

#endif
