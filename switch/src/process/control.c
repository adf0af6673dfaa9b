#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "clients.h"
#include "commands.h"
#include "quake.h"

#define MAX_LINE (1 << 20)
#define MAX_CLIENTS 64

struct control {
    struct quake *quake;
    char path[sizeof((struct sockaddr_un *) 0)->sun_path];
    struct clients *clients;
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

/* ---- The socket ---- */

static void answer_lines(void *aux, struct buf *in, struct buf *out) {
    const struct control *control = aux;
    const uint8_t *end;
    while (buf_len(in) && (end = memchr(buf_data(in), '\n', buf_len(in)))) {
        size_t length = (size_t) (end - buf_data(in));
        json_t *answer = control_answer(control->quake, (const char *) buf_data(in), length);
        char *text = json_dumps(answer, JSON_COMPACT);
        buf_put(out, text, strlen(text));
        buf_put(out, "\n", 1);
        free(text);
        json_decref(answer);
        buf_pull(in, length + 1);
    }
}

static const struct clients_kind PEOPLE = {
    .name = "control", .most = MAX_CLIENTS, .longest = MAX_LINE, .take = answer_lines};

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
    control->quake = quake;
    snprintf(control->path, sizeof control->path, "%s", path);
    control->clients = clients_create(quake->loop, fd, &PEOPLE, control);
    *result = control;
    return NULL;
}

void control_close(struct control *control) {
    clients_destroy(control->clients);
    unlink(control->path);
    free(control);
}
