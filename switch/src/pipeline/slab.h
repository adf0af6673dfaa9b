/* Memory for many small, cache-line-aligned objects of a few sizes: rules.
 *
 * Objects are cut from 2 MiB blocks that ask for huge pages, so that a hundred thousand rules do not exhaust the TLB; a
 * freed object waits on the list of its size. Control thread only. */
#ifndef QUAKE_PIPELINE_SLAB_H
#define QUAKE_PIPELINE_SLAB_H 1

#include <stddef.h>
#include <stdint.h>

#define SLAB_LINE 64
#define SLAB_CLASSES 8 /* objects of up to 8 cache lines */

struct slab {
    void *free[SLAB_CLASSES];
    uint8_t *next, *end; /* what is left of the newest block */
    void *blocks;        /* linked through their first word */
};

void *slab_alloc(struct slab *slab, size_t size);
void slab_free(struct slab *slab, void *object, size_t size);
void slab_destroy(struct slab *slab);

/* Zeroed memory, aligned to and in multiples of 2 MiB, in huge pages where the system grants them. */
#define HUGE_BLOCK ((size_t) 2 << 20)
void *huge_alloc(size_t size);
void huge_free(void *block, size_t size);

#endif
