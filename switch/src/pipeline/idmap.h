/* Groups or meters by their number, each between the versions in which it exists; read by workers without a lock. */
#ifndef QUAKE_PIPELINE_IDMAP_H
#define QUAKE_PIPELINE_IDMAP_H 1

#include <stdint.h>

#include "rcu.h"

#define IDMAP_BUCKETS 4096

struct versioned { /* the first member of what is kept */
    uint32_t id;
    struct versioned *next;
    uint64_t added, removed; /* as of rules: RULE_ALIVE */
};
struct idmap {
    struct versioned *bucket[IDMAP_BUCKETS];
    uint32_t *ids; /* of those alive, ascending */
    uint32_t n, size;
};

void idmap_link(struct idmap *map, struct versioned *object); /* in front: found before older ones of its number */
void idmap_unlink(struct idmap *map, struct versioned *object);
void idmap_add_id(struct idmap *map, uint32_t id);
void idmap_remove_id(struct idmap *map, uint32_t id);
uint32_t idmap_next_id(const struct idmap *map, uint32_t after, uint32_t end); /* `after` == `end`: the first */
struct versioned *idmap_alive(const struct idmap *map, uint32_t id);           /* control thread */

static inline struct versioned *idmap_find(const struct idmap *map, uint32_t id, uint64_t version) {
    struct versioned *object = rcu_get(&map->bucket[id % IDMAP_BUCKETS]);
    while (object &&
           (object->id != id || relaxed_get(&object->added) > version || version >= relaxed_get(&object->removed))) {
        object = rcu_get(&object->next);
    }
    return object;
}

#endif
