#include "lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/buf.h"

struct lookup {
    atomic_int holders; /* who asked, and the thread: the last one to leave frees it */
    int done;           /* an eventfd */
    int error;          /* EAI_* */
    struct target target;
    struct addrinfo *found;
};

static void lookup_drop(struct lookup *lookup) {
    if (atomic_fetch_sub(&lookup->holders, 1) > 1)
        return;
    close(lookup->done);
    if (lookup->found)
        freeaddrinfo(lookup->found);
    free(lookup);
}

static void *resolve(void *aux) {
    struct lookup *lookup = aux;
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM};
    const uint64_t one = 1;
    lookup->error = getaddrinfo(lookup->target.host, lookup->target.port, &hints, &lookup->found);
    if (write(lookup->done, &one, sizeof one) < 0)
        lookup->error = EAI_SYSTEM;
    lookup_drop(lookup);
    return NULL;
}

/* Signals are for the thread that runs the loop. */
static int start_thread(struct lookup *lookup) {
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, resolve, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        pthread_detach(thread);
    return error;
}

struct lookup *lookup_start(const struct target *target) {
    struct lookup *lookup = xzalloc(sizeof *lookup);
    atomic_init(&lookup->holders, 2);
    lookup->target = *target;
    lookup->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookup->done >= 0 && !start_thread(lookup))
        return lookup;
    if (lookup->done >= 0)
        close(lookup->done);
    free(lookup);
    return NULL;
}

int lookup_fd(const struct lookup *lookup) {
    return lookup->done;
}

const char *lookup_result(const struct lookup *lookup, unsigned attempt, struct target *target) {
    if (lookup->error)
        return gai_strerror(lookup->error);
    const struct addrinfo *address = lookup->found;
    for (; attempt; attempt--)
        address = address->ai_next ? address->ai_next : lookup->found;
    *target = lookup->target;
    memcpy(&target->address, address->ai_addr, address->ai_addrlen);
    target->address_len = address->ai_addrlen;
    return NULL;
}

void lookup_end(struct lookup *lookup) {
    lookup_drop(lookup);
}
