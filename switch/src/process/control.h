/* The control socket: one JSON object per line in, one per line out.
 *
 *   {"id": 7, "method": "port-add", "params": {"name": "p1", "type": "memif", "socket": "/run/quake/p1"}}
 *   {"id": 7, "result": {"number": 1}}                       or  {"id": 7, "error": "port p1 exists already; ..."}
 *
 * Methods and their parameters are in commands.c. Whoever may open the socket (mode 0600) governs the switch.
 * Neighbours: tools/quakectl.c is the usual client. */
#ifndef QUAKE_PROCESS_CONTROL_H
#define QUAKE_PROCESS_CONTROL_H 1

#include <jansson.h>

struct control;
struct quake;

/* NULL or what is wrong. */
char *control_open(struct quake *quake, const char *path, struct control **control);
void control_close(struct control *control);

/* One request, answered: always an object with "result" or "error", and the request's "id". */
json_t *control_answer(struct quake *quake, const char *line, size_t length);

#endif
