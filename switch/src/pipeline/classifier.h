/* The rules of one flow table, in the form that suits them.
 *
 * Rules are kept in tuples (tuple.h), one for each mask; the tuples are searched by falling priority of their best
 * rule, and the search of a packet ends once no tuple left can hold a better one. What the tuples are like gives the
 * table its form: all-match     one tuple, and its mask is empty port-indexed  the only mask is that of the ingress
 * port, so a batch is looked up once exact         one tuple, of any mask tuple-space   several tuples A table-miss
 * rule beside them does not change the form. The list of tuples is one object, published as a whole; rules come and go
 * within tuples in place.
 *
 * Neighbours: flow_mod.c changes it; worker.c looks up. */
#ifndef QUAKE_PIPELINE_CLASSIFIER_H
#define QUAKE_PIPELINE_CLASSIFIER_H 1

#include "tuple.h"

enum classifier_form { FORM_EMPTY, FORM_ALL_MATCH, FORM_PORT, FORM_EXACT, FORM_ROUTES, FORM_TUPLES };
extern const char *const classifier_form_names[];

struct search {
    enum classifier_form form;
    struct lpm *lpm; /* FORM_ROUTES */
    uint32_t words;  /* the words of struct flow that a lookup may read */
    unsigned n;
    struct search_step {
        struct tuple *tuple;
        uint16_t top; /* no rule of this or of a later tuple has a higher priority */
    } step[];
};

struct classifier {
    struct dp *dp;
    struct search *search; /* NULL: no rule */
    uint32_t n_rules;      /* alive */
    bool untidy;           /* a tuple is empty, or its top too high */
};

void classifier_destroy(struct classifier *classifier); /* no worker is left; frees the rules too */
void classifier_insert(struct classifier *classifier, struct dp_flow *rule);
void classifier_remove(struct classifier *classifier, struct dp_flow *rule);
/* Drops tuples that have become empty and lowers tops: once for however many rules were removed. Until then lookups do
 * more than they need to, and find the same. */
void classifier_tidy(struct classifier *classifier);
void classifier_replace(struct classifier *classifier, struct dp_flow *old, struct dp_flow *rule);

/* Control thread: the rule alive of just this match and priority, or NULL. */
struct dp_flow *classifier_find(const struct classifier *classifier, const struct match *match, uint16_t priority);

/* Control thread: every rule alive that `match` covers (NULL: all). `each` may remove the rule that it is given, but
 * nothing else; it returns false to stop. */
bool classifier_each(const struct classifier *classifier, const struct match *match,
                     bool (*each)(void *aux, struct dp_flow *rule), void *aux);
/* Control thread: the same in steps, between which rules may come and go. A rule that is there all the time is met once.
 * A zeroed place is the beginning; false: this was the last step, or `each` said stop. */
struct classifier_place {
    bool begun;
    struct shape shape; /* a copy: tuples are met in the order of their shapes, which may go meanwhile */
    uint32_t at;        /* in its tuple; 0: done with it */
};
bool classifier_walk(const struct classifier *classifier, const struct match *match, struct classifier_place *place,
                     unsigned budget, bool (*each)(void *aux, struct dp_flow *rule), void *aux);
/* Control thread: whether a rule alive of `priority` may match a packet that `match` matches as well. */
bool classifier_overlaps(const struct classifier *classifier, const struct match *match, uint16_t priority);

/* Workers: the rule of highest priority for each flow, or NULL. n <= DP_BATCH. */
void classifier_lookup(const struct search *search, const struct flow *const *flows, unsigned n, uint64_t version,
                       struct dp_flow **found);

#endif
