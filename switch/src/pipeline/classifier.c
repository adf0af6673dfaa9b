/* Tuples in order of priority. See classifier.h. */
#include "classifier.h"

#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>

#include "../base/buf.h"
#include "datapath.h"
#include "lpm.h"

#define TUPLES_PER_RULE 16 /* that are passed over in the time that showing a rule takes */

const char *const classifier_form_names[] = {
    [FORM_EMPTY] = "empty", [FORM_ALL_MATCH] = "all-match",   [FORM_PORT] = "port-indexed",
    [FORM_EXACT] = "exact", [FORM_ROUTES] = "longest-prefix", [FORM_TUPLES] = "tuple-space",
};

/* ---- The list of tuples ---- */

/* Of equal priority the wider mask first: it is likelier to match, and a match ends the search. */
static int by_falling_top(const void *a, const void *b) {
    const struct search_step *x = a, *y = b;
    int by_top = (y->top > x->top) - (y->top < x->top);
    uint32_t x_bits = x->tuple->shape->bits, y_bits = y->tuple->shape->bits;
    return by_top ? by_top : (x_bits > y_bits) - (x_bits < y_bits);
}

static enum classifier_form form_of(const struct search *search) {
    const struct tuple *first = search->step[0].tuple;
    unsigned real = search->n - (search->n > 1 && !search->step[search->n - 1].tuple->shape->n);
    if (real > 1) {
        return search->lpm ? FORM_ROUTES : FORM_TUPLES;
    }
    if (!first->shape->n) {
        return FORM_ALL_MATCH;
    }
    return first->shape->words == 1U << FW_PORTS ? FORM_PORT : FORM_EXACT;
}

static struct search *search_create(unsigned n) {
    struct search *search = xzalloc(sizeof *search + n * sizeof search->step[0]);
    search->n = n;
    return search;
}

static void free_search(void *aux, void *object) {
    (void) aux;
    struct search *search = object;
    lpm_destroy(search->lpm);
    free(search);
}

/* Whether the tuples are routes is found out anew each time; with `plain` they are known not to be. */
static void publish(struct classifier *c, struct search *search, bool plain) {
    struct search *old = c->search;
    if (search->n) {
        qsort(search->step, search->n, sizeof search->step[0], by_falling_top);
        for (unsigned i = 0; i < search->n; i++) {
            search->words |= search->step[i].tuple->shape->words;
        }
        search->lpm = plain ? NULL : lpm_create(search);
        search->form = form_of(search);
    } else {
        free(search);
        search = NULL;
    }
    rcu_set(&c->search, search);
    if (old) {
        rcu_defer(&c->dp->rcu, free_search, NULL, old);
    }
}

static struct search *copy(const struct search *from, unsigned room) {
    unsigned n = from ? from->n : 0;
    struct search *search = search_create(n + room);
    memcpy(search->step, from ? from->step : search->step, n * sizeof search->step[0]);
    search->n = n;
    return search;
}

static struct search_step *step_of(const struct search *search, const struct shape *shape) {
    for (unsigned i = 0; search && i < search->n; i++) {
        if (search->step[i].tuple->shape == shape) {
            return &((struct search *) search)->step[i];
        }
    }
    return NULL;
}

/* Tops are raised before a better rule is linked and lowered some time after the best is gone (classifier_tidy()): never
 * too low for a reader. */
static void raise_top(struct classifier *c, const struct search_step *step, uint16_t top) {
    if (step->top >= top) {
        return;
    }
    struct search *search = copy(c->search, 0);
    search->step[step - c->search->step].top = top;
    publish(c, search, false);
}

static struct tuple *add_tuple(struct classifier *c, struct shape *shape, uint16_t top) {
    shape->refs++;
    struct tuple *tuple = tuple_create(&c->dp->rcu, shape, true);
    struct search *search = copy(c->search, 1);
    search->step[search->n++] = (struct search_step){tuple, top};
    publish(c, search, false);
    return tuple;
}

