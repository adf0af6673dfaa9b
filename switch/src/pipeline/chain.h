/* Chains of groups: which lead to further groups by their buckets' actions, and which by the groups that they watch.
 *
 * Neither kind of chain may close, nor be longer than GROUP_MAX_DEPTH, so that workers follow them without a thought
 * of where they end. A change is checked against all groups that there are.
 *
 * Neighbours: group.c asks before it makes a group. */
#ifndef QUAKE_PIPELINE_CHAIN_H
#define QUAKE_PIPELINE_CHAIN_H 1

#include "datapath.h"

/* OFPGMFC_LOOP if a chain would close, OFPGMFC_CHAINING_UNSUPPORTED if it would be too long; else 0. */
ofperr chains_check(struct dp *dp, const struct group_mod *mod);

#endif
