#include "of.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/acceptor.h"
#include "../base/log.h"
#include "conn.h"

#define IDLE_MS 5000
#define ACCEPTED_MAX 64 /* connections to one listener */

static void of_work(void *aux) {
    conn_work(aux);
}

struct of *of_create(struct loop *loop, struct dp *dp, const struct of_description *description,
                     const struct of_hooks *hooks) {
    struct of *of = xzalloc(sizeof *of);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    of->loop = loop;
    of->dp = dp;
    of->description = *description;
    of->hooks = *hooks;
    of->space = xzalloc(sizeof *of->space);
    of->work = loop_timer_add(loop, UINT64_MAX, of_work, of);
    of->idle_ms = IDLE_MS;
    of->seed = (unsigned) loop_now_ms() ^ (unsigned) getpid();
    LIST_INIT(&of->controllers);
    LIST_INIT(&of->conns);
    return of;
}

/* ---- Controllers ---- */

static const char *of_say(struct of *of, const char *format, ...) __attribute__((format(printf, 2, 3)));

static const char *of_say(struct of *of, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(of->error_text, sizeof of->error_text, format, args);
    va_end(args);
    return of->error_text;
}

static struct controller *controller_find(struct of *of, const char *text) {
    struct controller *controller;
    LIST_FOREACH (controller, &of->controllers, link)
        if (!strcmp(controller->text, text))
            return controller;
    return NULL;
}

static void controller_adopt(struct controller *controller, struct stream *stream, const char *peer) {
    if (controller->n_accepted == ACCEPTED_MAX) {
        log_warning("controller %s: %s was turned away: there are %d connections", controller->text, peer,
                    ACCEPTED_MAX);
        stream_close(stream);
        return;
    }
    controller->n_accepted++;
    conn_adopt(conn_create(controller, NULL, 0), stream, peer);
}

static void controller_came(void *aux, int fd) {
    struct controller *controller = aux;
    struct stream stream;
    char peer[64];
    if (!stream_adopt(&stream, fd, controller->target.tls ? controller->of->tls : NULL, peer, sizeof peer))
        controller_adopt(controller, &stream, peer);
}

static const char *controller_listen(struct controller *controller) {
    int fd = stream_listen(&controller->target);
    if (fd < 0)
        return of_say(controller->of, "%s: cannot listen: %s; choose a free port or path", controller->text,
                      strerror(-fd));
    controller->acceptor = acceptor_create(controller->of->loop, fd, controller->text, controller_came, controller);
    return NULL;
}

static void controller_connect(struct controller *controller) {
    struct conn *main = conn_create(controller, NULL, 0);
    for (unsigned i = 1; i <= controller->target.aux; i++)
        conn_create(controller, main, (uint8_t) i);
    conn_start(main);
}

static void controller_destroy(struct controller *controller) {
    struct conn *conn = LIST_FIRST(&controller->of->conns);
    while (conn) {
        struct conn *next = LIST_NEXT(conn, link);
        if (conn->controller == controller)
            conn_destroy(conn);
        conn = next;
    }
    if (controller->acceptor) {
        acceptor_destroy(controller->acceptor);
        if (controller->target.address.ss_family == AF_UNIX)
            unlink(strchr(controller->text, ':') + 1);
    }
    LIST_REMOVE(controller, link);
    free(controller->text);
    free(controller);
}

const char *of_controller_add(struct of *of, const char *text) {
    struct target target;
    const char *wrong = target_parse(text, &target);
    if (wrong)
        return of_say(of, "controller \"%.100s\": %s", text, wrong);
    if (controller_find(of, text))
        return of_say(of, "controller \"%.100s\" is already there", text);
    if (target.tls && !of->tls)
        return of_say(of, "controller \"%.100s\": TLS is not configured: set key, certificate and CA first", text);
    struct controller *controller = xzalloc(sizeof *controller);
    controller->of = of;
    controller->text = xstrdup(text);
    controller->target = target;
    LIST_INSERT_HEAD(&of->controllers, controller, link);
    if (!target.passive) {
        controller_connect(controller);
        return NULL;
    }
    wrong = controller_listen(controller);
    if (wrong)
        controller_destroy(controller);
    return wrong;
}

const char *of_controller_remove(struct of *of, const char *text) {
    struct controller *controller = controller_find(of, text);
    if (!controller)
        return of_say(of, "controller \"%.100s\" is not there: name one as it was added", text);
    controller_destroy(controller);
    return NULL;
}

const char *of_set_tls(struct of *of, const struct of_tls *tls) {
    const char *why;
    SSL_CTX *context = stream_tls_context(tls->private_key, tls->certificate, tls->ca, &why);
    if (!context)
        return of_say(of, "%s (%s, %s, %s)", why, tls->private_key, tls->certificate, tls->ca);
    SSL_CTX_free(of->tls); /* streams that are open keep their own reference */
    of->tls = context;
    return NULL;
}

void of_destroy(struct of *of) {
    of_txn_end(of);
    struct controller *controller = LIST_FIRST(&of->controllers);
    while (controller) {
        struct controller *next = LIST_NEXT(controller, link);
        controller_destroy(controller);
        controller = next;
    }
    loop_timer_remove(of->work);
    SSL_CTX_free(of->tls);
    free(of->space);
    free(of);
}

/* ---- For people ---- */

static const char *role_name(const struct conn *conn) {
    static const char *const names[] = {
        [OFPCR_ROLE_EQUAL] = "equal", [OFPCR_ROLE_MASTER] = "master", [OFPCR_ROLE_SLAVE] = "slave"};
    return conn->main == conn ? names[conn->role] : "auxiliary";
}

static void show_conn(const struct conn *conn, void (*each)(void *aux, const struct of_connection_view *view),
                      void *aux) {
    struct of_connection_view view = {
        .target = conn->controller->text,
        .peer = conn->peer,
        .role = role_name(conn),
        .state = conn->state == CONN_UP        ? "connected"
                 : conn->state == CONN_BACKOFF ? "backoff"
                                               : "connecting",
        .last_error = conn->last_error,
        .messages_in = conn->messages_in,
        .messages_out = conn->messages_out,
    };
    each(aux, &view);
}

void of_connection_each(struct of *of, void (*each)(void *aux, const struct of_connection_view *view), void *aux) {
    struct controller *controller;
    LIST_FOREACH (controller, &of->controllers, link) {
        struct of_connection_view view = {.target = controller->text,
                                          .peer = "",
                                          .role = "",
                                          .state = "listening",
                                          .last_error = controller->last_error};
        if (controller->target.passive)
            each(aux, &view);
        struct conn *conn;
        LIST_FOREACH (conn, &of->conns, link)
            if (conn->controller == controller)
                show_conn(conn, each, aux);
    }
}
