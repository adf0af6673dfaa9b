/* A growable run of bytes with a front that can be consumed: what waits to be sent, and what is being put together.
 *
 * Memory that cannot be had ends the process (the supervisor starts it anew), so no caller has to check. */
#ifndef QUAKE_BASE_BUF_H
#define QUAKE_BASE_BUF_H 1

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *base;
    size_t start, end, size; /* the content is base[start..end) */
};

static inline uint8_t *buf_data(const struct buf *buf) {
    return buf->base + buf->start;
}
static inline size_t buf_len(const struct buf *buf) {
    return buf->end - buf->start;
}

void *buf_put_uninit(struct buf *buf, size_t n); /* room for `n` more bytes at the end; valid until the next put */
void *buf_put_zeros(struct buf *buf, size_t n);
void buf_put(struct buf *buf, const void *data, size_t n);
void buf_insert_zeros(struct buf *buf, size_t at, size_t n); /* `at` counts from the start of the content */
void buf_pull(struct buf *buf, size_t n);                    /* drops the first `n` bytes */
void buf_clear(struct buf *buf);                             /* keeps a modest allocation for the next use */
void buf_free(struct buf *buf);

/* malloc() and realloc() that do not return without memory. */
void *xmalloc(size_t size);
void *xzalloc(size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *text);

#endif
