/* quake: an OpenFlow 1.3 switch. Reads what it is told (config.h), then either supervises (supervisor.h) or, with
 * --direct, is itself the worker process: DPDK's environment, the switch (quake.h), control socket, exporter, event
 * loop. */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/log.h"
#include "../base/loop.h"
#include "control.h"
#include "exporter.h"
#include "quake.h"
#include "supervisor.h"

static const char HELP[] =
    "quake: an OpenFlow 1.3 switch on DPDK.\n"
    "usage: quake [options] [-- arguments to DPDK's environment]\n"
    "  -c, --config FILE        JSON; switch/README.md lists the keys. Options below override it\n"
    "      --control PATH       the control socket, for quakectl (default /run/quake/control.sock)\n"
    "      --controller TARGET  tcp:HOST:PORT, ssl:HOST:PORT, unix:PATH, ptcp:PORT[:HOST], ...; may be repeated\n"
    "      --cpus LIST          a worker on each of these CPUs, such as 1,2 (default: one worker, on no CPU of its "
    "own)\n"
    "      --datapath-id HEX\n"
    "      --hugepages          take memory from huge pages; else ordinary pages\n"
    "      --mbufs N            packet buffers (default 16384)\n"
    "      --metrics HOST:PORT  serve Prometheus metrics and probes\n"
    "      --policy energy|spin what workers do without packets (default energy)\n"
    "      --direct             no supervisor: a killed process stays dead and loses its state\n"
    "  -h, --help\n"
    "  -V, --version\n"
    "Ports are in the file, or added with quakectl port-add.\n";

enum {
    OPT_CONTROL = 256,
    OPT_CONTROLLER,
    OPT_CPUS,
    OPT_ID,
    OPT_HUGEPAGES,
    OPT_MBUFS,
    OPT_METRICS,
    OPT_POLICY,
    OPT_DIRECT
};

static const struct option OPTIONS[] = {
    {"config", required_argument, NULL, 'c'},
    {"control", required_argument, NULL, OPT_CONTROL},
    {"controller", required_argument, NULL, OPT_CONTROLLER},
    {"cpus", required_argument, NULL, OPT_CPUS},
    {"datapath-id", required_argument, NULL, OPT_ID},
    {"hugepages", no_argument, NULL, OPT_HUGEPAGES},
    {"mbufs", required_argument, NULL, OPT_MBUFS},
    {"metrics", required_argument, NULL, OPT_METRICS},
    {"policy", required_argument, NULL, OPT_POLICY},
    {"direct", no_argument, NULL, OPT_DIRECT},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* ---- The worker process ---- */

struct process {
    struct config config;
    struct quake quake;
    struct control *control;
    struct exporter *exporter;
};

/* The CPUs of the control thread: those we may use, less the workers' unless that leaves none. As DPDK's lcore 0. */
static void control_cpus(const struct config *config, char *text, size_t size) {
    cpu_set_t ours, rest;
    sched_getaffinity(0, sizeof ours, &ours);
    rest = ours;
    for (unsigned i = 0; i < config->n_cpus; i++)
        if (config->cpus[i] >= 0)
            CPU_CLR((size_t) config->cpus[i], &rest);
    const cpu_set_t *chosen = CPU_COUNT(&rest) ? &rest : &ours;
    size_t used = (size_t) snprintf(text, size, "--lcores=0@(");
    for (size_t cpu = 0; cpu < CPU_SETSIZE && used < size; cpu++)
        if (CPU_ISSET(cpu, chosen))
            used += (size_t) snprintf(text + used, size - used, "%zu,", cpu);
    if (used < size)
        text[used - 1] = ')';
}

static char *start_environment(const struct config *config) {
    enum { MAX = 64 };
    char *argv[MAX] = {NULL}, mib[16], lcores[4096];
    int argc = 0;
    snprintf(mib, sizeof mib, "%u", config->mib);
    control_cpus(config, lcores, sizeof lcores);
    const char *always[] = {"quake",
                            "--iova-mode=va",
                            "--no-telemetry",
                            "--log-level=warning",
                            lcores,
                            "-m",
                            mib,
                            config->hugepages ? "--in-memory" : "--no-huge",
                            "--no-shconf"};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        argv[argc++] = (char *) always[i];
    if (!config->pci)
        argv[argc++] = (char *) "--no-pci";
    size_t i;
    json_t *more;
    json_array_foreach(config->eal, i, more) if (argc < MAX - 1) argv[argc++] = (char *) json_string_value(more);
    if (rte_eal_init(argc, argv) >= 0)
        return NULL;
    return error_make(
        "DPDK's environment does not start: %s. Its log says why; check memory (hugepages, mib), eal and, "
        "for huge pages in a pod, its seccomp profile",
        rte_strerror(rte_errno));
}

static sigset_t stop_signals(void) {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    return stop;
}

static void signalled(void *aux, uint32_t events) {
    (void) events;
    struct process *process = aux;
    log_info("asked to stop");
    loop_stop(process->quake.loop);
}

/* Runs until a signal, a "stop", or an error at start. */
static char *run(struct process *process, int journal_fd) {
    struct quake *quake = &process->quake;
    char *error = quake_start(quake, &process->config, journal_fd);
    error = error ? error : control_open(quake, process->config.control, &process->control);
    if (!error && process->config.metrics)
        error = exporter_open(quake, process->config.metrics, &process->exporter);
    if (error)
        return error;
    sigset_t stop = stop_signals();
    int fd = signalfd(-1, &stop, SFD_CLOEXEC);
    struct loop_fd *watch = loop_fd_add(quake->loop, fd, EPOLLIN, signalled, process);
    log_info("%s, datapath %016llx, control socket %s", quake->restored ? "took over" : "started",
             (unsigned long long) dp_id(quake->dp), process->config.control);
    loop_run(quake->loop);
    loop_fd_remove(watch);
    if (process->exporter)
        exporter_close(process->exporter);
    control_close(process->control);
    quake_stop(quake);
    return NULL;
}

static int worker(void *aux, int journal_fd, int go_fd) {
    struct process *process = aux;
    sigset_t stop = stop_signals();
    sigprocmask(SIG_BLOCK, &stop, NULL); /* before DPDK makes the first thread, which would take them */
    char *error = start_environment(&process->config);
    bool early = !process->config.hugepages; /* those are too dear to hold twice */
    if (!error && early)
        error = quake_prepare(&process->quake, &process->config);
    if (go_fd >= 0 && !supervisor_wait_turn(go_fd))
        return 1;
    if (!error && !early)
        error = quake_prepare(&process->quake, &process->config);
    error = error ? error : run(process, journal_fd);
    if (error) {
        log_error("%s", error);
        free(error);
        return QUAKE_EXIT_USAGE;
    }
    rte_eal_cleanup();
    return 0;
}

/* ---- The command line ---- */

static json_t *section(json_t *root, const char *name, json_t *empty) {
    json_t *found = json_object_get(root, name);
    if (!found)
        json_object_set(root, name, found = empty);
    json_decref(empty);
    return found;
}

static char *set_cpus(json_t *root, const char *list) {
    json_t *cpus = json_array();
    json_object_set_new(section(root, "workers", json_object()), "cpus", cpus);
    for (const char *at = list; *at;) {
        char *end;
        long cpu = strtol(at, &end, 10);
        if (end == at || (*end && *end != ','))
            return error_make("--cpus is \"%s\"; it is a list such as 1,2", list);
        json_array_append_new(cpus, json_integer(cpu));
        at = *end ? end + 1 : end;
    }
    return NULL;
}

static char *set_mbufs(json_t *root, const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end)
        return error_make("--mbufs is \"%s\"; it is a number", text);
    json_object_set_new(section(root, "memory", json_object()), "mbufs", json_integer(n));
    return NULL;
}

