/* See lpm.h. */
#include "lpm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <rte_byteorder.h>

#include "../base/buf.h"
#include "classifier.h"

#define LEVELS 3
#define ROOT_SIZE (1U << 16)
#define NODE_SIZE (1U << 8)
#define NODES_MAX 16384 /* 32 MiB of nodes; beyond, the tuples serve */
#define TUPLES_MIN 3    /* fewer are as fast by themselves */

static const unsigned level_end[LEVELS] = {16, 24, 32}; /* bits of the address that are spent below each level */

/* A leaf (a rule or nothing), or with the lowest bit set a node. */
typedef void *entry;

struct lpm {
    struct shape fixed; /* the mask but for the prefix */
    uint64_t value[FLOW_WORDS];
    bool source; /* the prefix is of the source address */
    unsigned n_nodes, size_nodes;
    entry **nodes; /* all, to be freed */
    entry *root;
};

static uint32_t half(const struct lpm *lpm, uint64_t word) {
    struct flow flow = {.word[FW_IPV4] = word};
    return rte_be_to_cpu_32(lpm->source ? flow.ipv4_src : flow.ipv4_dst);
}

static uint64_t shape_word(const struct shape *shape, unsigned word) {
    unsigned below = __builtin_popcount(shape->words & ((1U << word) - 1));
    return shape->words >> word & 1 ? shape->mask[below] : 0;
}

static uint64_t rule_word(const struct dp_flow *rule, unsigned word) {
    unsigned below = __builtin_popcount(rule->shape->words & ((1U << word) - 1));
    return rule->shape->words >> word & 1 ? rule->value[below] : 0;
}

static uint32_t mask_of(const struct lpm *lpm, const struct dp_flow *rule) {
    return half(lpm, shape_word(rule->shape, FW_IPV4));
}

static uint32_t prefix_of(const struct lpm *lpm, const struct dp_flow *rule) {
    return half(lpm, rule_word(rule, FW_IPV4));
}

static bool is_prefix(uint32_t mask) {
    return !(~mask & (~mask + 1));
}

/* ---- Does the table fit? ---- */

static bool is_miss(const struct tuple *tuple) {
    return !tuple->shape->n;
}

static bool same_but_prefix(const struct lpm *lpm, const struct shape *shape) {
    for (unsigned word = 0; word < FLOW_WORDS; word++) {
        if (word != FW_IPV4 && shape_word(shape, word) != shape_word(&lpm->fixed, word)) {
            return false;
        }
    }
    uint64_t mask = shape_word(shape, FW_IPV4);
    struct flow flow = {.word[FW_IPV4] = mask};
    uint32_t other = lpm->source ? flow.ipv4_dst : flow.ipv4_src;
    return !other && is_prefix(half(lpm, mask));
}

/* One priority for each length, rising with it. A step with a lower mask comes later in the list (falling tops). */
static bool are_routes(struct lpm *lpm, const struct search *search, unsigned n) {
    unsigned last_bits = UINT32_MAX, last_priority = UINT32_MAX;
    for (unsigned i = 0; i < n; i++) {
        const struct tuple *tuple = search->step[i].tuple;
        if (!same_but_prefix(lpm, tuple->shape) || tuple->n_priorities > 1 || tuple->shape->bits >= last_bits ||
            search->step[i].top >= last_priority) {
            return false;
        }
        last_bits = tuple->shape->bits;
        last_priority = search->step[i].top;
    }
    return true;
}

static bool same_fixed_value(const struct lpm *lpm, const struct dp_flow *rule) {
    for (unsigned word = 0; word < FLOW_WORDS; word++) {
        if (word != FW_IPV4 && rule_word(rule, word) != lpm->value[word]) {
            return false;
        }
    }
    return true;
}

/* ---- The trie ---- */

static bool is_node(entry e) {
    return (uintptr_t) e & 1;
}

static entry *node_of(entry e) {
    return (entry *) (void *) ((uint8_t *) e - 1);
}

static entry *add_node(struct lpm *lpm, entry inherited) {
    if (lpm->n_nodes == NODES_MAX) {
        return NULL;
    }
    if (lpm->n_nodes == lpm->size_nodes) {
        lpm->size_nodes = lpm->size_nodes ? lpm->size_nodes * 2 : 64;
        lpm->nodes = xrealloc(lpm->nodes, lpm->size_nodes * sizeof *lpm->nodes);
    }
    entry *node = xzalloc(NODE_SIZE * sizeof *node);
    for (unsigned i = 0; i < NODE_SIZE; i++) {
        node[i] = inherited;
    }
    lpm->nodes[lpm->n_nodes++] = node;
    return node;
}

/* A leaf within the range of a change: what `rule` or `from` means for it. */
struct paint {
    struct lpm *lpm;
    const struct dp_flow *from; /* NULL: any leaf of a prefix that is no longer than `length` */
    struct dp_flow *to;
    uint32_t prefix;
    unsigned length;
};

static bool gives_way(const struct paint *paint, entry leaf) {
    const struct dp_flow *rule = leaf;
    if (paint->from) {
        return rule == paint->from;
    }
    return !rule || (unsigned) __builtin_popcount(mask_of(paint->lpm, rule)) <= paint->length;
}

static void paint_all(const struct paint *paint, entry *at, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (is_node(at[i])) {
            paint_all(paint, node_of(at[i]), NODE_SIZE);
        } else if (gives_way(paint, at[i])) {
            rcu_set(&at[i], (entry) paint->to);
        }
    }
}

