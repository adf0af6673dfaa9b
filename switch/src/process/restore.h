/* The journal's content: how the switch's state is written to it, and made anew from it. Part of quake.c's business. */
#ifndef QUAKE_PROCESS_RESTORE_H
#define QUAKE_PROCESS_RESTORE_H 1

#include "quake.h"

/* Take over the journal's state. False if there is none, so that this is the first start. */
bool quake_restore(struct quake *quake);
/* Replace the journal's log by a dump of the present state. */
void quake_compact(struct quake *quake);

#endif
