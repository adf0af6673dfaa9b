/* Interning instructions and finding the simple ones. See program.h. */
#include "program.h"

#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "hash.h"

#define FIRST_BUCKETS 256

static struct program **new_buckets(size_t n) {
    return xzalloc(n * sizeof(void *));
}

void programs_init(struct programs *programs) {
    *programs = (struct programs){.bucket = new_buckets(FIRST_BUCKETS), .mask = FIRST_BUCKETS - 1};
}

void programs_destroy(struct programs *programs) {
    free(programs->bucket);
}

static uint32_t hash_bytes(uint32_t hash, const void *data, size_t size) {
    const uint8_t *bytes = data;
    for (; size >= sizeof(uint64_t); bytes += sizeof(uint64_t), size -= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        hash = hash_word(hash, word);
    }
    uint64_t rest = 0;
    memcpy(&rest, bytes, size);
    return hash_word(hash, rest);
}

static uint32_t scalar_hash(const struct instructions *i) {
    uint64_t flags = (uint64_t) i->has_apply | i->has_clear << 1 | i->has_write << 2 | i->has_metadata << 3 |
                     i->has_goto << 4 | i->goto_table << 5;
    uint32_t hash = hash_word(i->meter_id, flags | (uint64_t) i->n_apply << 16 | (uint64_t) i->n_write << 32);
    return hash_word(hash_word(hash, i->metadata), i->metadata_mask);
}

/* Only the bytes that an action of its type uses count: the rest of the union may hold anything. */
static size_t action_length(const struct action *action) {
    switch (action->type) {
    case ACTION_SET_FIELD: {
        const struct field_info *field = field_by_id(action->field);
        return offsetof(struct action, value) + (field ? field->n_bytes : FIELD_MAX_BYTES);
    }
    case ACTION_ARP_ND_REPLY:
        return offsetof(struct action, value) + OFP_ETH_ALEN;
    case ACTION_OUTPUT:
    case ACTION_GROUP:
    case ACTION_SET_QUEUE:
        return offsetof(struct action, value) + sizeof action->port;
    case ACTION_SET_MPLS_TTL:
    case ACTION_SET_NW_TTL:
        return offsetof(struct action, value) + 1;
    default:
        return offsetof(struct action, value) + sizeof action->eth_type;
    }
}

/* `action` with what its type does not use set to zero, so that equal actions are equal bytes. */
static struct action normal(const struct action *action) {
    struct action clean;
    memset(&clean, 0, sizeof clean);
    memcpy(&clean, action, action_length(action));
    if (action->type != ACTION_SET_FIELD) {
        clean.field = 0;
    }
    if (action->type != ACTION_OUTPUT) {
        clean.max_len = 0;
    }
    return clean;
}

static uint32_t actions_hash(uint32_t hash, const struct action *actions, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        struct action clean = normal(&actions[i]);
        hash = hash_bytes(hash, &clean, sizeof clean);
    }
    return hash;
}

static bool bytes_equal(const void *a, const void *b, size_t size) {
    return memcmp(a, b, size) == 0;
}

static bool actions_equal(const struct action *stored, const struct action *given, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        struct action clean = normal(&given[i]);
        if (!bytes_equal(&stored[i], &clean, sizeof clean)) {
            return false;
        }
    }
    return true;
}

static bool equal(const struct instructions *stored, const struct instructions *given) {
    return stored->meter_id == given->meter_id && stored->has_apply == given->has_apply &&
           stored->has_clear == given->has_clear && stored->has_write == given->has_write &&
           stored->has_metadata == given->has_metadata && stored->has_goto == given->has_goto &&
           stored->goto_table == given->goto_table && stored->n_apply == given->n_apply &&
           stored->n_write == given->n_write && stored->metadata == given->metadata &&
           stored->metadata_mask == given->metadata_mask &&
           actions_equal(stored->apply, given->apply, given->n_apply) &&
           actions_equal(stored->write, given->write, given->n_write);
}

static void head_rewrite(struct program *program, const struct action *action) {
    unsigned at = action->field == FIELD_ETH_DST ? 0 : OFP_ETH_ALEN;
    memset(program->head_keep + at, 0, OFP_ETH_ALEN);
    memcpy(program->head_set + at, action->value, OFP_ETH_ALEN);
    program->rewrites = true;
}

static bool is_head_rewrite(const struct action *action) {
    return action->type == ACTION_SET_FIELD && (action->field == FIELD_ETH_DST || action->field == FIELD_ETH_SRC);
}

static bool is_port_output(const struct action *action) {
    return action->type == ACTION_OUTPUT && action->port && action->port <= OFPP_MAX;
}

