#include "buf.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

#define BUF_KEEP ((size_t) 256 * 1024)

void *xrealloc(void *p, size_t size) {
    void *grown = realloc(p, size ? size : 1);
    if (!grown) {
        log_error("out of memory: %zu bytes could not be had", size);
        abort();
    }
    return grown;
}

void *xmalloc(size_t size) {
    return xrealloc(NULL, size);
}

void *xzalloc(size_t size) {
    return memset(xmalloc(size), 0, size);
}

char *xstrdup(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(xmalloc(size), text, size);
}

static void buf_grow(struct buf *buf, size_t n) {
    if (buf->start && buf->end + n > buf->size) {
        memmove(buf->base, buf_data(buf), buf_len(buf));
        buf->end -= buf->start;
        buf->start = 0;
    }
    if (buf->end + n > buf->size) {
        buf->size = (buf->end + n) * 2;
        buf->base = xrealloc(buf->base, buf->size);
    }
}

void *buf_put_uninit(struct buf *buf, size_t n) {
    if (n > buf->size - buf->end)
        buf_grow(buf, n);
    void *room = buf->base + buf->end;
    buf->end += n;
    return room;
}

void *buf_put_zeros(struct buf *buf, size_t n) {
    return memset(buf_put_uninit(buf, n), 0, n);
}

void buf_put(struct buf *buf, const void *data, size_t n) {
    if (n)
        memcpy(buf_put_uninit(buf, n), data, n);
}

void buf_insert_zeros(struct buf *buf, size_t at, size_t n) {
    size_t tail = buf_len(buf) - at;
    buf_put_uninit(buf, n);
    uint8_t *place = buf_data(buf) + at;
    memmove(place + n, place, tail);
    memset(place, 0, n);
}

void buf_pull(struct buf *buf, size_t n) {
    buf->start += n;
    if (buf->start == buf->end)
        buf_clear(buf);
}

void buf_clear(struct buf *buf) {
    buf->start = buf->end = 0;
    if (buf->size > BUF_KEEP)
        buf_free(buf);
}

void buf_free(struct buf *buf) {
    free(buf->base);
    *buf = (struct buf){0};
}
