/* Taking connections: what happens while there is no descriptor for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/acceptor.h"
#include "base/loop.h"

#define MOMENT_MS 30

static struct loop *loop;
static unsigned attempts, connections;

/* The linker sends calls of accept4() here (meson.build). */
int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags) {
    attempts++;
    return __real_accept4(fd, address, len, flags);
}

static void note_connection(void *aux, int fd) {
    (void) aux;
    connections++;
    close(fd);
    loop_stop(loop);
}

static void stop(void *aux) {
    loop_stop(aux);
}

/* At an address that the kernel chooses. */
static int listen_somewhere(struct sockaddr_un *address, socklen_t *len) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *len = sizeof *address;
    assert_int_equal(bind(fd, (struct sockaddr *) address, sizeof address->sun_family), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) address, len), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

/* No descriptor above those that are open, until the limit is put back. */
static struct rlimit exhaust_descriptors(void) {
    struct rlimit before, none;
    int first_free = dup(STDERR_FILENO);
    close(first_free);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = (rlim_t) first_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

static void without_descriptors_it_rests_and_then_goes_on(void **state) {
    struct sockaddr_un address;
    socklen_t len;
    (void) state;
    loop = loop_create();
    struct acceptor *acceptor = acceptor_create(loop, listen_somewhere(&address, &len), "test", note_connection, NULL);
    int caller = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct loop_timer *moment = loop_timer_add(loop, loop_now_ms() + MOMENT_MS, stop, loop);
    struct rlimit before = exhaust_descriptors();
    assert_int_equal(connect(caller, (struct sockaddr *) &address, len), 0);
    loop_run(loop);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(connections, 0);
    assert_in_range(attempts, 1, 5); /* one for each rest, not one for each round of the loop */
    loop_run(loop);
    assert_int_equal(connections, 1);
    close(caller);
    loop_timer_remove(moment);
    acceptor_destroy(acceptor);
    loop_destroy(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_descriptors_it_rests_and_then_goes_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
