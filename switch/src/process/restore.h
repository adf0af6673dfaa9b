/* The journal's content: how the switch's state is written to it, and made anew from it. Part of quake.c's business. */
#ifndef QUAKE_PROCESS_RESTORE_H
#define QUAKE_PROCESS_RESTORE_H 1

#include "quake.h"

/* Take over the journal's state. False if there is none, so that this is the first start. */
bool quake_restore(struct quake *quake);
/* Note in the journal what is in force now. A log that is long makes way, bit by bit, for a dump of the present state. */
void quake_record(struct quake *quake, enum journal_type type, const char *text);
void quake_record_messages(struct quake *quake, const uint8_t *const *messages, const size_t *lengths, unsigned n);
void quake_compact_now(struct quake *quake); /* finish such a dump, if one is under way */

#endif
