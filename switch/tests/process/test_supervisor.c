/* The supervisor over real processes: a worker that dies is followed by another, with the journal it left. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "process/journal.h"
#include "process/supervisor.h"

static bool count(void *aux, const struct journal_record *record) {
    (void) record;
    ++*(unsigned *) aux;
    return true;
}

/* How many workers came before, by what they left in the journal; and leaves its own mark. */
static unsigned predecessors(int journal_fd) {
    struct journal *journal = journal_open(journal_fd);
    unsigned n = 0;
    journal_each(journal, count, &n);
    journal_append(journal, JOURNAL_CONFIGURED, 0, NULL, 0);
    return n;
}

static int killed_twice(void *aux, int journal_fd, int go_fd) {
    (void) aux;
    if (!supervisor_wait_turn(go_fd))
        return 1;
    if (predecessors(journal_fd) < 2)
        raise(SIGKILL);
    return 0;
}

static int misconfigured(void *aux, int journal_fd, int go_fd) {
    (void) aux, (void) journal_fd;
    supervisor_wait_turn(go_fd);
    return QUAKE_EXIT_USAGE;
}

static int waits_for_a_signal(void *aux, int journal_fd, int go_fd) {
    (void) journal_fd;
    supervisor_wait_turn(go_fd);
    signal(SIGTERM, SIG_DFL);
    (void) !write(*(int *) aux, "r", 1);
    pause();
    return 1;
}

/* supervise() in a process of its own; returns its pid. */
static pid_t start(worker_body *body, void *aux) {
    pid_t pid = fork();
    if (!pid)
        _exit(supervise(body, aux));
    return pid;
}

static int end_of(pid_t pid) {
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how));
    return WEXITSTATUS(how);
}

static void a_killed_worker_is_followed_by_another(void **state) {
    (void) state;
    assert_int_equal(end_of(start(killed_twice, NULL)), 0);
}

static void a_configuration_error_ends_it(void **state) {
    (void) state;
    assert_int_equal(end_of(start(misconfigured, NULL)), QUAKE_EXIT_USAGE);
}

static void sigterm_is_passed_on_and_ends_it(void **state) {
    (void) state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = start(waits_for_a_signal, &ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(pid, SIGTERM);
    assert_int_equal(end_of(pid), 128 + SIGTERM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_worker_is_followed_by_another),
        cmocka_unit_test(a_configuration_error_ends_it),
        cmocka_unit_test(sigterm_is_passed_on_and_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
