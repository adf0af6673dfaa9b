/* Buckets, chains, and the batched lookup. See tuple.h. */
#include "tuple.h"

#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_prefetch.h>

#include "../base/buf.h"
#include "hash.h"
#include "slab.h"

#define FIRST_BUCKETS 4
/* As many stay in the first-level cache, with their rules: fetching ahead would only cost. */
#define CACHED_BUCKETS 64
/* On average, at most: one key in a hundred overflows a bucket of six. */
#define KEYS_PER_BUCKET 3

/* ---- Tables ---- */

static size_t buckets_size(uint32_t n) {
    return sizeof(struct buckets) + n * sizeof(struct bucket);
}

static struct buckets *buckets_create(uint32_t n) {
    size_t size = buckets_size(n);
    struct buckets *buckets = size >= HUGE_BLOCK ? huge_alloc(size) : aligned_alloc(64, size);
    if (!buckets) {
        abort();
    }
    memset(buckets, 0, size < HUGE_BLOCK ? size : 0);
    buckets->mask = n - 1;
    return buckets;
}

static void buckets_destroy(void *aux, void *object) {
    (void) aux;
    struct buckets *buckets = object;
    size_t size = buckets_size(buckets->mask + 1);
    if (size >= HUGE_BLOCK) {
        huge_free(buckets, size);
    } else {
        free(buckets);
    }
}

static inline uint16_t signature_of(uint32_t hash) {
    return (uint16_t) (hash >> 16) | 1; /* 0: an empty slot */
}

struct slot {
    struct bucket *bucket;
    unsigned i;
};

/* A count that was ever full is not exact any more, and stays. */
static void count_overflow(struct bucket *bucket, int by) {
    if (bucket->overflow != UINT16_MAX) {
        relaxed_set(&bucket->overflow, (uint16_t) (bucket->overflow + by));
    }
}

static struct slot free_slot(struct buckets *buckets, uint32_t hash) {
    for (uint32_t at = hash;; at++) {
        struct bucket *bucket = &buckets->bucket[at & buckets->mask];
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (!bucket->head[i]) {
                return (struct slot){bucket, i};
            }
        }
        count_overflow(bucket, 1);
    }
}

/* A reader that sees the pointer sees the rule. One that does not yet see it, or the marks on the way, or the
 * signature, looked before the rule was there. */
static void link_key(struct buckets *buckets, uint32_t hash, struct dp_flow *head) {
    struct slot slot = free_slot(buckets, hash);
    rcu_set(&slot.bucket->head[slot.i], head);
    rcu_set(&slot.bucket->signature[slot.i], signature_of(hash));
}

static void unlink_key(struct buckets *buckets, struct slot slot, uint32_t hash) {
    relaxed_set(&slot.bucket->signature[slot.i], 0);
    rcu_set(&slot.bucket->head[slot.i], NULL);
    for (uint32_t at = hash; &buckets->bucket[at & buckets->mask] != slot.bucket; at++) {
        struct bucket *passed = &buckets->bucket[at & buckets->mask];
        count_overflow(passed, -1);
    }
}

/* ---- Control thread ---- */

struct tuple *tuple_create(struct rcu *rcu, struct shape *shape, bool exact) {
    struct tuple *tuple = xzalloc(sizeof *tuple);
    tuple->shape = shape;
    tuple->exact = exact;
    tuple->rcu = rcu;
    tuple->buckets = buckets_create(FIRST_BUCKETS);
    return tuple;
}

void tuple_destroy(struct tuple *tuple) {
    buckets_destroy(NULL, tuple->buckets);
    free(tuple->priorities);
    free(tuple);
}

static uint32_t flow_hash(const struct shape *shape, const struct flow *flow) {
    uint32_t hash = 0;
    for (unsigned i = 0; i < shape->n; i++) {
        hash = hash_word(hash, flow->word[shape->word[i]] & shape->mask[i]);
    }
    return hash_finish(hash);
}

static uint64_t rule_word(const struct dp_flow *rule, unsigned word) {
    unsigned below = __builtin_popcount(rule->shape->words & ((1U << word) - 1));
    return rule->shape->words >> word & 1 ? rule->value[below] : 0;
}