static void free_tuple(void *aux, void *object) {
    struct dp *dp = aux;
    struct tuple *tuple = object;
    shape_put(&dp->shapes, tuple->shape);
    tuple_destroy(tuple);
}

void classifier_tidy(struct classifier *c) {
    if (!c->untidy) {
        return;
    }
    c->untidy = false;
    struct search *search = search_create(c->search->n);
    search->n = 0;
    for (unsigned i = 0; i < c->search->n; i++) {
        struct tuple *tuple = c->search->step[i].tuple;
        if (tuple->n_rules) {
            search->step[search->n++] = (struct search_step){tuple, tuple_top(tuple)};
        } else {
            rcu_defer(&c->dp->rcu, free_tuple, c->dp, tuple);
        }
    }
    publish(c, search, false);
}

/* ---- Rules ---- */

/* Take `rule` into the trie, or give the trie up. */
static void keep_routes(struct classifier *c, const struct tuple *tuple, struct dp_flow *rule) {
    if (c->search->lpm && (tuple->n_priorities > 1 || !lpm_insert(c->search->lpm, rule))) {
        publish(c, copy(c->search, 0), true);
    }
}

void classifier_insert(struct classifier *c, struct dp_flow *rule) {
    struct search_step *step = step_of(c->search, rule->shape);
    if (step && !step->tuple->n_rules) { /* left untidy, so its top says nothing */
        classifier_tidy(c);
        step = NULL;
    }
    struct tuple *tuple = step ? step->tuple : add_tuple(c, rule->shape, rule->priority);
    if (step) {
        raise_top(c, step, rule->priority);
    }
    tuple_insert(tuple, rule);
    keep_routes(c, tuple, rule);
}

void classifier_remove(struct classifier *c, struct dp_flow *rule) {
    struct search_step *step = step_of(c->search, rule->shape);
    tuple_remove(step->tuple, rule);
    if (c->search->lpm) {
        lpm_remove(c->search->lpm, c->search, rule);
    }
    if (!step->tuple->n_rules || step->top > tuple_top(step->tuple)) {
        c->untidy = c->dp->untidy = true;
    }
}

void classifier_replace(struct classifier *c, struct dp_flow *old, struct dp_flow *rule) {
    struct tuple *tuple = step_of(c->search, old->shape)->tuple;
    tuple_replace(tuple, old, rule);
    keep_routes(c, tuple, rule);
}

struct dp_flow *classifier_find(const struct classifier *c, const struct match *match, uint16_t priority) {
    struct shape *shape = shape_find(&c->dp->shapes, &match->mask);
    struct search_step *step = shape ? step_of(c->search, shape) : NULL;
    struct dp_flow *rule = step ? tuple_chain(step->tuple, &match->value) : NULL;
    while (rule && !(rule->priority == priority && rule_alive(rule))) {
        rule = rule->next;
    }
    return rule;
}

struct each {
    const struct match *match;
    bool (*call)(void *aux, struct dp_flow *rule);
    void *aux;
};

static bool each_of_chain(struct dp_flow *rule, const struct each *each) {
    for (struct dp_flow *next; rule; rule = next) {
        next = rule->next;
        struct match own;
        if (!rule_alive(rule)) {
            continue;
        }
        if (each->match) {
            rule_match(rule, &own);
        }
        if ((!each->match || match_covers(each->match, &own)) && !each->call(each->aux, rule)) {
            return false;
        }
    }
    return true;
}

static bool mask_within(const struct match *match, const struct shape *shape) {
    uint32_t words = 0;
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        words |= (uint32_t) (match->mask.word[i] != 0) << i;
    }
    return !(words & ~shape->words);
}

/* Whether all that `match` (NULL: anything) covers in the tuple is the chain of its values. */
static bool covers_one_chain(const struct tuple *tuple, const struct match *match) {
    return match && tuple->exact && tuple->shape == shape_find(&tuple->shape->dp->shapes, &match->mask);
}

