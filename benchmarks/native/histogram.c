/* A histogram of latencies: 64 buckets for each power of two. */
#include "load.h"

#include <string.h>

#define STEPS 64
#define STEP_BITS 6

static uint64_t buckets[64 * STEPS];
static uint64_t added;

static unsigned bucket_of(uint64_t ns) {
    if (ns < STEPS) return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    unsigned step = (unsigned)(ns >> (power - STEP_BITS)) & (STEPS - 1);
    return (power - STEP_BITS + 1) * STEPS + step;
}

static uint64_t value_of(unsigned bucket) {
    if (bucket < STEPS) return bucket;
    unsigned power = bucket / STEPS + STEP_BITS - 1;
    return (STEPS + bucket % STEPS) * (1ULL << (power - STEP_BITS));
}

void histogram_add(uint64_t ns) {
    buckets[bucket_of(ns)]++;
    added++;
}

uint64_t histogram_quantile(double share) {
    uint64_t wanted = (uint64_t)(share * (double)added), seen = 0;
    for (unsigned i = 0; i < sizeof buckets / sizeof *buckets; i++) {
        seen += buckets[i];
        if (seen > wanted || (seen == added && added > 0)) return value_of(i);
    }
    return 0;
}

uint64_t histogram_count(void) { return added; }

void histogram_clear(void) {
    memset(buckets, 0, sizeof buckets);
    added = 0;
}
