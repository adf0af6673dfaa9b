#include "restore.h"

#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/log.h"
#include "../base/loop.h"
#include "ports.h"

#define RETRY_MS 60000  /* a dump of so much that it does not fit takes seconds */
#define TURN_MS 5
#define LEAST_MESSAGE 8 /* bytes: an OpenFlow header */

struct restoring {
    struct quake *quake;
    const uint8_t **messages; /* of the record at hand */
    size_t *lengths;
    size_t room; /* of both */
    unsigned refused;
};

static char *text_of(const struct journal_record *record) {
    return strndup((const char *) record->data, record->size);
}

static void complain(char *error) {
    if (error)
        log_error("%s", error);
    free(error);
}

/* ---- First pass: ports and controllers as they are at the end of the log ---- */

static void remove_declared(struct quake *quake, const char *name) {
    struct quake_port *entry = quake_port_find(quake, name);
    if (!entry)
        return;
    dp_port_remove(quake->dp, entry->number);
    json_decref(entry->spec);
    *entry = (struct quake_port){0};
}

static bool first_pass(void *aux, const struct journal_record *record) {
    struct restoring *restoring = aux;
    struct quake *quake = restoring->quake;
    char *text = record->type == JOURNAL_MESSAGES ? NULL : text_of(record);
    if (record->type == JOURNAL_PORT_ADD) {
        json_t *port = json_loads(text, 0, NULL);
        complain(quake_port_declare(quake, port));
        json_decref(port);
    } else if (record->type == JOURNAL_PORT_REMOVE) {
        remove_declared(quake, text);
    } else if (record->type == JOURNAL_CONTROLLER_ADD) {
        json_array_append_new(quake->controllers, json_string(text));
    } else if (record->type == JOURNAL_CONTROLLER_REMOVE) {
        quake_controllers_forget(quake, text);
    }
    free(text);
    return true;
}

/* ---- Second pass: tables, groups and meters ---- */

/* A bundle has as many messages as its controller liked. */
static void make_room(struct restoring *restoring, const struct journal_record *record) {
    size_t most = record->size / LEAST_MESSAGE + 1;
    if (most <= restoring->room)
        return;
    restoring->room = most;
    restoring->messages = xrealloc(restoring->messages, most * sizeof *restoring->messages);
    restoring->lengths = xrealloc(restoring->lengths, most * sizeof *restoring->lengths);
}

/* A port that was removed and added again is a new one: what port mods configured before is not its. */
static void begin_port(struct quake *quake, const struct journal_record *record) {
    json_t *port = json_loadb((const char *) record->data, record->size, 0, NULL);
    uint32_t number = (uint32_t) json_integer_value(json_object_get(port, "number"));
    const struct dp_port *known = dp_port_get(quake->dp, number);
    json_decref(port);
    if (!known || !known->config)
        return;
    struct dp_txn *txn = dp_txn_begin(quake->dp, false);
    dp_port_mod(txn, number, known->hw_addr, 0, UINT32_MAX);
    dp_txn_commit(txn);
}

static bool second_pass(void *aux, const struct journal_record *record) {
    struct restoring *restoring = aux;
    unsigned n;
    if (record->type == JOURNAL_PORT_ADD)
        begin_port(restoring->quake, record);
    if (record->type != JOURNAL_MESSAGES)
        return true;
    make_room(restoring, record);
    if (!journal_messages(record, restoring->messages, restoring->lengths, (unsigned) restoring->room, &n)) {
        restoring->refused++;
        return true;
    }
    ofperr error = of_replay(restoring->quake->of, restoring->messages, restoring->lengths, n, record->created_ms);
    restoring->refused += error != 0;
    return true;
}

/* ---- The whole ---- */

static bool is_configured(void *aux, const struct journal_record *record) {
    *(bool *) aux |= record->type == JOURNAL_CONFIGURED;
    return true;
}

static void replay(struct quake *quake) {
    struct restoring restoring = {.quake = quake};
    quake->replaying = true;
    journal_each(quake->journal, first_pass, &restoring);
    journal_each(quake->journal, second_pass, &restoring);
    quake->replaying = false;
    free(restoring.messages);
    free(restoring.lengths);
    if (restoring.refused)
        log_error("%u records of the journal could not be restored", restoring.refused);
}

