/* Longest-prefix match on one half of FW_IPV4, as a shortcut beside the tuples of a table.
 *
 * A trie of 16, 8 and 8 bits whose leaves are the rules of the longest prefix that covers them, so a lookup is at most
 * three loads however many lengths there are. It fits a table whose masks differ in nothing but the length of one IPv4
 * prefix, and whose priorities rise with it. The tuples stay the truth: a leaf whose rule does not exist in the
 * reader's version, or is no longer the right one, sends the reader to search them.
 *
 * The control thread changes leaves one store at a time; nodes are only ever added, until the whole is replaced.
 *
 * Neighbours: classifier.c builds it and keeps it in step. */
#ifndef QUAKE_PIPELINE_LPM_H
#define QUAKE_PIPELINE_LPM_H 1

#include "tuple.h"

struct lpm;
struct search;

/* The trie of the tuples of `search`, if they are routes, else NULL. */
struct lpm *lpm_create(const struct search *search);
void lpm_destroy(struct lpm *lpm);

/* Control thread: after `rule` was linked into its tuple; false: it is no route like the others, or there is no room,
 * and the trie must go. */
bool lpm_insert(struct lpm *lpm, struct dp_flow *rule);
/* Control thread: after `rule` was unlinked from its tuple. */
void lpm_remove(struct lpm *lpm, const struct search *search, const struct dp_flow *rule);

/* Workers: the rule of the longest prefix, of whatever version; LPM_MISS: no route covers the packet. */
#define LPM_MISS NULL
struct dp_flow *lpm_find(const struct lpm *lpm, const struct flow *flow);

#endif
