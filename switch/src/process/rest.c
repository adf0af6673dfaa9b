#include "rest.h"

#include <rte_common.h>

#define STEP_NS 1000
#define WORTH_NS 10000 /* a shorter nap saves nothing */
#define WINDOW_NS 50000
#define RATE_MEMORY 8     /* windows */
#define FIRST_LATE_NS 50000
#define LATER_NS 1000 /* one nap in 1000 is later than `late_ns` */
#define SOONER_NS 1
#define FIRST_PATIENCE_NS 100000
#define LEAST_PATIENCE_NS 20000
#define MOST_PATIENCE_NS 10000000
#define PAID_NS 60000 /* blocking for as long is what a nap lasts, or more */
#define VAIN_NS 50000

void rest_init(struct rest *rest, uint64_t now_ns) {
    *rest = (struct rest){.late_ns = FIRST_LATE_NS, .patience_ns = FIRST_PATIENCE_NS, .since_ns = now_ns};
}

static void count(struct rest *rest, uint64_t packets, uint64_t now_ns) {
    uint64_t passed = now_ns - rest->since_ns;
    rest->packets += packets;
    if (passed < WINDOW_NS)
        return;
    rest->rate = RTE_MAX((double) rest->packets / (double) passed, rest->rate - rest->rate / RATE_MEMORY);
    rest->late_ns -= RTE_MIN(rest->late_ns, (uint64_t) SOONER_NS);
    rest->packets = 0;
    rest->since_ns = now_ns;
}

/* How long three quarters of a ring last at the rate of late, if the nap is as late as they get. */
static uint64_t safe_ns(const struct rest *rest, uint64_t ring) {
    double fills_ns = (double) ring * 3 / 4 / RTE_MAX(rest->rate, 1e-9);
    return fills_ns > (double) rest->late_ns ? (uint64_t) fills_ns - rest->late_ns : 0;
}

uint64_t rest_nap(struct rest *rest, const struct rest_limits *limits, uint64_t packets, uint64_t now_ns) {
    count(rest, packets, now_ns);
    if (packets > limits->ring / 8 * 7)
        rest->nap_ns = 0;
    uint64_t safe = safe_ns(rest, limits->ring);
    if (safe < WORTH_NS)
        return 0;
    return rest->nap_ns = RTE_MIN(RTE_MIN(rest->nap_ns + STEP_NS, limits->nap_ns), safe);
}

void rest_napped(struct rest *rest, uint64_t lasted_ns) {
    if (lasted_ns > rest->nap_ns + rest->late_ns)
        rest->late_ns += LATER_NS;
}

void rest_blocked(struct rest *rest, uint64_t lasted_ns) {
    if (lasted_ns > PAID_NS)
        rest->patience_ns /= 2;
    else if (lasted_ns < VAIN_NS)
        rest->patience_ns = RTE_MIN(RTE_MAX(rest->patience_ns * 2, LEAST_PATIENCE_NS), MOST_PATIENCE_NS);
}
