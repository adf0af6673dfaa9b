/* Actions and instructions (specification 1.3.5, sections 7.2.4 and 7.2.5) from and to the wire, with every check that
 * needs no datapath. What depends on the datapath's state (does the group exist?) is the datapath's own to say.
 *
 * Neighbours: packet/action.h is what comes out; mods.c and the multipart handlers call. */
#ifndef QUAKE_OPENFLOW_ACTION_CODEC_H
#define QUAKE_OPENFLOW_ACTION_CODEC_H 1

#include "../base/buf.h"
#include "../packet/action.h"
#include "../pipeline/ofperr.h"

/* The actions of one message, which cannot have more: each takes eight bytes of at most 64 KiB. */
struct action_pool {
    unsigned n;
    struct action items[8192];
};

enum action_use {
    ACTIONS_LIST,       /* apply-actions: kept in order */
    ACTIONS_SET,        /* write-actions and buckets: made a set, in its order of execution (section 5.10) */
    ACTIONS_PACKET_OUT, /* a list that may output to OFPP_TABLE */
};

/* Decodes `len` bytes into `pool`. `match` is the rule's, for the prerequisites of set-field; NULL: not known.
 * `*actions` and `*n` show what was decoded; it lives as long as the pool is not reused. */
ofperr actions_decode(const uint8_t *data, size_t len, enum action_use use, const struct match *match,
                      struct action_pool *pool, const struct action **actions, unsigned *n);

ofperr instructions_decode(const uint8_t *data, size_t len, uint8_t table_id, const struct match *match,
                           struct action_pool *pool, struct instructions *instructions);

void actions_encode(struct buf *out, const struct action *actions, unsigned n);
void instructions_encode(struct buf *out, const struct instructions *instructions);

/* The OFPAT_* number of an action, for feature replies; OFPAT_EXPERIMENTER for ours. */
uint16_t action_wire_type(enum action_type type);

#endif