static void find_straight(struct program *program) {
    const struct instructions *i = &program->instructions;
    memset(program->head_keep, 0xff, PROGRAM_HEAD);
    const struct action *rest = i->apply, *end = i->apply + i->n_apply;
    while (rest < end && is_head_rewrite(rest)) {
        head_rewrite(program, rest++);
    }
    if (i->n_write) { /* the action set of a packet that ends here is this list, if it was empty before */
        if (rest != end || i->n_write > 1 || i->has_goto) {
            return;
        }
        rest = i->write;
        end = rest + 1;
    }
    if (rest < end && (rest + 1 != end || !is_port_output(rest) || i->has_goto)) {
        return;
    }
    program->out_port = rest < end ? rest->port : 0;
    program->straight = !i->meter_id;
}

static struct program *make(const struct instructions *given, uint32_t hash) {
    size_t n = (size_t) given->n_apply + given->n_write;
    struct program *program = xzalloc(sizeof *program + n * sizeof(struct action));
    struct action *actions = (struct action *) (program + 1);
    for (unsigned i = 0; i < n; i++) {
        actions[i] = normal(i < given->n_apply ? &given->apply[i] : &given->write[i - given->n_apply]);
    }
    program->instructions = *given;
    program->instructions.apply = actions;
    program->instructions.write = actions + given->n_apply;
    program->goto_table = given->has_goto ? given->goto_table : GOTO_NONE;
    program->metadata_mask = given->has_metadata ? given->metadata_mask : 0;
    program->metadata = given->metadata & program->metadata_mask;
    program->hash = hash;
    find_straight(program);
    return program;
}

static void insert(struct programs *programs, struct program *program) {
    struct program **bucket = &programs->bucket[program->hash & programs->mask];
    program->next = *bucket;
    *bucket = program;
}

static void grow(struct programs *programs) {
    struct program **old = programs->bucket;
    uint32_t n_old = programs->mask + 1;
    programs->mask = n_old * 2 - 1;
    programs->bucket = new_buckets((size_t) n_old * 2);
    for (uint32_t i = 0; i < n_old; i++) {
        for (struct program *program = old[i], *next; program; program = next) {
            next = program->next;
            insert(programs, program);
        }
    }
    free(old);
}

struct program *program_get(struct programs *programs, const struct instructions *instructions) {
    if (!programs->last || !equal(&programs->last->instructions, instructions)) {
        uint32_t hash = actions_hash(scalar_hash(instructions), instructions->apply, instructions->n_apply);
        hash = actions_hash(hash, instructions->write, instructions->n_write);
        struct program *program = programs->bucket[hash & programs->mask];
        while (program && (program->hash != hash || !equal(&program->instructions, instructions))) {
            program = program->next;
        }
        if (!program) {
            program = make(instructions, hash);
            insert(programs, program);
            if (++programs->n > programs->mask) {
                grow(programs);
            }
        }
        programs->last = program;
    }
    programs->last->refs++;
    return programs->last;
}

void program_put(struct programs *programs, struct rcu *rcu, struct program *program) {
    if (--program->refs) {
        return;
    }
    struct program **link = &programs->bucket[program->hash & programs->mask];
    while (*link != program) {
        link = &(*link)->next;
    }
    *link = program->next;
    programs->n--;
    if (programs->last == program) {
        programs->last = NULL;
    }
    rcu_free(rcu, program);
}

static bool any_action(const struct program *program, uint8_t type, uint32_t argument) {
    const struct instructions *i = &program->instructions;
    const struct action *all = i->apply; /* the write list follows */
    for (unsigned k = 0; k < (unsigned) i->n_apply + i->n_write; k++) {
        if (all[k].type == type && all[k].port == argument) {
            return true;
        }
    }
    return false;
}

bool program_outputs_to(const struct program *program, uint32_t port) {
    return any_action(program, ACTION_OUTPUT, port);
}

bool program_uses_group(const struct program *program, uint32_t group_id) {
    return any_action(program, ACTION_GROUP, group_id);
}

bool program_uses_meter(const struct program *program, uint32_t meter_id) {
    return program->instructions.meter_id == meter_id;
}

uint32_t programs_count(const struct programs *programs, bool (*uses)(const struct program *, uint32_t), uint32_t id) {
    uint32_t n = 0;
    for (uint32_t i = 0; i <= programs->mask; i++) {
        for (const struct program *program = programs->bucket[i]; program; program = program->next) {
            n += program->flows && uses(program, id) ? program->flows : 0;
        }
    }
    return n;
}
