/* Blocks and free lists. See slab.h. */
#include "slab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t round_up(size_t size, size_t unit) {
    return (size + unit - 1) / unit * unit;
}

void *huge_alloc(size_t size) {
    size = round_up(size, HUGE_BLOCK);
    uint8_t *area = mmap(NULL, size + HUGE_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        abort();
    }
    size_t before = -(uintptr_t) area & (HUGE_BLOCK - 1);
    if (before) {
        munmap(area, before);
    }
    munmap(area + before + size, HUGE_BLOCK - before);
    madvise(area + before, size, MADV_HUGEPAGE); /* a wish: small pages serve as well, only slower */
    return area + before;
}

void huge_free(void *block, size_t size) {
    if (block) {
        munmap(block, round_up(size, HUGE_BLOCK));
    }
}

static void add_block(struct slab *slab) {
    void **block = huge_alloc(HUGE_BLOCK);
    *block = slab->blocks;
    slab->blocks = block;
    slab->next = (uint8_t *) block + SLAB_LINE;
    slab->end = (uint8_t *) block + HUGE_BLOCK;
}

void *slab_alloc(struct slab *slab, size_t size) {
    size_t lines = round_up(size, SLAB_LINE) / SLAB_LINE;
    void **object = slab->free[lines - 1];
    if (object) {
        slab->free[lines - 1] = *object;
        return object;
    }
    if (!slab->next || (size_t) (slab->end - slab->next) < lines * SLAB_LINE) {
        add_block(slab);
    }
    object = (void **) slab->next;
    slab->next += lines * SLAB_LINE;
    return object;
}

void slab_free(struct slab *slab, void *object, size_t size) {
    size_t lines = round_up(size, SLAB_LINE) / SLAB_LINE;
    *(void **) object = slab->free[lines - 1];
    slab->free[lines - 1] = object;
}

void slab_destroy(struct slab *slab) {
    while (slab->blocks) {
        void *block = slab->blocks;
        slab->blocks = *(void **) block;
        huge_free(block, HUGE_BLOCK);
    }
}
