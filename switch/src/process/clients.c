#include "clients.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/acceptor.h"
#include "../base/buf.h"
#include "../base/loop.h"

struct client {
    TAILQ_ENTRY(client) link;
    struct clients *clients;
    int fd;
    struct loop_fd *watch;
    struct buf in, out;
};

struct clients {
    struct loop *loop;
    const struct clients_kind *kind;
    void *aux;
    struct acceptor *acceptor;
    TAILQ_HEAD(, client) list; /* silent longest first */
    unsigned n;
};

static void client_close(struct client *client) {
    TAILQ_REMOVE(&client->clients->list, client, link);
    client->clients->n--;
    loop_fd_remove(client->watch);
    close(client->fd);
    buf_free(&client->in);
    buf_free(&client->out);
    free(client);
}

static bool try_again(void) {
    return errno == EAGAIN || errno == EINTR;
}

/* This and the next are false when the client is to be closed. */
static bool client_write(struct client *client) {
    while (buf_len(&client->out)) {
        ssize_t n = send(client->fd, buf_data(&client->out), buf_len(&client->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && !try_again())
            return false;
        if (n < 0)
            break;
        buf_pull(&client->out, (size_t) n);
    }
    loop_fd_events(client->watch, buf_len(&client->out) ? EPOLLOUT : EPOLLIN);
    return buf_len(&client->out) || !client->clients->kind->once;
}

static bool client_read(struct client *client) {
    const struct clients *clients = client->clients;
    char data[16384];
    ssize_t n = recv(client->fd, data, sizeof data, MSG_DONTWAIT);
    if (n < 0)
        return try_again();
    buf_put(&client->in, data, (size_t) n);
    if (n)
        clients->kind->take(clients->aux, &client->in, &client->out);
    return n && buf_len(&client->in) <= clients->kind->longest && (!buf_len(&client->out) || client_write(client));
}

static void client_ready(void *aux, uint32_t events) {
    struct client *client = aux;
    (void) events;
    TAILQ_REMOVE(&client->clients->list, client, link);
    TAILQ_INSERT_TAIL(&client->clients->list, client, link);
    if (!(buf_len(&client->out) ? client_write(client) : client_read(client)))
        client_close(client);
}

static void client_came(void *aux, int fd) {
    struct clients *clients = aux;
    if (clients->n == clients->kind->most)
        client_close(TAILQ_FIRST(&clients->list));
    struct client *client = xzalloc(sizeof *client);
    client->clients = clients;
    client->fd = fd;
    client->watch = loop_fd_add(clients->loop, fd, EPOLLIN, client_ready, client);
    TAILQ_INSERT_TAIL(&clients->list, client, link);
    clients->n++;
}

struct clients *clients_create(struct loop *loop, int fd, const struct clients_kind *kind, void *aux) {
    struct clients *clients = xzalloc(sizeof *clients);
    clients->loop = loop;
    clients->kind = kind;
    clients->aux = aux;
    TAILQ_INIT(&clients->list);
    clients->acceptor = acceptor_create(loop, fd, kind->name, client_came, clients);
    return clients;
}

void clients_destroy(struct clients *clients) {
    for (struct client *client = TAILQ_FIRST(&clients->list), *next; client; client = next) {
        next = TAILQ_NEXT(client, link);
        client_close(client);
    }
    acceptor_destroy(clients->acceptor);
    free(clients);
}
