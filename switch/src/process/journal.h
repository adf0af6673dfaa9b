/* What a worker process must know to be as its predecessor was: ports, controllers, and every OpenFlow message in
 * force.
 *
 * The journal is a memory file (memfd) that the supervisor holds, so it outlives the worker process however that ends;
 * it never touches a disk. It has two halves. One is in use: records are appended to it, and a record counts once the
 * half's length was moved past it, so a process that is killed in the middle of writing leaves no torn record. When the
 * log has grown to twice what a dump of the state takes, the dump is written to the other half, bit by bit; what is
 * appended meanwhile goes to both; and one store makes the other one the half in use.
 *
 * Neighbours: supervisor.c makes the memory file; quake.c writes and replays. */
#ifndef QUAKE_PROCESS_JOURNAL_H
#define QUAKE_PROCESS_JOURNAL_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum journal_type {
    JOURNAL_MESSAGES =
        1,               /* OpenFlow messages that took effect together: uint32 count, uint32 lengths, then the bytes */
    JOURNAL_PORT_ADD,    /* JSON text, see quake.c */
    JOURNAL_PORT_REMOVE, /* the port's name */
    JOURNAL_CONTROLLER_ADD, /* a target */
    JOURNAL_CONTROLLER_REMOVE,
    JOURNAL_CONFIGURED, /* empty: the configuration file was applied; what follows it is newer */
};

struct journal;

struct journal_record {
    enum journal_type type;
    uint64_t created_ms; /* CLOCK_MONOTONIC */
    const uint8_t *data; /* valid until the next append */
    size_t size;
};

/* A new memory file, or -1 with errno set. */
int journal_create(void);
/* NULL with errno set. The caller keeps `fd`. */
struct journal *journal_open(int fd);
void journal_close(struct journal *journal);

/* False if the half in use is full. */
bool journal_append(struct journal *journal, enum journal_type type, uint64_t created_ms, const void *data,
                    size_t size);
bool journal_append_messages(struct journal *journal, uint64_t created_ms, const uint8_t *const *messages,
                             const size_t *lengths, unsigned n);
/* Oldest first, until `each` returns false. */
void journal_each(const struct journal *journal, bool (*each)(void *aux, const struct journal_record *record),
                  void *aux);
/* The parts of a JOURNAL_MESSAGES record; false if it is damaged or has more than `max`. */
bool journal_messages(const struct journal_record *record, const uint8_t **messages, size_t *lengths, unsigned max,
                      unsigned *n);

/* True when the log is due to be replaced by a dump. */
bool journal_is_long(const struct journal *journal);
/* Between begin and commit there is a new half, to which journal_dump...() adds, and journal_append...() as well as to
 * the old one. Commit puts the new one in force, unless something did not fit into it: then it is forgotten, the answer
 * is false, and the old one stays. */
void journal_begin(struct journal *journal);
void journal_dump(struct journal *journal, enum journal_type type, uint64_t created_ms, const void *data, size_t size);
void journal_dump_messages(struct journal *journal, uint64_t created_ms, const uint8_t *const *messages,
                           const size_t *lengths, unsigned n);
bool journal_commit(struct journal *journal);

size_t journal_size(const struct journal *journal); /* bytes in use */

#endif
