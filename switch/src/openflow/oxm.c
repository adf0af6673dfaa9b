#include "oxm.h"

#include <string.h>

#include "wire.h"

#define BAD_MATCH(code) OFPERR(OFPET_BAD_MATCH, OFPBMC_##code)

struct oxm {
    const struct field_info *info;
    bool has_mask;
    const uint8_t *value, *mask;
};

static size_t pad8(size_t n) {
    return (n + 7) / 8 * 8;
}

static bool all_bytes(const uint8_t *bytes, size_t n, uint8_t value) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* The bits that the field's width leaves unused in its first byte or bytes. */
bool oxm_value_fits(const struct field_info *info, const uint8_t *value) {
    unsigned spare = info->n_bytes * 8u - info->n_bits;
    for (unsigned i = 0; spare; i++) {
        unsigned bits = spare < 8 ? spare : 8;
        if (value[i] >> (8 - bits))
            return false;
        spare -= bits;
    }
    return true;
}

static uint32_t value32(const uint8_t *value) {
    be32 raw;
    memcpy(&raw, value, sizeof raw);
    return be32toh(raw);
}

/* Values that fit but name nothing: port numbers, and a VLAN id without OFPVID_PRESENT. */
static bool value_is_sound(const struct oxm *oxm) {
    if (oxm->info->id == FIELD_IN_PORT || oxm->info->id == FIELD_IN_PHY_PORT) {
        uint32_t port = value32(oxm->value);
        return (port && port <= OFPP_MAX) || port == OFPP_CONTROLLER || port == OFPP_LOCAL;
    }
    if (oxm->info->id == FIELD_VLAN_VID && !oxm->has_mask) {
        unsigned vid = (unsigned) oxm->value[0] << 8 | oxm->value[1];
        return !vid || vid & OFPVID_PRESENT;
    }
    return true;
}

/* Section 7.2.3.5: a 1-bit of the value where the mask has a 0-bit. */
static bool value_outside_mask(const struct oxm *oxm) {
    for (unsigned i = 0; i < oxm->info->n_bytes; i++)
        if (oxm->value[i] & ~oxm->mask[i])
            return true;
    return false;
}

static ofperr oxm_parse(const uint8_t *data, size_t len, struct oxm *oxm, size_t *used) {
    if (len < 4)
        return BAD_MATCH(BAD_LEN);
    unsigned class = (unsigned) data[0] << 8 | data[1];
    size_t payload = data[3];
    if (len < 4 + payload)
        return BAD_MATCH(BAD_LEN);
    *used = 4 + payload;
    oxm->info = class == OFPXMC_OPENFLOW_BASIC ? field_by_id(data[2] >> 1) : NULL;
    if (!oxm->info)
        return BAD_MATCH(BAD_FIELD);
    oxm->has_mask = data[2] & 1;
    if (oxm->has_mask && !oxm->info->maskable)
        return BAD_MATCH(BAD_MASK);
    if (payload != (size_t) oxm->info->n_bytes * (oxm->has_mask ? 2 : 1))
        return BAD_MATCH(BAD_LEN);
    oxm->value = data + 4;
    oxm->mask = oxm->has_mask ? oxm->value + oxm->info->n_bytes : NULL;
    return 0;
}

static ofperr oxm_check(const struct oxm *oxm, const struct match *match) {
    if (!oxm_value_fits(oxm->info, oxm->value) || !value_is_sound(oxm))
        return BAD_MATCH(BAD_VALUE);
    if (oxm->has_mask && value_outside_mask(oxm))
        return BAD_MATCH(BAD_WILDCARDS);
    if (oxm->has_mask && !oxm_value_fits(oxm->info, oxm->mask))
        return BAD_MATCH(BAD_MASK);
    if (!field_prerequisites_met(oxm->info->id, match))
        return BAD_MATCH(BAD_PREREQ);
    return 0;
}

