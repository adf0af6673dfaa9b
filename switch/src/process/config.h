/* What a switch is told at its start: a JSON file, and options of the command line that override it.
 *
 * Every key is optional:
 *   datapath_id      "0000000000000001": 16 hexadecimal digits
 *   control          path of the control socket (default /run/quake/control.sock)
 *   metrics          HOST:PORT for Prometheus and readiness; absent: none
 *   controllers      list of targets, as of.h has them
 *   tls              {private_key, certificate, ca}: PEM files
 *   workers          {cpus: [1, 2], policy: "energy" or "spin", auto: false, peak_rate: packets/s}
 *   memory           {hugepages: false, mib: 0 (what mbufs need), mbufs: 16384}
 *   pci              true: let DPDK look for PCI devices
 *   eal              list of further arguments to DPDK's environment
 *   ports            list of ports: {name, type, number, ... as the type has it}
 * An unknown key is an error. Neighbours: main.c reads it; quake.c does what it says. */
#ifndef QUAKE_PROCESS_CONFIG_H
#define QUAKE_PROCESS_CONFIG_H 1

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "workers.h"

struct config {
    json_t *root; /* strings and lists below are its */
    uint64_t datapath_id;
    const char *control, *metrics;                  /* metrics may be NULL */
    const char *tls_key, *tls_certificate, *tls_ca; /* all or none NULL */
    const json_t *controllers, *ports, *eal;        /* lists */
    struct workers_policy policy;
    int cpus[DP_MAX_WORKERS];
    unsigned n_cpus;
    bool hugepages, pci;
    unsigned mib, mbufs;
};

/* NULL or what is wrong. `root` is the file's content with the command line's merged in; takes the reference. */
char *config_parse(json_t *root, struct config *config);
/* Reads a file: NULL or what is wrong, with its line. */
char *config_load(const char *path, json_t **root);
void config_free(struct config *config);

/* "energy" or "spin" and the rest of a workers object, as in the file and on the control socket. */
char *config_policy(const json_t *workers, struct workers_policy *policy);

#endif
