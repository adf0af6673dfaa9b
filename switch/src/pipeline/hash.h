/* Hashing of key words: CRC32c where the processor has it, else a multiplication; private to pipeline/. */
#ifndef QUAKE_PIPELINE_HASH_H
#define QUAKE_PIPELINE_HASH_H 1

#include <stdint.h>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
static inline uint32_t hash_word(uint32_t hash, uint64_t word) {
    return (uint32_t) _mm_crc32_u64(hash, word);
}
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static inline uint32_t hash_word(uint32_t hash, uint64_t word) {
    return __crc32cd(hash, word);
}
#else
static inline uint32_t hash_word(uint32_t hash, uint64_t word) {
    uint64_t mixed = (word ^ hash) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t) (mixed >> 32) ^ (uint32_t) mixed;
}
#endif

/* CRCs are linear: of keys that hold one number in several words, the low bits may take few values. The product's high
 * half depends on every bit. */
static inline uint32_t hash_finish(uint32_t hash) {
    return (uint32_t) (hash * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

#endif