bool quake_restore(struct quake *quake) {
    bool configured = false;
    size_t i;
    json_t *target;
    journal_each(quake->journal, is_configured, &configured);
    if (!configured) { /* a first start, or one that died half-way: begin anew */
        journal_begin(quake->journal);
        journal_commit(quake->journal);
        return false;
    }
    replay(quake);
    quake_ports_retry(quake);
    json_array_foreach(quake->controllers, i, target) {
        const char *refusal = of_controller_add(quake->of, json_string_value(target));
        if (refusal)
            log_error("controller %s cannot be restored: %s", json_string_value(target), refusal);
    }
    return quake->restored = true;
}

/* ---- Compacting ---- */

/* Rules are dumped some at a time, in rounds of the loop of their own. */
struct compaction {
    struct quake *quake;
    struct of_dump *dump;
    struct loop_timer *turn;
};

static void dump_message(void *aux, const uint8_t *message, size_t len, uint64_t created_ms) {
    journal_dump_messages(((struct quake *) aux)->journal, created_ms, &message, &len, 1);
}

static void dump_text(struct quake *quake, enum journal_type type, const char *text) {
    journal_dump(quake->journal, type, 0, text, strlen(text));
}

static void dump_port(struct quake *quake, const struct quake_port *entry) {
    json_t *record = quake_port_record(quake, entry);
    char *text = json_dumps(record, JSON_COMPACT);
    dump_text(quake, JOURNAL_PORT_ADD, text);
    free(text);
    json_decref(record);
}

/* The log stays, and the next dump has to wait, if the state does not fit. */
static void compact_end(struct compaction *compaction) {
    struct quake *quake = compaction->quake;
    if (!journal_commit(quake->journal)) {
        quake->no_dump_before_ms = loop_now_ms() + RETRY_MS;
        log_error("the journal is full: a restarted worker will lack the last changes");
    }
    of_dump_end(compaction->dump);
    loop_timer_remove(compaction->turn);
    free(compaction);
    quake->compaction = NULL;
}

/* As long a turn as a controller has that sends without pause, or the log would grow faster than the dump. */
static void compact_some(void *aux) {
    struct compaction *compaction = aux;
    const uint64_t end = loop_now_ms() + TURN_MS;
    bool more = true;
    while (more && loop_now_ms() < end)
        more = of_dump_step(compaction->dump);
    if (more)
        loop_timer_set(compaction->turn, loop_now_ms());
    else
        compact_end(compaction);
}

static void compact_begin(struct quake *quake) {
    struct compaction *compaction = quake->compaction = xzalloc(sizeof *compaction);
    size_t i;
    json_t *target;
    journal_begin(quake->journal);
    for (i = 0; i < DP_MAX_PORTS; i++)
        if (quake->ports[i].number)
            dump_port(quake, &quake->ports[i]);
    json_array_foreach(quake->controllers, i, target)
        dump_text(quake, JOURNAL_CONTROLLER_ADD, json_string_value(target));
    dump_text(quake, JOURNAL_CONFIGURED, "");
    compaction->quake = quake;
    compaction->dump = of_dump_begin(quake->of, dump_message, quake);
    compaction->turn = loop_timer_add(quake->loop, loop_now_ms(), compact_some, compaction);
}

void quake_compact_now(struct quake *quake) {
    if (!quake->compaction)
        return;
    while (of_dump_step(quake->compaction->dump))
        continue;
    compact_end(quake->compaction);
}

/* A log that is full cannot wait. Every change is in force already, so a dump has those that the log had no room for. */
static void make_way(struct quake *quake, bool full) {
    if (!quake->compaction && loop_now_ms() >= quake->no_dump_before_ms)
        compact_begin(quake);
    if (full)
        quake_compact_now(quake);
}

void quake_record(struct quake *quake, enum journal_type type, const char *text) {
    if (!journal_append(quake->journal, type, loop_now_ms(), text, strlen(text)))
        make_way(quake, true);
}

void quake_record_messages(struct quake *quake, const uint8_t *const *messages, const size_t *lengths, unsigned n) {
    bool noted = journal_append_messages(quake->journal, loop_now_ms(), messages, lengths, n);
    if (!noted || journal_is_long(quake->journal))
        make_way(quake, !noted);
}