static bool each_of_tuple(const struct tuple *tuple, const struct each *each) {
    if (covers_one_chain(tuple, each->match)) {
        return each_of_chain(tuple_chain(tuple, &each->match->value), each);
    }
    size_t at = 0;
    for (struct dp_flow *head; (head = tuple_next_chain(tuple, &at));) {
        if (!each_of_chain(head, each)) {
            return false;
        }
    }
    return true;
}

bool classifier_each(const struct classifier *c, const struct match *match,
                     bool (*call)(void *aux, struct dp_flow *rule), void *aux) {
    struct each each = {match, call, aux};
    const struct search *search = c->search;
    for (unsigned i = 0; search && i < search->n; i++) {
        const struct tuple *tuple = search->step[i].tuple;
        if ((!match || mask_within(match, tuple->shape)) && !each_of_tuple(tuple, &each)) {
            return false;
        }
    }
    return true;
}

static int compare_shapes(const struct shape *a, const struct shape *b) {
    if (a->hash != b->hash || a->words != b->words) {
        return a->hash < b->hash || (a->hash == b->hash && a->words < b->words) ? -1 : 1;
    }
    return memcmp(a->mask, b->mask, a->n * sizeof a->mask[0]);
}

/* The tuple to go on with: the one that was left half-way, or the first behind it. */
static const struct tuple *tuple_at(const struct search *search, struct classifier_place *place) {
    const struct tuple *first = NULL;
    for (unsigned i = 0; search && i < search->n; i++) {
        const struct tuple *tuple = search->step[i].tuple;
        int behind = place->begun ? compare_shapes(tuple->shape, &place->shape) : 1;
        if ((behind > 0 || (!behind && place->at)) && (!first || compare_shapes(tuple->shape, first->shape) < 0)) {
            first = tuple;
        }
    }
    if (first && (!place->begun || compare_shapes(first->shape, &place->shape) != 0)) {
        *place = (struct classifier_place){true, *first->shape, 0};
    }
    return first;
}

struct walk {
    struct each each;
    unsigned budget;
};

static bool walk_chain(void *aux, struct dp_flow *head) {
    struct walk *walk = aux;
    walk->budget -= walk->budget > 0;
    return each_of_chain(head, &walk->each);
}

static bool walk_tuple(const struct tuple *tuple, uint32_t *at, struct walk *walk) {
    const struct match *match = walk->each.match;
    if (match && !mask_within(match, tuple->shape)) {
        *at = 0;
        return true;
    }
    if (covers_one_chain(tuple, match)) {
        *at = 0;
        return each_of_chain(tuple_chain(tuple, &match->value), &walk->each);
    }
    do {
        walk->budget -= walk->budget > 0;
        if (!tuple_walk(tuple, at, walk_chain, walk)) {
            return false;
        }
    } while (*at && walk->budget);
    return true;
}

bool classifier_walk(const struct classifier *c, const struct match *match, struct classifier_place *place,
                     unsigned budget, bool (*call)(void *aux, struct dp_flow *rule), void *aux) {
    struct walk walk = {{match, call, aux}, budget};
    const unsigned looking = 1 + (c->search ? c->search->n : 0) / TUPLES_PER_RULE; /* what finding a tuple costs */
    do {
        const struct tuple *tuple = tuple_at(c->search, place);
        if (!tuple || !walk_tuple(tuple, &place->at, &walk)) {
            return false;
        }
        walk.budget -= walk.budget < looking ? walk.budget : looking;
    } while (walk.budget);
    return true;
}

struct overlap {
    const struct match *match;
    uint16_t priority;
};

static bool no_overlap(void *aux, struct dp_flow *rule) {
    const struct overlap *with = aux;
    struct match own;
    rule_match(rule, &own);
    return rule->priority != with->priority || !match_overlaps(&own, with->match);
}

