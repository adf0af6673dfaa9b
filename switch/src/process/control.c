#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "commands.h"
#include "quake.h"

#define MAX_LINE (1 << 20)
#define MAX_CLIENTS 64

struct client {
    struct control *control;
    struct client *next;
    int fd;
    struct loop_fd *watch;
    struct buf in, out;
};

struct control {
    struct quake *quake;
    char path[sizeof((struct sockaddr_un *) 0)->sun_path];
    int fd;
    struct loop_fd *watch;
    struct client *clients;
    unsigned n_clients;
};

/* ---- Requests ---- */

static json_t *failure(json_t *id, char *error) {
    json_t *answer = json_pack("{s:O?, s:s}", "id", id, "error", error);
    free(error);
    return answer ? answer : json_pack("{s:s}", "error", "the error is not UTF-8");
}

json_t *control_answer(struct quake *quake, const char *line, size_t length) {
    json_error_t wrong;
    json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &wrong);
    if (!request)
        return failure(NULL, error_make("the request is not JSON: %s (column %d)", wrong.text, wrong.column));
    json_t *id = json_object_get(request, "id"), *params = json_object_get(request, "params"), *result = NULL;
    const char *method = json_string_value(json_object_get(request, "method"));
    char *error;
    if (!method)
        error = error_make("a request is an object with a method; \"help\" lists them");
    else if (params && !json_is_object(params))
        error = error_make("params must be an object");
    else
        error = command_run(quake, method, params, &result);
    json_t *answer = error ? failure(id, error) : json_pack("{s:O?, s:o}", "id", id, "result", result);
    json_decref(request);
    return answer;
}

/* ---- Connections ---- */

static void client_close(struct client *client) {
    struct client **link = &client->control->clients;
    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    client->control->n_clients--;
    loop_fd_remove(client->watch);
    close(client->fd);
    buf_free(&client->in);
    buf_free(&client->out);
    free(client);
}

/* False when the client is gone. */
static bool flush(struct client *client) {
    while (buf_len(&client->out)) {
        ssize_t n = send(client->fd, buf_data(&client->out), buf_len(&client->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n < 0)
            break;
        buf_pull(&client->out, (size_t) n);
    }
    loop_fd_events(client->watch, buf_len(&client->out) ? EPOLLOUT : EPOLLIN); /* answers go out before more comes in */
    return true;
}

static void answer_lines(struct client *client) {
    const uint8_t *end;
    while (buf_len(&client->in) && (end = memchr(buf_data(&client->in), '\n', buf_len(&client->in)))) {
        size_t length = (size_t) (end - buf_data(&client->in));
        json_t *answer = control_answer(client->control->quake, (const char *) buf_data(&client->in), length);
        char *text = json_dumps(answer, JSON_COMPACT);
        buf_put(&client->out, text, strlen(text));
        buf_put(&client->out, "\n", 1);
        free(text);
        json_decref(answer);
        buf_pull(&client->in, length + 1);
    }
}

static void client_ready(void *aux, uint32_t events) {
    struct client *client = aux;
    if (events & EPOLLIN || !(events & EPOLLOUT)) {
        char data[16384];
        ssize_t n = recv(client->fd, data, sizeof data, MSG_DONTWAIT);
        if (!n || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            client_close(client);
            return;
        }
        buf_put(&client->in, data, n > 0 ? (size_t) n : 0);
        answer_lines(client);
    }
    if (!flush(client) || buf_len(&client->in) > MAX_LINE)
        client_close(client);
}

static void client_waits(void *aux, uint32_t events) {
    (void) events;
    struct control *control = aux;
    int fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (control->n_clients == MAX_CLIENTS) {
        close(fd);
        return;
    }
    struct client *client = xzalloc(sizeof *client);
    *client = (struct client){.control = control, .next = control->clients, .fd = fd};
    client->watch = loop_fd_add(control->quake->loop, fd, EPOLLIN, client_ready, client);
    control->clients = client;
    control->n_clients++;
}

char *control_open(struct quake *quake, const char *path, struct control **result) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return error_make("control: the path \"%s\" is longer than %zu bytes", path, sizeof address.sun_path - 1);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(probe, (struct sockaddr *) &address, sizeof address) && errno == ECONNREFUSED)
        unlink(path); /* of a process that was killed */
    close(probe);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177);
    int failed = bind(fd, (struct sockaddr *) &address, sizeof address);
    umask(mask);
    if (failed || listen(fd, 16)) {
        char *error = error_make("control: cannot listen at %s: %s", path, strerror(errno));
        close(fd);
        return error;
    }
    struct control *control = xzalloc(sizeof *control);
    *control = (struct control){.quake = quake, .fd = fd};
    snprintf(control->path, sizeof control->path, "%s", path);
    control->watch = loop_fd_add(quake->loop, fd, EPOLLIN, client_waits, control);
    *result = control;
    return NULL;
}

void control_close(struct control *control) {
    for (struct client *client = control->clients, *next; client; client = next) {
        next = client->next;
        client_close(client);
    }
    loop_fd_remove(control->watch);
    close(control->fd);
    unlink(control->path);
    free(control);
}
