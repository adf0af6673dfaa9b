/* Matches, actions and packets as text, in the syntax of ovs-ofctl(8), so that people and their scripts can read it. */
#ifndef QUAKE_PACKET_FORMAT_H
#define QUAKE_PACKET_FORMAT_H 1

#include <stddef.h>

#include "action.h"
#include "flow.h"

/* Each appends to `text` (of `size` bytes, always terminated) and returns the length that the whole would have had. */
size_t format_match(char *text, size_t size, const struct match *match);
size_t format_actions(char *text, size_t size, const struct action *actions, unsigned n);
size_t format_instructions(char *text, size_t size, const struct instructions *instructions);
size_t format_flow(char *text, size_t size, const struct flow *flow); /* a packet's key, for traces */

#endif
