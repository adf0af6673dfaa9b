#include "acceptor.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "log.h"
#include "loop.h"

#define REST_MS 100

struct acceptor {
    int fd;
    char *name;
    struct loop_fd *watch;
    struct loop_timer *rest;
    bool complained;
    void (*came)(void *aux, int fd);
    void *aux;
};

static void rest(struct acceptor *acceptor, const char *why) {
    if (!acceptor->complained)
        log_warning("%s: no connection can be taken: %s; the next is when there is room again: raise the limit of open "
                    "files, or close connections",
                    acceptor->name, why);
    acceptor->complained = true;
    loop_fd_events(acceptor->watch, 0);
    loop_timer_set(acceptor->rest, loop_now_ms() + REST_MS);
}

static void rested(void *aux) {
    struct acceptor *acceptor = aux;
    loop_fd_events(acceptor->watch, EPOLLIN);
}

/* One that went away before it was taken is none; anything else would be reported again at once. */
static void someone_waits(void *aux, uint32_t events) {
    struct acceptor *acceptor = aux;
    int fd;
    (void) events;
    while ((fd = accept4(acceptor->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        acceptor->complained = false;
        acceptor->came(acceptor->aux, fd);
    }
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        rest(acceptor, strerror(errno));
}

struct acceptor *acceptor_create(struct loop *loop, int fd, const char *name, void (*came)(void *aux, int fd),
                                 void *aux) {
    struct acceptor *acceptor = xmalloc(sizeof *acceptor);
    *acceptor = (struct acceptor){.fd = fd, .name = xstrdup(name), .came = came, .aux = aux};
    acceptor->watch = loop_fd_add(loop, fd, EPOLLIN, someone_waits, acceptor);
    acceptor->rest = loop_timer_add(loop, UINT64_MAX, rested, acceptor);
    return acceptor;
}

void acceptor_destroy(struct acceptor *acceptor) {
    loop_timer_remove(acceptor->rest);
    loop_fd_remove(acceptor->watch);
    close(acceptor->fd);
    free(acceptor->name);
    free(acceptor);
}
