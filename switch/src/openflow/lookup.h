/* Looking up a controller's host name without holding up the loop: the resolver blocks, so it runs in a thread of its
 * own.
 *
 * Names are looked up anew for every attempt, as a controller that moves keeps its name; and a name may have several
 * addresses, of which some do not answer. Neighbour: conn.c. */
#ifndef QUAKE_OPENFLOW_LOOKUP_H
#define QUAKE_OPENFLOW_LOOKUP_H 1

#include "stream.h"

struct lookup;

struct lookup *lookup_start(const struct target *target); /* NULL: no thread or descriptor left */
int lookup_fd(const struct lookup *lookup);               /* readable once the answer is there */
/* NULL, with an address in `target`, counting `attempt`s round and round through those of the name; or why there is
 * none. */
const char *lookup_result(const struct lookup *lookup, unsigned attempt, struct target *target);
void lookup_end(struct lookup *lookup); /* at any time, answer or not */

#endif
