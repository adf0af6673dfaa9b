/* Matches on the wire: OXM TLVs (specification 1.3.5, section 7.2.3) to and from `struct match`, by the rows of
 * field.h. */
#ifndef QUAKE_OPENFLOW_OXM_H
#define QUAKE_OPENFLOW_OXM_H 1

#include "../base/buf.h"
#include "../packet/field.h"
#include "../pipeline/ofperr.h"

/* The header of a field's TLV. */
static inline uint32_t oxm_header(const struct field_info *info, bool mask) {
    return UINT32_C(0x8000) << 16 | (uint32_t) info->id << 9 | (uint32_t) mask << 8 | info->n_bytes * (mask ? 2u : 1u);
}

/* Decodes an ofp_match at `data`, of which `len` bytes are there. `*used` becomes its length with padding.
 * Errors: those of OFPET_BAD_MATCH. */
ofperr oxm_decode_match(const uint8_t *data, size_t len, struct match *match, size_t *used);

/* Appends an ofp_match with padding; fields in the order of their numbers, each after its prerequisites. */
void oxm_encode_match(struct buf *out, const struct match *match);

/* One TLV without mask, as in packet-ins and set-field; `value` has `n_bytes` of the field. */
void oxm_encode_field(struct buf *out, const struct field_info *info, const uint8_t *value);

/* Whether `value` may be sent for the field: no bit beyond its width. */
bool oxm_value_fits(const struct field_info *info, const uint8_t *value);

#endif
