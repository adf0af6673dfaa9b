/* When rules time out: a heap of the rules that have a timeout, by the earliest moment at which they might be due.
 *
 * A rule with an idle timeout is not moved when a packet matches it; when its moment comes, the time of its last
 * packet is looked up, and it is put back if that was later. */
#ifndef QUAKE_PIPELINE_EXPIRY_H
#define QUAKE_PIPELINE_EXPIRY_H 1

#include <stdint.h>

struct dp;
struct dp_flow;

struct expiry {
    struct expiry_entry {
        uint64_t due_ms;
        struct dp_flow *rule;
    } * heap; /* from index 1 */
    uint32_t n, size;
};

void expiry_add(struct expiry *expiry, struct dp_flow *rule); /* does nothing for a rule without timeout */
void expiry_remove(struct expiry *expiry, struct dp_flow *rule);
void expiry_note_activity(struct dp *dp, struct dp_flow *rule); /* brings `active_ms` up to its last packet */
void expiry_run(struct dp *dp, uint64_t now_ms);                /* removes what is due */

#endif