static uint32_t rule_hash(const struct shape *shape, const struct dp_flow *rule) {
    uint32_t hash = 0;
    for (unsigned i = 0; i < shape->n; i++) {
        hash = hash_word(hash, rule_word(rule, shape->word[i]) & shape->mask[i]);
    }
    return hash_finish(hash);
}

static bool same_key(const struct shape *shape, const struct dp_flow *a, const struct dp_flow *b) {
    for (unsigned i = 0; i < shape->n; i++) {
        if ((rule_word(a, shape->word[i]) ^ rule_word(b, shape->word[i])) & shape->mask[i]) {
            return false;
        }
    }
    return true;
}

static bool has_key(const struct shape *shape, const struct dp_flow *rule, const struct flow *flow) {
    for (unsigned i = 0; i < shape->n; i++) {
        if ((rule_word(rule, shape->word[i]) ^ flow->word[shape->word[i]]) & shape->mask[i]) {
            return false;
        }
    }
    return true;
}

/* The slot of the chain that `is` accepts; bucket NULL if there is none. */
static struct slot find_slot(const struct tuple *tuple, uint32_t hash, const struct dp_flow *rule,
                             const struct flow *flow) {
    struct buckets *buckets = tuple->buckets;
    for (uint32_t at = hash; at - hash <= buckets->mask; at++) {
        struct bucket *bucket = &buckets->bucket[at & buckets->mask];
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            struct dp_flow *head = bucket->head[i];
            if (head && bucket->signature[i] == signature_of(hash) &&
                (rule ? same_key(tuple->shape, head, rule) : has_key(tuple->shape, head, flow))) {
                return (struct slot){bucket, i};
            }
        }
        if (!bucket->overflow) {
            break;
        }
    }
    return (struct slot){NULL, 0};
}

static void grow(struct tuple *tuple) {
    struct buckets *old = tuple->buckets;
    struct buckets *new = buckets_create((old->mask + 1) * 2);
    for (uint32_t i = 0; i <= old->mask; i++) {
        for (unsigned k = 0; k < BUCKET_SLOTS; k++) {
            struct dp_flow *head = old->bucket[i].head[k];
            if (head) {
                link_key(new, head->hash, head);
            }
        }
    }
    rcu_set(&tuple->buckets, new);
    rcu_defer(tuple->rcu, buckets_destroy, NULL, old);
}

static void count_priority(struct tuple *tuple, uint16_t priority, int by) {
    uint32_t low = 0, high = tuple->n_priorities;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (tuple->priorities[middle].priority > priority) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    struct priority_count *at = &tuple->priorities[low];
    bool present = low < tuple->n_priorities && at->priority == priority;
    if (!present) {
        if (tuple->n_priorities == tuple->size_priorities) {
            tuple->size_priorities = tuple->size_priorities ? tuple->size_priorities * 2 : 4;
            tuple->priorities = xrealloc(tuple->priorities, tuple->size_priorities * sizeof *tuple->priorities);
            at = &tuple->priorities[low];
        }
        memmove(at + 1, at, (tuple->n_priorities++ - low) * sizeof *at);
        *at = (struct priority_count){priority, 0};
    }
    at->n += by;
    if (!at->n) {
        memmove(at, at + 1, (--tuple->n_priorities - low) * sizeof *at);
    }
}

static struct dp_flow **place_in_chain(struct dp_flow **link, const struct dp_flow *rule) {
    while (*link && (*link)->priority > rule->priority) {
        link = &(*link)->next;
    }
    return link;
}

void tuple_insert(struct tuple *tuple, struct dp_flow *rule) {
    rule->hash = rule_hash(tuple->shape, rule);
    struct slot slot = find_slot(tuple, rule->hash, rule, NULL);
    if (slot.bucket) {
        struct dp_flow **link = place_in_chain(&slot.bucket->head[slot.i], rule);
        rule->next = *link;
        rcu_set(link, rule);
    } else {
        rule->next = NULL;
        if (++tuple->n_keys > KEYS_PER_BUCKET * (tuple->buckets->mask + 1)) {
            grow(tuple);
        }
        link_key(tuple->buckets, rule->hash, rule);
    }
    tuple->n_rules++;
    count_priority(tuple, rule->priority, 1);
}

static struct dp_flow **link_to(struct slot slot, const struct dp_flow *rule) {
    struct dp_flow **link = &slot.bucket->head[slot.i];
    while (*link != rule) {
        link = &(*link)->next;
    }
    return link;
}

