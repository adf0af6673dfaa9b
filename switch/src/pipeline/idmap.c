/* See idmap.h. */
#include "idmap.h"

#include <string.h>

#include "../base/buf.h"

void idmap_link(struct idmap *map, struct versioned *object) {
    struct versioned **bucket = &map->bucket[object->id % IDMAP_BUCKETS];
    object->next = *bucket;
    rcu_set(bucket, object);
}

void idmap_unlink(struct idmap *map, struct versioned *object) {
    struct versioned **link = &map->bucket[object->id % IDMAP_BUCKETS];
    while (*link != object) {
        link = &(*link)->next;
    }
    rcu_set(link, object->next);
}

static uint32_t place(const struct idmap *map, uint32_t id) {
    uint32_t low = 0, high = map->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (map->ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void idmap_add_id(struct idmap *map, uint32_t id) {
    if (map->n == map->size) {
        map->size = map->size ? map->size * 2 : 16;
        map->ids = xrealloc(map->ids, map->size * sizeof *map->ids);
    }
    uint32_t at = place(map, id);
    memmove(&map->ids[at + 1], &map->ids[at], (map->n++ - at) * sizeof *map->ids);
    map->ids[at] = id;
}

void idmap_remove_id(struct idmap *map, uint32_t id) {
    uint32_t at = place(map, id);
    memmove(&map->ids[at], &map->ids[at + 1], (--map->n - at) * sizeof *map->ids);
}

uint32_t idmap_next_id(const struct idmap *map, uint32_t after, uint32_t end) {
    uint32_t at = after == end ? 0 : place(map, after + 1);
    return at < map->n ? map->ids[at] : end;
}

struct versioned *idmap_alive(const struct idmap *map, uint32_t id) {
    struct versioned *object = map->bucket[id % IDMAP_BUCKETS];
    while (object && (object->id != id || object->removed != UINT64_MAX)) {
        object = object->next;
    }
    return object;
}
