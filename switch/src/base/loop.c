#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "log.h"

#define LOOP_EVENTS 64

struct loop_fd {
    LIST_ENTRY(loop_fd) link;
    struct loop *loop;
    int fd; /* -1: removed, kept until the round of events that may still name it is over */
    void (*ready)(void *aux, uint32_t events);
    void *aux;
};

struct loop_timer {
    LIST_ENTRY(loop_timer) link;
    struct loop *loop;
    uint64_t at_ms;
    bool removed;
    void (*expired)(void *aux);
    void *aux;
};

/* A handful of timers (one per connection): a list is the right size. */
struct loop {
    int epoll;
    bool stop, dispatching;
    LIST_HEAD(, loop_fd) fds;
    LIST_HEAD(, loop_timer) timers;
};

uint64_t loop_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

struct loop *loop_create(void) {
    struct loop *loop = xzalloc(sizeof *loop);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        log_error("event loop: epoll_create1: %s; raise the limit of open files", strerror(errno));
        abort();
    }
    return loop;
}

static void loop_sweep(struct loop *loop) {
    struct loop_fd *fd = LIST_FIRST(&loop->fds);
    while (fd) {
        struct loop_fd *next = LIST_NEXT(fd, link);
        if (fd->fd < 0) {
            LIST_REMOVE(fd, link);
            free(fd);
        }
        fd = next;
    }
    struct loop_timer *timer = LIST_FIRST(&loop->timers);
    while (timer) {
        struct loop_timer *next = LIST_NEXT(timer, link);
        if (timer->removed) {
            LIST_REMOVE(timer, link);
            free(timer);
        }
        timer = next;
    }
}

void loop_destroy(struct loop *loop) {
    struct loop_fd *fd;
    LIST_FOREACH (fd, &loop->fds, link)
        fd->fd = -1;
    struct loop_timer *timer;
    LIST_FOREACH (timer, &loop->timers, link)
        timer->removed = true;
    loop_sweep(loop);
    close(loop->epoll);
    free(loop);
}

static int loop_timeout(const struct loop *loop) {
    uint64_t first = UINT64_MAX;
    const struct loop_timer *timer;
    LIST_FOREACH (timer, &loop->timers, link)
        if (!timer->removed && timer->at_ms < first)
            first = timer->at_ms;
    if (first == UINT64_MAX)
        return -1;
    uint64_t now = loop_now_ms();
    return first <= now ? 0 : first - now > 60000 ? 60000 : (int) (first - now);
}

static void loop_expire(struct loop *loop) {
    uint64_t now = loop_now_ms();
    struct loop_timer *timer;
    LIST_FOREACH (timer, &loop->timers, link) {
        if (timer->removed || timer->at_ms > now)
            continue;
        timer->at_ms = UINT64_MAX;
        timer->expired(timer->aux);
    }
}

static void loop_once(struct loop *loop) {
    struct epoll_event events[LOOP_EVENTS];
    int n = epoll_wait(loop->epoll, events, LOOP_EVENTS, loop_timeout(loop));
    loop->dispatching = true;
    for (int i = 0; i < n; i++) {
        struct loop_fd *fd = events[i].data.ptr;
        if (fd->fd >= 0)
            fd->ready(fd->aux, events[i].events);
    }
    loop_expire(loop);
    loop->dispatching = false;
    loop_sweep(loop);
}

void loop_run(struct loop *loop) {
    loop->stop = false;
    while (!loop->stop)
        loop_once(loop);
}

void loop_stop(struct loop *loop) {
    loop->stop = true;
}

struct loop_fd *loop_fd_add(struct loop *loop, int fd, uint32_t events, void (*ready)(void *aux, uint32_t events),
                            void *aux) {
    struct loop_fd *entry = xmalloc(sizeof *entry);
    *entry = (struct loop_fd){.loop = loop, .fd = fd, .ready = ready, .aux = aux};
    struct epoll_event event = {.events = events, .data.ptr = entry};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        log_error("event loop: descriptor %d cannot be watched: %s", fd, strerror(errno));
        abort();
    }
    LIST_INSERT_HEAD(&loop->fds, entry, link);
    return entry;
}

void loop_fd_events(struct loop_fd *fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = fd};
    epoll_ctl(fd->loop->epoll, EPOLL_CTL_MOD, fd->fd, &event);
}

void loop_fd_remove(struct loop_fd *fd) {
    struct loop *loop = fd->loop;
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd->fd, NULL);
    fd->fd = -1;
    if (!loop->dispatching)
        loop_sweep(loop);
}

struct loop_timer *loop_timer_add(struct loop *loop, uint64_t at_ms, void (*expired)(void *aux), void *aux) {
    struct loop_timer *timer = xmalloc(sizeof *timer);
    *timer = (struct loop_timer){.loop = loop, .at_ms = at_ms, .expired = expired, .aux = aux};
    LIST_INSERT_HEAD(&loop->timers, timer, link);
    return timer;
}

void loop_timer_set(struct loop_timer *timer, uint64_t at_ms) {
    timer->at_ms = at_ms;
}

void loop_timer_remove(struct loop_timer *timer) {
    struct loop *loop = timer->loop;
    timer->removed = true;
    if (!loop->dispatching)
        loop_sweep(loop);
}
