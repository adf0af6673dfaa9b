/* Shapes, and matches to and from rules. See rule.h. */
#include "rule.h"

#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "hash.h"

static uint32_t mask_hash(const struct flow *mask) {
    uint32_t hash = 0;
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        hash = hash_word(hash, mask->word[i]);
    }
    return hash;
}

static bool shape_is(const struct shape *shape, const struct flow *mask) {
    unsigned n = 0;
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        uint64_t word = shape->words >> i & 1 ? shape->mask[n++] : 0;
        if (word != mask->word[i]) {
            return false;
        }
    }
    return true;
}

static struct shape *find(struct shapes *shapes, const struct flow *mask, uint32_t hash) {
    struct shape *shape = shapes->bucket[hash % SHAPE_BUCKETS];
    while (shape && (shape->hash != hash || !shape_is(shape, mask))) {
        shape = shape->next;
    }
    return shape;
}

struct shape *shape_find(struct shapes *shapes, const struct flow *mask) {
    if (!shapes->last || !shape_is(shapes->last, mask)) {
        shapes->last = find(shapes, mask, mask_hash(mask));
    }
    return shapes->last;
}

static struct shape *make(struct dp *dp, struct shapes *shapes, const struct flow *mask) {
    struct shape *shape = xzalloc(sizeof *shape);
    shape->dp = dp;
    shape->hash = mask_hash(mask);
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        if (mask->word[i]) {
            shape->words |= 1U << i;
            shape->word[shape->n] = i;
            shape->bits += __builtin_popcountll(mask->word[i]);
            shape->mask[shape->n++] = mask->word[i];
        }
    }
    shape->next = shapes->bucket[shape->hash % SHAPE_BUCKETS];
    shapes->bucket[shape->hash % SHAPE_BUCKETS] = shape;
    return shape;
}

struct shape *shape_get(struct dp *dp, struct shapes *shapes, const struct flow *mask) {
    struct shape *shape = shape_find(shapes, mask);
    if (!shape) {
        shape = shapes->last = make(dp, shapes, mask);
    }
    shape->refs++;
    return shape;
}

void shape_put(struct shapes *shapes, struct shape *shape) {
    if (--shape->refs) {
        return;
    }
    struct shape **link = &shapes->bucket[shape->hash % SHAPE_BUCKETS];
    while (*link != shape) {
        link = &(*link)->next;
    }
    *link = shape->next;
    if (shapes->last == shape) {
        shapes->last = NULL;
    }
    free(shape); /* tuples and rules hold references, and are freed after a grace period themselves */
}

void rule_set_values(struct dp_flow *rule, const struct match *match) {
    rule->n = rule->shape->n;
    for (unsigned i = 0; i < rule->n; i++) {
        rule->value[i] = match->value.word[rule->shape->word[i]] & rule->shape->mask[i];
    }
}

void rule_match(const struct dp_flow *rule, struct match *match) {
    memset(match, 0, sizeof *match);
    for (unsigned i = 0; i < rule->n; i++) {
        match->mask.word[rule->shape->word[i]] = rule->shape->mask[i];
        match->value.word[rule->shape->word[i]] = rule->value[i];
    }
}
