/* What a rule does, interned: rules with equal instructions share one program.
 *
 * Most rules do one of a few simple things, and those are worked out here once, so that the worker need not
 * interpret them packet by packet: a *straight* program rewrites Ethernet addresses (or nothing), writes metadata, and
 * then goes to one table, or out of one port, or drops. Everything else is interpreted by execute.c.
 *
 * Properties: a program never changes; it is freed a grace period after its last rule let go of it. */
#ifndef QUAKE_PIPELINE_PROGRAM_H
#define QUAKE_PIPELINE_PROGRAM_H 1

#include "dp.h"
#include "rcu.h"

#define PROGRAM_HEAD 16 /* bytes of a frame that a straight program may rewrite; the first 12 are the addresses */

struct program {
    /* workers, straight path */
    bool straight;
    bool rewrites;      /* the head */
    uint8_t goto_table; /* GOTO_NONE: ends here */
    uint32_t out_port;  /* 0: none */
    uint64_t metadata, metadata_mask;
    uint8_t head_keep[PROGRAM_HEAD], head_set[PROGRAM_HEAD]; /* head = head & keep | set */
    /* workers, interpreted */
    struct instructions instructions; /* its arrays are behind this structure */
    /* control thread */
    struct program *next; /* in its bucket */
    uint32_t refs;        /* rules that may still be read */
    uint32_t flows;       /* rules alive */
    uint32_t hash;
};

struct programs {
    struct program **bucket;
    uint32_t mask, n;
    struct program *last;
};

void programs_init(struct programs *programs);
void programs_destroy(struct programs *programs);
struct program *program_get(struct programs *programs, const struct instructions *instructions); /* a reference more */
void program_put(struct programs *programs, struct rcu *rcu, struct program *program);

bool program_outputs_to(const struct program *program, uint32_t port); /* by any action of its lists */
bool program_uses_group(const struct program *program, uint32_t group_id);
/* Whether a live rule's program satisfies `uses`; and how many rules do. */
uint32_t programs_count(const struct programs *programs, bool (*uses)(const struct program *, uint32_t), uint32_t id);
bool program_uses_meter(const struct program *program, uint32_t meter_id);

#endif
