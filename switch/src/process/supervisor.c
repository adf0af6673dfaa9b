#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"
#include "journal.h"

#define CRASHES_IN_A_ROW 5 /* then the journal is given up */
#define SHORT_LIFE_S 1     /* a worker that lived longer did not crash of its start */
#define RETRY_S 1          /* between workers that crash at once, from the second crash on */

struct child {
    pid_t pid;      /* 0: none */
    int go_fd;      /* to write to when its turn comes */
    time_t started; /* when its turn came */
};

struct supervisor {
    worker_body *body;
    void *aux;
    int journal_fd;
    sigset_t before; /* the signal mask for workers */
    struct child active, spare;
    unsigned crashes;
    bool served; /* a worker has run well: what it was told at the start is right */
    bool stopping;
};

static time_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

static void run_child(const struct supervisor *supervisor, const int go[2]) {
    close(go[1]);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never two switches on the same ports */
    sigprocmask(SIG_SETMASK, &supervisor->before, NULL);
    _exit(supervisor->body(supervisor->aux, supervisor->journal_fd, go[0]));
}

static struct child start(const struct supervisor *supervisor) {
    int go[2];
    if (pipe(go))
        return (struct child){0};
    pid_t pid = fork();
    if (!pid)
        run_child(supervisor, go);
    close(go[0]);
    if (pid < 0) {
        log_error("cannot start a worker process: %s", strerror(errno));
        close(go[1]);
        return (struct child){0};
    }
    return (struct child){.pid = pid, .go_fd = go[1]};
}

static void activate(struct supervisor *supervisor) {
    supervisor->active = supervisor->spare.pid ? supervisor->spare : start(supervisor);
    supervisor->spare = (struct child){0};
    supervisor->active.started = now();
    if (supervisor->active.pid) {
        (void) !write(supervisor->active.go_fd, "g", 1);
        close(supervisor->active.go_fd);
    }
}

static void give_up_journal(struct supervisor *supervisor) {
    int fd = journal_create();
    if (fd < 0)
        return;
    log_error("the worker crashed %d times in a row: its journal is given up, controllers must send their state anew",
              CRASHES_IN_A_ROW);
    dup2(fd, supervisor->journal_fd);
    close(fd);
    if (supervisor->spare.pid) { /* it may hold the old one; reap() collects it */
        kill(supervisor->spare.pid, SIGKILL);
        close(supervisor->spare.go_fd);
        supervisor->spare = (struct child){0};
    }
    supervisor->crashes = 0;
}

static void after_crash(struct supervisor *supervisor) {
    bool short_life = now() - supervisor->active.started < SHORT_LIFE_S;
    supervisor->crashes = short_life ? supervisor->crashes + 1 : 1;
    if (supervisor->crashes >= CRASHES_IN_A_ROW)
        give_up_journal(supervisor);
    if (supervisor->crashes > 1)
        nanosleep(&(struct timespec){.tv_sec = RETRY_S}, NULL);
    activate(supervisor);
}

/* A child of ours ended. Returns true when the supervisor is to end with *status. */
static bool active_ended(struct supervisor *supervisor, int how, int *status) {
    supervisor->active.pid = 0;
    *status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    if (supervisor->stopping || !*status || (*status == QUAKE_EXIT_USAGE && !supervisor->served))
        return true;
    log_warning("the worker process ended (%s %d): the next takes over", WIFEXITED(how) ? "status" : "signal",
                WIFEXITED(how) ? WEXITSTATUS(how) : WTERMSIG(how));
    after_crash(supervisor);
    return false;
}

/* Collect every child that ended, ours and orphans that fell to process 1. True when the supervisor is to end. */
static bool reap(struct supervisor *supervisor, int *status) {
    int how;
    pid_t pid;
    while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
        if (pid == supervisor->spare.pid) {
            close(supervisor->spare.go_fd);
            supervisor->spare.pid = 0;
        } else if (pid == supervisor->active.pid && active_ended(supervisor, how, status)) {
            return true;
        }
    }
    return false;
}

static void pass_on(struct supervisor *supervisor, int signal) {
    supervisor->stopping = true;
    if (supervisor->active.pid)
        kill(supervisor->active.pid, signal);
}

int supervise(worker_body *body, void *aux) {
    struct supervisor supervisor = {.body = body, .aux = aux, .journal_fd = journal_create()};
    if (supervisor.journal_fd < 0) {
        log_error("cannot make the journal (memfd_create): %s", strerror(errno));
        return 1;
    }
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &supervisor.before);
    activate(&supervisor);

    int status = 1;
    for (bool done = false; !done;) {
        int signal = sigtimedwait(&all, NULL, &(struct timespec){.tv_sec = 1});
        if (signal == SIGTERM || signal == SIGINT)
            pass_on(&supervisor, signal);
        done = reap(&supervisor, &status);
        if (!done && !supervisor.spare.pid && supervisor.active.pid && !supervisor.stopping && signal < 0) {
            supervisor.served = true; /* a quiet second passed: time to prepare */
            supervisor.spare = start(&supervisor);
        }
        if (!done && !supervisor.active.pid)
            activate(&supervisor); /* fork failed before */
    }
    if (supervisor.spare.pid)
        kill(supervisor.spare.pid, SIGKILL);
    return status;
}

bool supervisor_wait_turn(int go_fd) {
    char byte;
    ssize_t n;
    do
        n = read(go_fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    close(go_fd);
    return n == 1;
}
