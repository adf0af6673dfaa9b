#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/error.h"

#define DEFAULT_CONTROL "/run/quake/control.sock"
#define DEFAULT_MBUFS 16384
#define MBUF_BYTES 2560 /* with headers and the pool's own share */
#define BASE_MIB 96     /* for everything else that lies in DPDK's memory */

char *config_load(const char *path, json_t **root) {
    json_error_t wrong;
    *root = json_load_file(path, JSON_REJECT_DUPLICATES, &wrong);
    if (!*root)
        return error_make("%s, line %d: %s", path, wrong.line, wrong.text);
    if (json_is_object(*root))
        return NULL;
    json_decref(*root);
    return error_make("%s must hold one JSON object", path);
}

static char *parse_datapath_id(const char *text, uint64_t *id) {
    char *end;
    errno = 0;
    *id = strtoull(text, &end, 16);
    if (*end || end == text || errno || strlen(text) > 16)
        return error_make("datapath_id is \"%s\"; it is up to 16 hexadecimal digits", text);
    return NULL;
}

char *config_policy(const json_t *workers, struct workers_policy *policy) {
    json_error_t wrong;
    const char *name = policy->spin ? "spin" : "energy";
    int automatic = policy->automatic;
    json_int_t peak = (json_int_t) policy->peak_rate;
    if (json_unpack_ex((json_t *) workers, &wrong, 0, "{s?s, s?b, s?I}", "policy", &name, "auto", &automatic,
                       "peak_rate", &peak))
        return error_make("workers: %s", wrong.text);
    if (strcmp(name, "energy") != 0 && strcmp(name, "spin") != 0)
        return error_make("workers.policy is \"%s\"; it may be energy or spin", name);
    if (peak < 0)
        return error_make("workers.peak_rate is negative; it is packets per second, or 0 for what the port says");
    *policy = (struct workers_policy){!strcmp(name, "spin"), automatic, (uint64_t) peak};
    return NULL;
}

static char *parse_cpus(const json_t *cpus, struct config *config) {
    size_t n = json_array_size(cpus);
    if (!json_is_array(cpus) || !n || n > DP_MAX_WORKERS)
        return error_make("workers.cpus must list 1 to %d CPUs", DP_MAX_WORKERS);
    for (config->n_cpus = 0; config->n_cpus < n; config->n_cpus++) {
        const json_t *cpu = json_array_get(cpus, config->n_cpus);
        if (!json_is_integer(cpu) || json_integer_value(cpu) < -1 || json_integer_value(cpu) >= CPU_SETSIZE)
            return error_make("workers.cpus must list CPU numbers (-1: any)");
        config->cpus[config->n_cpus] = (int) json_integer_value(cpu);
    }
    return NULL;
}

static char *parse_workers(const json_t *workers, struct config *config) {
    json_error_t wrong;
    const json_t *cpus = NULL, *ignored = NULL;
    config->cpus[0] = -1;
    config->n_cpus = 1;
    if (!workers)
        return NULL;
    if (json_unpack_ex((json_t *) workers, &wrong, JSON_STRICT, "{s?o, s?o, s?o, s?o}", "cpus", &cpus, "policy",
                       &ignored, "auto", &ignored, "peak_rate", &ignored))
        return error_make("workers: %s", wrong.text);
    char *error = cpus ? parse_cpus(cpus, config) : NULL;
    return error ? error : config_policy(workers, &config->policy);
}

static char *parse_memory(const json_t *memory, struct config *config) {
    json_error_t wrong;
    int hugepages = 0, mib = 0, mbufs = DEFAULT_MBUFS;
    if (memory && json_unpack_ex((json_t *) memory, &wrong, JSON_STRICT, "{s?b, s?i, s?i}", "hugepages", &hugepages,
                                 "mib", &mib, "mbufs", &mbufs))
        return error_make("memory: %s", wrong.text);
    if (mbufs < 1024 || mbufs > 16 << 20 || mib < 0)
        return error_make("memory.mbufs is %d; it may be 1024 to %d, and mib must not be negative", mbufs, 16 << 20);
    config->hugepages = hugepages;
    config->mbufs = (unsigned) mbufs;
    config->mib = mib ? (unsigned) mib : BASE_MIB + (unsigned) ((uint64_t) mbufs * MBUF_BYTES >> 20);
    return NULL;
}

static char *parse_tls(const json_t *tls, struct config *config) {
    json_error_t wrong;
    if (tls && json_unpack_ex((json_t *) tls, &wrong, JSON_STRICT, "{s:s, s:s, s:s}", "private_key", &config->tls_key,
                              "certificate", &config->tls_certificate, "ca", &config->tls_ca))
        return error_make("tls: %s", wrong.text);
    return NULL;
}

static char *check_list(const json_t *list, const char *name, bool of_strings) {
    size_t i;
    json_t *item;
    if (list && !json_is_array(list))
        return error_make("%s must be a list", name);
    json_array_foreach(list, i, item) if (of_strings ? !json_is_string(item) : !json_is_object(item)) return error_make(
        "%s must be a list of %s", name, of_strings ? "strings" : "objects");
    return NULL;
}

char *config_parse(json_t *root, struct config *config) {
    json_error_t wrong;
    const char *id = "0000000000000001";
    const json_t *tls = NULL, *workers = NULL, *memory = NULL;
    int pci = 0;
    *config = (struct config){.root = root, .control = DEFAULT_CONTROL};
    if (json_unpack_ex(root, &wrong, JSON_STRICT, "{s?s, s?s, s?s, s?o, s?o, s?o, s?o, s?b, s?o, s?o}", "datapath_id",
                       &id, "control", &config->control, "metrics", &config->metrics, "controllers",
                       &config->controllers, "tls", &tls, "workers", &workers, "memory", &memory, "pci", &pci, "eal",
                       &config->eal, "ports", &config->ports))
        return error_make("%s; switch/README.md lists the keys", wrong.text);
    config->pci = pci;
    char *error = parse_datapath_id(id, &config->datapath_id);
    error = error ? error : parse_workers(workers, config);
    error = error ? error : parse_memory(memory, config);
    error = error ? error : parse_tls(tls, config);
    error = error ? error : check_list(config->controllers, "controllers", true);
    error = error ? error : check_list(config->eal, "eal", true);
    return error ? error : check_list(config->ports, "ports", false);
}

void config_free(struct config *config) {
    json_decref(config->root);
}
