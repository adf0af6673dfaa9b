/* quake-capacity: how fast rules go into a datapath, and what they weigh, without OpenFlow.
 *
 *   quake-capacity KIND FLOWS
 *
 * KIND as of quake-forward. Prints one JSON object: rules per second, resident memory of the process in MiB, rules in force. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/dp.h"
#include "rules.h"

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static double resident_mib(void) {
    char line[256];
    double kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        if (!strncmp(line, "VmRSS:", 6)) {
            kib = strtod(line + 6, NULL);
        }
    }
    if (status) {
        fclose(status);
    }
    return kib / 1024;
}

static void transmit(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    (void) aux;
    (void) slot;
    (void) packets;
    (void) n;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: quake-capacity KIND FLOWS; kinds: %s\n", rules_kinds());
        return EXIT_FAILURE;
    }
    unsigned flows = strtoul(argv[2], NULL, 10);
    struct dp *dp = dp_create(1, NULL);
    struct dp_worker *worker = dp_worker_create(dp, 0, NULL, transmit, NULL);
    dp_worker_offline(worker);
    double begin = now_s();
    if (!rules_load(dp, argv[1], flows)) {
        fprintf(stderr, "%s is no kind of rules; kinds: %s\n", argv[1], rules_kinds());
        return EXIT_FAILURE;
    }
    double took = now_s() - begin;
    struct dp_table_stats stats;
    dp_barrier(dp);
    dp_table_stats(dp, 0, &stats);
    printf("{\"kind\": \"%s\", \"flows\": %u, \"active\": %u, \"per_s\": %.0f, \"rss_mib\": %.1f}\n", argv[1], flows,
           stats.active, flows / took, resident_mib());
    dp_worker_destroy(worker);
    dp_destroy(dp);
    return 0;
}
