/* OpenFlow errors as one number: 0 is success, anything else carries type and code (section 7.4.4). */
#ifndef QUAKE_PIPELINE_OFPERR_H
#define QUAKE_PIPELINE_OFPERR_H 1

#include <stdint.h>

typedef uint32_t ofperr;

#define OFPERR(type, code) (UINT32_C(1) << 31 | (uint32_t) (type) << 16 | (uint32_t) (code))
static inline uint16_t ofperr_type(ofperr error) {
    return error >> 16 & 0x7fff;
}
static inline uint16_t ofperr_code(ofperr error) {
    return error & 0xffff;
}

#endif
