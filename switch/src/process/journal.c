#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../base/buf.h"

#define MAGIC UINT64_C(0x314c4e4a4b515541) /* changes with the layout: an older journal is not read */
#define HEADER 4096
#define HALF (UINT64_C(2) << 30)        /* bytes; sparse: only what is written takes memory */
#define LONG_ENOUGH (UINT64_C(8) << 20) /* no dump for less */

struct header {
    uint64_t magic;
    _Atomic uint32_t current; /* half in use */
    _Atomic uint64_t used[2]; /* bytes of records in each half */
};

struct record_header {
    uint32_t type;
    uint32_t padding;
    uint64_t created_ms;
    uint64_t size; /* of the data; records are aligned to 8 bytes */
};

struct journal {
    int fd;
    struct header *header;
    uint8_t *base;
    bool dumping;       /* the half that is not in use is being written */
    bool full;          /* and something did not fit into it */
    uint64_t last_dump; /* bytes that the last dump took */
};

int journal_create(void) {
    int fd = memfd_create("quake-journal", MFD_CLOEXEC);
    if (fd < 0 || !ftruncate(fd, HEADER + 2 * HALF))
        return fd;
    close(fd);
    return -1;
}

struct journal *journal_open(int fd) {
    uint8_t *base = mmap(NULL, HEADER + 2 * HALF, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED)
        return NULL;
    struct journal *journal = xzalloc(sizeof *journal);
    *journal = (struct journal){.fd = fd, .header = (struct header *) base, .base = base + HEADER};
    if (journal->header->magic != MAGIC)
        *journal->header = (struct header){.magic = MAGIC};
    return journal;
}

void journal_close(struct journal *journal) {
    munmap(journal->header, HEADER + 2 * HALF);
    free(journal);
}

static unsigned half_in_use(const struct journal *journal) {
    return atomic_load(&journal->header->current);
}

/* Room for a record's data, not yet in force; NULL if there is none. */
static uint8_t *put_record(struct journal *journal, unsigned half, enum journal_type type, uint64_t created_ms,
                           size_t size) {
    uint64_t used = atomic_load_explicit(&journal->header->used[half], memory_order_relaxed);
    if (size > HALF - used - sizeof(struct record_header) - 8 || used > HALF - sizeof(struct record_header) - 8)
        return NULL;
    uint8_t *place = journal->base + half * HALF + used;
    struct record_header header = {.type = type, .created_ms = created_ms, .size = size};
    memcpy(place, &header, sizeof header);
    return place + sizeof header;
}

static void seal_record(struct journal *journal, unsigned half, size_t size) {
    _Atomic uint64_t *used = &journal->header->used[half];
    uint64_t length = (sizeof(struct record_header) + size + 7) & ~UINT64_C(7);
    atomic_store_explicit(used, atomic_load_explicit(used, memory_order_relaxed) + length, memory_order_release);
}

static bool put(struct journal *journal, unsigned half, enum journal_type type, uint64_t created_ms, const void *data,
                size_t size) {
    uint8_t *place = put_record(journal, half, type, created_ms, size);
    if (!place)
        return false;
    if (size)
        memcpy(place, data, size);
    seal_record(journal, half, size);
    return true;
}

static bool put_messages(struct journal *journal, unsigned half, uint64_t created_ms, const uint8_t *const *messages,
                         const size_t *lengths, unsigned n) {
    size_t size = sizeof(uint32_t) * (1 + (size_t) n);
    for (unsigned i = 0; i < n; i++)
        size += lengths[i];
    uint8_t *place = put_record(journal, half, JOURNAL_MESSAGES, created_ms, size);
    if (!place)
        return false;
    uint32_t *table = (uint32_t *) (void *) place; /* records are aligned */
    uint8_t *to = (uint8_t *) (table + 1 + n);
    table[0] = n;
    for (unsigned i = 0; i < n; i++) {
        table[1 + i] = (uint32_t) lengths[i];
        memcpy(to, messages[i], lengths[i]);
        to += lengths[i];
    }
    seal_record(journal, half, size);
    return true;
}

void journal_dump(struct journal *journal, enum journal_type type, uint64_t created_ms, const void *data, size_t size) {
    journal->full |= !put(journal, !half_in_use(journal), type, created_ms, data, size);
}

void journal_dump_messages(struct journal *journal, uint64_t created_ms, const uint8_t *const *messages,
                           const size_t *lengths, unsigned n) {
    journal->full |= !put_messages(journal, !half_in_use(journal), created_ms, messages, lengths, n);
}

bool journal_append(struct journal *journal, enum journal_type type, uint64_t created_ms, const void *data,
                    size_t size) {
    if (journal->dumping)
        journal_dump(journal, type, created_ms, data, size);
    return put(journal, half_in_use(journal), type, created_ms, data, size);
}

bool journal_append_messages(struct journal *journal, uint64_t created_ms, const uint8_t *const *messages,
                             const size_t *lengths, unsigned n) {
    if (journal->dumping)
        journal_dump_messages(journal, created_ms, messages, lengths, n);
    return put_messages(journal, half_in_use(journal), created_ms, messages, lengths, n);
}

void journal_each(const struct journal *journal, bool (*each)(void *aux, const struct journal_record *record),
                  void *aux) {
    unsigned half = half_in_use(journal);
    uint64_t used = atomic_load_explicit(&journal->header->used[half], memory_order_acquire);
    const uint8_t *place = journal->base + half * HALF, *end = place + used;
    while ((size_t) (end - place) >= sizeof(struct record_header)) {
        struct record_header header;
        memcpy(&header, place, sizeof header);
        if (header.size > (size_t) (end - place) - sizeof header)
            return;
        struct journal_record record = {header.type, header.created_ms, place + sizeof header, header.size};
        if (!each(aux, &record))
            return;
        place += (sizeof header + header.size + 7) & ~(size_t) 7;
    }
}

bool journal_messages(const struct journal_record *record, const uint8_t **messages, size_t *lengths, unsigned max,
                      unsigned *n) {
    const uint32_t *table = (const uint32_t *) (const void *) record->data;
    if (record->size < sizeof(uint32_t) || table[0] > max || record->size < sizeof(uint32_t) * (1 + (size_t) table[0]))
        return false;
    const uint8_t *from = (const uint8_t *) (table + 1 + table[0]), *end = record->data + record->size;
    for (*n = 0; *n < table[0]; ++*n) {
        lengths[*n] = table[1 + *n];
        messages[*n] = from;
        if (lengths[*n] > (size_t) (end - from))
            return false;
        from += lengths[*n];
    }
    return true;
}

bool journal_is_long(const struct journal *journal) {
    uint64_t used = journal_size(journal);
    return used > LONG_ENOUGH && used > 2 * journal->last_dump;
}

void journal_begin(struct journal *journal) {
    atomic_store(&journal->header->used[!half_in_use(journal)], 0);
    journal->dumping = true;
    journal->full = false;
}

/* Give the memory of a half that is not in use back to the system. */
static void release(const struct journal *journal, unsigned half) {
    (void) fallocate(journal->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) (HEADER + half * HALF),
                     (off_t) HALF);
}

bool journal_commit(struct journal *journal) {
    journal->dumping = false;
    if (!journal->full) {
        atomic_store(&journal->header->current, !half_in_use(journal));
        journal->last_dump = journal_size(journal);
    }
    release(journal, !half_in_use(journal));
    return !journal->full;
}

size_t journal_size(const struct journal *journal) {
    return atomic_load(&journal->header->used[half_in_use(journal)]);
}