/* Paint the entries below `at`, whose first address bit is after `level`'s beginning; false: no room for a node. */
static bool paint_level(const struct paint *paint, entry *at, unsigned level) {
    assert(level < sizeof level_end / sizeof level_end[0]); /* the last level ends every prefix */
    unsigned end = level_end[level], bits = level ? 8 : 16;
    unsigned index = paint->prefix >> (32 - end) & ((1U << bits) - 1);
    if (paint->length <= end) {
        paint_all(paint, &at[index], 1U << (end - paint->length));
        return true;
    }
    if (!is_node(at[index])) {
        entry *node = add_node(paint->lpm, at[index]);
        if (!node) {
            return false;
        }
        rcu_set(&at[index], (entry) ((uint8_t *) node + 1));
    }
    return paint_level(paint, node_of(at[index]), level + 1);
}

bool lpm_insert(struct lpm *lpm, struct dp_flow *rule) {
    if (!rule->n) {
        return true; /* the table-miss rule is no route: the classifier asks its tuple */
    }
    struct paint paint = {lpm, NULL, rule, prefix_of(lpm, rule), __builtin_popcount(mask_of(lpm, rule))};
    return same_fixed_value(lpm, rule) && paint_level(&paint, lpm->root, 0);
}

/* The route of the longest prefix below `rule`'s that covers all of its addresses. */
static struct dp_flow *next_best(const struct search *search, const struct dp_flow *rule) {
    struct match match;
    rule_match(rule, &match);
    for (unsigned i = 0; i < search->n; i++) {
        const struct tuple *tuple = search->step[i].tuple;
        struct dp_flow *chain =
            !is_miss(tuple) && tuple->shape->bits <= rule->shape->bits ? tuple_chain(tuple, &match.value) : NULL;
        if (chain) {
            return chain;
        }
    }
    return NULL;
}

void lpm_remove(struct lpm *lpm, const struct search *search, const struct dp_flow *rule) {
    if (rule->n) {
        unsigned length = __builtin_popcount(mask_of(lpm, rule));
        struct paint paint = {lpm, rule, next_best(search, rule), prefix_of(lpm, rule), length};
        paint_level(&paint, lpm->root, 0);
    }
}

static bool insert_tuple(struct lpm *lpm, const struct tuple *tuple) {
    size_t at = 0;
    for (struct dp_flow *chain; (chain = tuple_next_chain(tuple, &at));) {
        if (!lpm_insert(lpm, chain)) {
            return false;
        }
    }
    return true;
}

static const struct dp_flow *any_route(const struct search *search, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        size_t at = 0;
        const struct dp_flow *rule = tuple_next_chain(search->step[i].tuple, &at);
        if (rule && shape_word(rule->shape, FW_IPV4)) {
            return rule;
        }
    }
    return NULL;
}

/* The fixed part and its value, from any rule; the prefix is of the half that its mask has bits in. */
static bool begin(struct lpm *lpm, const struct search *search, unsigned n) {
    const struct dp_flow *rule = n < TUPLES_MIN ? NULL : any_route(search, n);
    if (!rule) {
        return false;
    }
    struct flow mask = {.word[FW_IPV4] = shape_word(rule->shape, FW_IPV4)};
    lpm->fixed = *rule->shape;
    lpm->source = mask.ipv4_src != 0;
    for (unsigned word = 0; word < FLOW_WORDS; word++) {
        lpm->value[word] = rule_word(rule, word);
    }
    return are_routes(lpm, search, n);
}

struct lpm *lpm_create(const struct search *search) {
    unsigned n = search->n - (search->n && is_miss(search->step[search->n - 1].tuple));
    struct lpm first = {0};
    if (!begin(&first, search, n)) {
        return NULL;
    }
    struct lpm *lpm = xmalloc(sizeof *lpm);
    *lpm = first;
    lpm->root = xzalloc(ROOT_SIZE * sizeof *lpm->root);
    for (unsigned i = 0; i < n; i++) {
        if (!insert_tuple(lpm, search->step[i].tuple)) {
            lpm_destroy(lpm);
            return NULL;
        }
    }
    return lpm;
}

void lpm_destroy(struct lpm *lpm) {
    if (!lpm) {
        return;
    }
    for (unsigned i = 0; i < lpm->n_nodes; i++) {
        free(lpm->nodes[i]);
    }
    free(lpm->nodes);
    free(lpm->root);
    free(lpm);
}

/* ---- Workers ---- */

struct dp_flow *lpm_find(const struct lpm *lpm, const struct flow *flow) {
    uint64_t differs = 0;
    for (unsigned i = 0; i < lpm->fixed.n; i++) {
        unsigned word = lpm->fixed.word[i];
        differs |= word == FW_IPV4 ? 0 : (flow->word[word] & lpm->fixed.mask[i]) ^ lpm->value[word];
    }
    if (differs) {
        return LPM_MISS;
    }
    uint32_t address = rte_be_to_cpu_32(lpm->source ? flow->ipv4_src : flow->ipv4_dst);
    entry e = rcu_get(&lpm->root[address >> 16]);
    for (unsigned shift = 8; is_node(e); shift -= 8) {
        e = rcu_get(&node_of(e)[address >> shift & (NODE_SIZE - 1)]);
    }
    return e;
}