void tuple_remove(struct tuple *tuple, struct dp_flow *rule) {
    struct slot slot = find_slot(tuple, rule->hash, rule, NULL);
    struct dp_flow **link = link_to(slot, rule);
    if (link == &slot.bucket->head[slot.i] && !rule->next) {
        unlink_key(tuple->buckets, slot, rule->hash);
        tuple->n_keys--;
    } else {
        rcu_set(link, rule->next);
    }
    tuple->n_rules--;
    count_priority(tuple, rule->priority, -1);
}

void tuple_replace(struct tuple *tuple, struct dp_flow *old, struct dp_flow *rule) {
    rule->hash = old->hash;
    rule->next = old->next;
    rcu_set(link_to(find_slot(tuple, old->hash, old, NULL), old), rule);
}

struct dp_flow *tuple_chain(const struct tuple *tuple, const struct flow *values) {
    struct slot slot = find_slot(tuple, flow_hash(tuple->shape, values), NULL, values);
    return slot.bucket ? slot.bucket->head[slot.i] : NULL;
}

struct dp_flow *tuple_next_chain(const struct tuple *tuple, size_t *at) {
    size_t end = ((size_t) tuple->buckets->mask + 1) * BUCKET_SLOTS;
    while (*at < end) {
        struct dp_flow *head = tuple->buckets->bucket[*at / BUCKET_SLOTS].head[*at % BUCKET_SLOTS];
        ++*at;
        if (head) {
            return head;
        }
    }
    return NULL;
}

static uint32_t reverse_bits(uint32_t word) {
    word = (word >> 1 & 0x55555555) | (word & 0x55555555) << 1;
    word = (word >> 2 & 0x33333333) | (word & 0x33333333) << 2;
    word = (word >> 4 & 0x0f0f0f0f) | (word & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(word);
}

/* `*at` is the number of the bucket with its bits in reverse order: the lowest one decides first. */
bool tuple_walk(const struct tuple *tuple, uint32_t *at, bool (*chain)(void *aux, struct dp_flow *head), void *aux) {
    const struct buckets *buckets = tuple->buckets;
    uint32_t home = reverse_bits(*at) & buckets->mask;
    *at = (*at | (reverse_bits(buckets->mask) ^ UINT32_MAX)) + 1;
    for (uint32_t i = home; i - home <= buckets->mask; i++) {
        const struct bucket *bucket = &buckets->bucket[i & buckets->mask];
        for (unsigned k = 0; k < BUCKET_SLOTS; k++) {
            struct dp_flow *head = bucket->head[k];
            if (head && (head->hash & buckets->mask) == home && !chain(aux, head)) {
                return false;
            }
        }
        if (!bucket->overflow) {
            break;
        }
    }
    return true;
}

/* ---- Workers ---- */

/* The slots of `bucket` that bear `signature`, as bits. */
static inline unsigned candidates(const struct bucket *bucket, uint16_t signature) {
#if defined(__SSE2__)
    __m128i all = _mm_load_si128((const __m128i *) (const void *) bucket);
    unsigned bytes = _mm_movemask_epi8(_mm_packs_epi16(_mm_cmpeq_epi16(all, _mm_set1_epi16((short) signature)), all));
    return bytes & ((1U << BUCKET_SLOTS) - 1);
#else
    unsigned bits = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        bits |= (unsigned) (relaxed_get(&bucket->signature[i]) == signature) << i;
    }
    return bits;
#endif
}

static inline bool values_equal(const struct dp_flow *rule, const uint64_t *key, unsigned words) {
    uint64_t differs = 0;
    for (unsigned i = 0; i < words; i++) {
        differs |= rule->value[i] ^ key[i];
    }
    return !differs;
}

/* The first of the chain that the flow and the version select. */
static struct dp_flow *walk_chain(struct dp_flow *rule, const struct flow *flow, uint64_t version) {
    while (rule && !(rule_visible(rule, version) && rule_matches(rule, flow))) {
        rule = rcu_get(&rule->next);
    }
    return rule;
}

/* Chains of a merged tuple and of an exact one are walked alike; only the head of an exact one is checked inline. Keys
 * may have passed every bucket of a small table, so the marks alone do not end the search. */
