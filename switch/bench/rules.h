/* The rule sets of the benchmarks, straight into a datapath; the same as bench/switch/traffic.py writes for OpenFlow.
 *
 * Port 1 is the source, port 2 the sink; flow f is Ethernet 02:00:10:f, IPv4 10.f -> 20.f, UDP 1024 + f mod 60,000 ->
 * 4790. */
#ifndef QUAKE_BENCH_RULES_H
#define QUAKE_BENCH_RULES_H 1

#include <stdbool.h>

struct dp;

const char *rules_kinds(void); /* the names, for people */
/* Load `kind` for `flows` flows; false if there is no such kind. */
bool rules_load(struct dp *dp, const char *kind, unsigned flows);

#endif
