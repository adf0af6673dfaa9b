/* What can be asked on the control socket: a table of methods, in commands.c. */
#ifndef QUAKE_PROCESS_COMMANDS_H
#define QUAKE_PROCESS_COMMANDS_H 1

#include <jansson.h>

struct quake;

/* Runs `method` (`params` may be NULL). NULL and a new *result, or what is wrong. */
char *command_run(struct quake *quake, const char *method, const json_t *params, json_t **result);

#endif