static void full_mask(const struct field_info *info, uint8_t mask[FIELD_MAX_BYTES]) {
    memset(mask, 0xff, info->n_bytes);
    unsigned spare = info->n_bytes * 8u - info->n_bits;
    for (unsigned i = 0; spare; i++) {
        unsigned bits = spare < 8 ? spare : 8;
        mask[i] = (uint8_t) (0xff >> bits);
        spare -= bits;
    }
}

/* A mask of zeroes is the same as no such field (section 7.2.3.5). */
static void oxm_store(const struct oxm *oxm, struct match *match) {
    uint8_t mask[FIELD_MAX_BYTES];
    if (oxm->has_mask && all_bytes(oxm->mask, oxm->info->n_bytes, 0))
        return;
    if (oxm->has_mask)
        memcpy(mask, oxm->mask, oxm->info->n_bytes);
    else
        full_mask(oxm->info, mask);
    field_set(oxm->info->id, &match->mask, mask);
    field_set(oxm->info->id, &match->value, oxm->value);
}

static ofperr oxm_decode_fields(const uint8_t *data, size_t len, struct match *match) {
    uint64_t seen = 0;
    while (len) {
        struct oxm oxm;
        size_t used = 0;
        ofperr error = oxm_parse(data, len, &oxm, &used);
        if (error)
            return error;
        if (seen >> oxm.info->id & 1)
            return BAD_MATCH(DUP_FIELD);
        error = oxm_check(&oxm, match);
        if (error)
            return error;
        seen |= UINT64_C(1) << oxm.info->id;
        oxm_store(&oxm, match);
        data += used;
        len -= used;
    }
    return 0;
}

ofperr oxm_decode_match(const uint8_t *data, size_t len, struct match *match, size_t *used) {
    const struct ofp_match *header = (const struct ofp_match *) data;
    memset(match, 0, sizeof *match);
    if (len < sizeof *header)
        return BAD_MATCH(BAD_LEN);
    if (be16toh(header->type) != OFPMT_OXM)
        return BAD_MATCH(BAD_TYPE);
    size_t match_len = be16toh(header->length);
    if (match_len < sizeof *header || pad8(match_len) > len)
        return BAD_MATCH(BAD_LEN);
    *used = pad8(match_len);
    return oxm_decode_fields(data + sizeof *header, match_len - sizeof *header, match);
}

void oxm_encode_field(struct buf *out, const struct field_info *info, const uint8_t *value) {
    be32 header = htobe32(oxm_header(info, false));
    buf_put(out, &header, sizeof header);
    buf_put(out, value, info->n_bytes);
}

static void oxm_encode_matched(struct buf *out, const struct field_info *info, const struct match *match) {
    uint8_t value[FIELD_MAX_BYTES], mask[FIELD_MAX_BYTES], full[FIELD_MAX_BYTES];
    field_get(info->id, &match->mask, mask);
    if (all_bytes(mask, info->n_bytes, 0))
        return;
    field_get(info->id, &match->value, value);
    full_mask(info, full);
    if (!memcmp(mask, full, info->n_bytes)) {
        oxm_encode_field(out, info, value);
        return;
    }
    be32 header = htobe32(oxm_header(info, true));
    buf_put(out, &header, sizeof header);
    buf_put(out, value, info->n_bytes);
    buf_put(out, mask, info->n_bytes);
}

void oxm_encode_match(struct buf *out, const struct match *match) {
    size_t start = buf_len(out);
    buf_put_zeros(out, sizeof(struct ofp_match));
    for (unsigned id = 0; id < FIELD_COUNT; id++)
        if (field_prerequisites_met(id, match))
            oxm_encode_matched(out, field_by_id(id), match);
    size_t len = buf_len(out) - start;
    struct ofp_match *header = (struct ofp_match *) (buf_data(out) + start);
    header->type = htobe16(OFPMT_OXM);
    header->length = htobe16((uint16_t) len);
    buf_put_zeros(out, pad8(len) - len);
}
