/* Meters (section 5.7): bands of a rate each, of which the highest that is exceeded applies to a packet.
 *
 * A band is a virtual scheduling algorithm (ITU-T I.371, the generic cell rate algorithm): one number, the time at
 * which its bucket would be empty again, moved on by each conforming packet with a compare-and-swap. So the bucket is
 * one for all workers without a lock.
 *
 * Neighbours: execute.c runs packets through. */
#ifndef QUAKE_PIPELINE_METER_H
#define QUAKE_PIPELINE_METER_H 1

#include "datapath.h"

struct band_runtime {
    uint64_t empty_at;     /* in ticks; shared by the workers */
    uint64_t burst;        /* ticks */
    double ticks_per_unit; /* unit: a bit, or a packet */
    uint32_t counter;
};

struct meter {
    struct versioned versioned; /* first */
    uint16_t flags;
    unsigned n_bands;
    struct meter_band *bands;
    struct band_runtime *runtime;
    uint32_t counter;
    uint64_t created_ms;
};

#define METER_TICKS_PER_NS 16 /* 64 bits of ticks are 36 years */
#define METER_PASS (-1)

/* Workers: the index of the band that applies to a packet of `bytes` at `now`, or METER_PASS. */
int meter_run(struct meter *meter, uint32_t bytes, uint64_t now_ns);

#endif