static char *apply(json_t *root, int option, const char *value) {
    switch (option) {
    case OPT_CONTROL:
        json_object_set_new(root, "control", json_string(value));
        break;
    case OPT_CONTROLLER:
        json_array_append_new(section(root, "controllers", json_array()), json_string(value));
        break;
    case OPT_CPUS:
        return set_cpus(root, value);
    case OPT_ID:
        json_object_set_new(root, "datapath_id", json_string(value));
        break;
    case OPT_HUGEPAGES:
        json_object_set_new(section(root, "memory", json_object()), "hugepages", json_true());
        break;
    case OPT_MBUFS:
        return set_mbufs(root, value);
    case OPT_METRICS:
        json_object_set_new(root, "metrics", json_string(value));
        break;
    case OPT_POLICY:
        json_object_set_new(section(root, "workers", json_object()), "policy", json_string(value));
        break;
    default:
        return error_make("unknown option; quake --help lists them");
    }
    return NULL;
}

/* The file named by --config, or an empty object. */
static char *load(int argc, char **argv, json_t **root) {
    char *error = NULL;
    *root = NULL;
    for (int option; (option = getopt_long(argc, argv, "c:hV", OPTIONS, NULL)) != -1;)
        if (option == 'c' && !*root && (error = config_load(optarg, root)))
            return error;
    *root = *root ? *root : json_object();
    optind = 1;
    return NULL;
}

static char *read_command_line(int argc, char **argv, json_t *root, bool *direct) {
    char *error = NULL;
    for (int option; !error && (option = getopt_long(argc, argv, "c:hV", OPTIONS, NULL)) != -1;) {
        if (option == 'h' || option == 'V') {
            fputs(option == 'h' ? HELP : "quake " QUAKE_VERSION "\n", stdout);
            exit(0);
        }
        if (option == OPT_DIRECT)
            *direct = true;
        else if (option != 'c')
            error = apply(root, option, optarg);
    }
    for (; optind < argc; optind++)
        json_array_append_new(section(root, "eal", json_array()), json_string(argv[optind]));
    return error;
}

int main(int argc, char **argv) {
    struct process *process = xzalloc(sizeof *process);
    json_t *root;
    bool direct = false;
    char *error = load(argc, argv, &root);
    error = error ? error : read_command_line(argc, argv, root, &direct);
    error = error ? error : config_parse(root, &process->config);
    if (error) {
        log_error("%s", error);
        free(error);
        return QUAKE_EXIT_USAGE;
    }
    worker_keep_priority();
    int status = direct ? worker(process, journal_create(), -1) : supervise(worker, process);
    config_free(&process->config);
    free(process);
    return status;
}