bool classifier_overlaps(const struct classifier *c, const struct match *match, uint16_t priority) {
    struct overlap with = {match, priority};
    return !classifier_each(c, NULL, no_overlap, &with);
}

void classifier_destroy(struct classifier *c) {
    for (unsigned i = 0; c->search && i < c->search->n; i++) {
        size_t at = 0;
        struct tuple *tuple = c->search->step[i].tuple;
        for (struct dp_flow *head; (head = tuple_next_chain(tuple, &at));) {
            for (struct dp_flow *next; head; head = next) {
                next = head->next;
                rule_destroy(c->dp, head);
            }
        }
        free_tuple(c->dp, tuple);
    }
    if (c->search) {
        free_search(NULL, c->search);
    }
}

/* ---- Workers ---- */

/* The packets for which a better rule may still be found. */
struct open {
    unsigned n;
    const struct flow *flow[DP_BATCH + 1];
    uint8_t index[DP_BATCH + 1];
};

/* Keep those for which a tuple of top priority `top` could be better than what was found; tops fall, so none comes
 * back. */
static void narrow(struct open *open, struct dp_flow *const *found, uint16_t top) {
    unsigned n = 0;
    for (unsigned i = 0; i < open->n; i++) {
        const struct dp_flow *best = found[open->index[i]];
        open->flow[n] = open->flow[i];
        open->index[n] = open->index[i];
        n += !best || best->priority < top;
    }
    open->n = n;
}

static void take_better(const struct open *open, struct dp_flow *const *here, struct dp_flow **found) {
    for (unsigned i = 0; i < open->n; i++) {
        struct dp_flow **best = &found[open->index[i]];
        if (here[i] && (!*best || here[i]->priority > (*best)->priority)) {
            *best = here[i];
        }
    }
}

static void lookup_further(const struct search *search, const struct flow *const *flows, unsigned n, uint64_t version,
                           struct dp_flow **found) {
    struct open open = {.n = n};
    for (unsigned i = 0; i < n; i++) {
        open.flow[i] = flows[i];
        open.index[i] = i;
    }
    for (unsigned k = 1; k < search->n; k++) {
        struct dp_flow *here[DP_BATCH];
        narrow(&open, found, search->step[k].top);
        if (!open.n) {
            return;
        }
        tuple_lookup(search->step[k].tuple, open.flow, open.n, version, here, true);
        take_better(&open, here, found);
    }
}

static void lookup_tuples(const struct search *search, const struct flow *const *flows, unsigned n, uint64_t version,
                          struct dp_flow **found) {
    tuple_lookup(search->step[0].tuple, flows, n, version, found, search->form == FORM_TUPLES);
    if (search->n > 1) {
        lookup_further(search, flows, n, version, found);
    }
}

/* No route covers it: only the table-miss rule, which is the last tuple if there is one, can match. */
static struct dp_flow *lookup_miss(const struct search *search, const struct flow *flow, uint64_t version) {
    struct dp_flow *found = NULL;
    const struct tuple *last = search->step[search->n - 1].tuple;
    if (!last->shape->n) {
        tuple_lookup(last, &flow, 1, version, &found, false);
    }
    return found;
}

static void lookup_routes(const struct search *search, const struct flow *const *flows, unsigned n, uint64_t version,
                          struct dp_flow **found) {
    for (unsigned i = 0; i < n; i++) {
        found[i] = lpm_find(search->lpm, flows[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        if (unlikely(!found[i])) {
            found[i] = lookup_miss(search, flows[i], version);
        } else if (unlikely(!rule_visible(found[i], version))) {
            lookup_tuples(search, &flows[i], 1, version, &found[i]);
        }
    }
}

void classifier_lookup(const struct search *search, const struct flow *const *flows, unsigned n, uint64_t version,
                       struct dp_flow **found) {
    if (search->lpm) {
        lookup_routes(search, flows, n, version, found);
    } else {
        lookup_tuples(search, flows, n, version, found);
    }
}