static __rte_noinline struct dp_flow *search_on(const struct buckets *buckets, uint32_t hash, const struct flow *flow,
                                                uint64_t version) {
    uint32_t at = hash;
    const struct bucket *bucket;
    do {
        bucket = &buckets->bucket[at++ & buckets->mask];
        for (unsigned bits = candidates(bucket, signature_of(hash)); bits; bits &= bits - 1) {
            struct dp_flow *rule = walk_chain(rcu_get(&bucket->head[__builtin_ctz(bits)]), flow, version);
            if (rule) {
                return rule;
            }
        }
    } while (relaxed_get(&bucket->overflow) && at - hash <= buckets->mask);
    return NULL;
}

/* Three sweeps over the batch, so that the cache misses of its packets overlap: hash and fetch buckets; pick candidates
 * and fetch rules; check rules. They are fetched into the second-level cache, for which more fetches may be under way at
 * once. `words` is a constant in each copy of this function. Where many of the packets will not
 * be found the candidates are sorted out without branches, as a hit cannot be foretold. */
static __rte_always_inline void lookup(const struct tuple *tuple, const struct flow *const *flows, unsigned n,
                                       uint64_t version, struct dp_flow **found, const bool sparse, const unsigned words) {
    const struct buckets *buckets = rcu_get(&tuple->buckets);
    const struct bucket *bucket = buckets->bucket;
    const uint32_t bucket_mask = buckets->mask;
    const bool exact = tuple->exact;
    const bool fetch = bucket_mask >= CACHED_BUCKETS;
    uint64_t mask[words ? words : 1];
    uint8_t word[words ? words : 1];
    for (unsigned k = 0; k < words; k++) {
        mask[k] = tuple->shape->mask[k];
        word[k] = tuple->shape->word[k];
    }
    uint64_t key[DP_BATCH][words ? words : 1];
    uint32_t hash[DP_BATCH];
    struct dp_flow *candidate[DP_BATCH];
    uint8_t probable[DP_BATCH + 1] = {0};
    for (unsigned i = 0; i < n; i++) {
        hash[i] = 0;
        for (unsigned k = 0; k < words; k++) {
            key[i][k] = flows[i]->word[word[k]] & mask[k];
            hash[i] = hash_word(hash[i], key[i][k]);
        }
        hash[i] = hash_finish(hash[i]);
        if (fetch) {
            rte_prefetch1(&bucket[hash[i] & bucket_mask]);
        }
    }
    unsigned n_likely = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct bucket *home = &bucket[hash[i] & bucket_mask];
        unsigned bits = candidates(home, signature_of(hash[i]));
        candidate[i] = rcu_get(&home->head[__builtin_ctz(bits | 1U << (BUCKET_SLOTS - 1))]);
        if (fetch) {
            rte_prefetch1(candidate[i] ? (const void *) &candidate[i]->program : home);
        }
        if (sparse) {
            found[i] = NULL;
            probable[n_likely] = i;
            n_likely += (bits | relaxed_get(&home->overflow)) != 0;
        }
    }
    for (unsigned k = 0; k < (sparse ? n_likely : n); k++) {
        unsigned i = sparse ? probable[k] : k;
        struct dp_flow *rule = candidate[i];
        if (likely(rule && exact && values_equal(rule, key[i], words) && rule_visible(rule, version))) {
            found[i] = rule;
        } else {
            found[i] = search_on(buckets, hash[i], flows[i], version);
        }
    }
}

void tuple_lookup(const struct tuple *tuple, const struct flow *const *flows, unsigned n, uint64_t version,
                  struct dp_flow **found, bool sparse) {
    switch (tuple->shape->n) {
    case 0:
        lookup(tuple, flows, n, version, found, sparse, 0);
        break;
    case 1:
        lookup(tuple, flows, n, version, found, sparse, 1);
        break;
    case 2:
        lookup(tuple, flows, n, version, found, sparse, 2);
        break;
    case 3:
        lookup(tuple, flows, n, version, found, sparse, 3);
        break;
    case 4:
        lookup(tuple, flows, n, version, found, sparse, 4);
        break;
    case 5:
        lookup(tuple, flows, n, version, found, sparse, 5);
        break;
    default:
        lookup(tuple, flows, n, version, found, sparse, tuple->shape->n);
        break;
    }
}
