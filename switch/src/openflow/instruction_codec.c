/* Instructions: the second half of action_codec.h. */
#include <string.h>

#include "../pipeline/dp.h"
#include "action_codec.h"
#include "experimenter.h"
#include "wire.h"

#define BAD_INSTRUCTION(code) OFPERR(OFPET_BAD_INSTRUCTION, OFPBIC_##code)

struct instruction_reader {
    uint8_t table_id;
    const struct match *match;
    struct action_pool *pool;
    struct instructions *to;
};

static ofperr decode_goto(const struct instruction_reader *reader, const struct ofp_instruction *wire) {
    if (wire->table_id <= reader->table_id || wire->table_id >= DP_TABLES)
        return BAD_INSTRUCTION(BAD_TABLE_ID);
    reader->to->has_goto = true;
    reader->to->goto_table = wire->table_id;
    return 0;
}

static ofperr decode_metadata(const struct instruction_reader *reader, const struct ofp_instruction *wire) {
    const struct ofp_instruction_write_metadata *metadata = (const struct ofp_instruction_write_metadata *) wire;
    reader->to->has_metadata = true;
    reader->to->metadata = be64toh(metadata->metadata);
    reader->to->metadata_mask = be64toh(metadata->metadata_mask);
    return 0;
}

static ofperr decode_meter(const struct instruction_reader *reader, const struct ofp_instruction *wire) {
    reader->to->meter_id = be32toh(wire->meter_id);
    if (!reader->to->meter_id || reader->to->meter_id > OFPM_MAX)
        return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_INVALID_METER);
    return 0;
}

static ofperr decode_actions(const struct instruction_reader *reader, const struct ofp_instruction *wire, size_t len,
                             bool write) {
    const struct action *actions;
    unsigned n;
    ofperr error = actions_decode((const uint8_t *) wire + sizeof *wire, len - sizeof *wire,
                                  write ? ACTIONS_SET : ACTIONS_LIST, reader->match, reader->pool, &actions, &n);
    if (error)
        return error;
    if (write) {
        reader->to->has_write = true;
        reader->to->write = actions;
        reader->to->n_write = (uint16_t) n;
    } else {
        reader->to->has_apply = true;
        reader->to->apply = actions;
        reader->to->n_apply = (uint16_t) n;
    }
    return 0;
}

static bool instruction_seen(const struct instructions *seen, unsigned type) {
    const bool by_type[] = {
        [OFPIT_GOTO_TABLE] = seen->has_goto,     [OFPIT_WRITE_METADATA] = seen->has_metadata,
        [OFPIT_WRITE_ACTIONS] = seen->has_write, [OFPIT_APPLY_ACTIONS] = seen->has_apply,
        [OFPIT_CLEAR_ACTIONS] = seen->has_clear, [OFPIT_METER] = seen->meter_id != 0,
    };
    return by_type[type];
}

static ofperr check_instruction(const struct instructions *seen, unsigned type, size_t len) {
    if (type == OFPIT_EXPERIMENTER)
        return BAD_INSTRUCTION(BAD_EXPERIMENTER);
    if (!type || type > OFPIT_METER)
        return BAD_INSTRUCTION(UNKNOWN_INST);
    if (type == OFPIT_WRITE_METADATA && len != sizeof(struct ofp_instruction_write_metadata))
        return BAD_INSTRUCTION(BAD_LEN);
    if (type != OFPIT_WRITE_METADATA && type != OFPIT_WRITE_ACTIONS && type != OFPIT_APPLY_ACTIONS && len != 8)
        return BAD_INSTRUCTION(BAD_LEN);
    return instruction_seen(seen, type) ? ONF_ERROR(ONF_BIC_DUP_INST) : 0;
}

static ofperr decode_one(const struct instruction_reader *reader, const struct ofp_instruction *wire, size_t len) {
    unsigned type = be16toh(wire->type);
    ofperr error = check_instruction(reader->to, type, len);
    if (error)
        return error;
    switch (type) {
    case OFPIT_GOTO_TABLE:
        return decode_goto(reader, wire);
    case OFPIT_WRITE_METADATA:
        return decode_metadata(reader, wire);
    case OFPIT_METER:
        return decode_meter(reader, wire);
    case OFPIT_CLEAR_ACTIONS:
        reader->to->has_clear = true;
        return 0;
    default:
        return decode_actions(reader, wire, len, type == OFPIT_WRITE_ACTIONS);
    }
}

ofperr instructions_decode(const uint8_t *data, size_t len, uint8_t table_id, const struct match *match,
                           struct action_pool *pool, struct instructions *instructions) {
    struct instruction_reader reader = {table_id, match, pool, instructions};
    memset(instructions, 0, sizeof *instructions);
    instructions->goto_table = GOTO_NONE;
    while (len) {
        const struct ofp_instruction *wire = (const struct ofp_instruction *) data;
        size_t used = len < sizeof *wire ? 0 : be16toh(wire->len);
        if (used < sizeof *wire || used > len || used % 8)
            return BAD_INSTRUCTION(BAD_LEN);
        ofperr error = decode_one(&reader, wire, used);
        if (error)
            return error;
        data += used;
        len -= used;
    }
    return 0;
}

/* ---- To the wire ---- */

static struct ofp_instruction *put_instruction(struct buf *out, unsigned type, size_t len) {
    struct ofp_instruction *wire = buf_put_zeros(out, len);
    wire->type = htobe16((uint16_t) type);
    wire->len = htobe16((uint16_t) len);
    return wire;
}

static void put_actions(struct buf *out, unsigned type, const struct action *actions, unsigned n) {
    size_t start = buf_len(out);
    put_instruction(out, type, sizeof(struct ofp_instruction));
    actions_encode(out, actions, n);
    struct ofp_instruction *wire = (struct ofp_instruction *) (buf_data(out) + start);
    wire->len = htobe16((uint16_t) (buf_len(out) - start));
}

static void put_metadata(struct buf *out, const struct instructions *instructions) {
    struct ofp_instruction_write_metadata *wire =
        (struct ofp_instruction_write_metadata *) put_instruction(out, OFPIT_WRITE_METADATA, sizeof *wire);
    wire->metadata = htobe64(instructions->metadata);
    wire->metadata_mask = htobe64(instructions->metadata_mask);
}

void instructions_encode(struct buf *out, const struct instructions *instructions) {
    if (instructions->meter_id)
        put_instruction(out, OFPIT_METER, 8)->meter_id = htobe32(instructions->meter_id);
    if (instructions->has_apply)
        put_actions(out, OFPIT_APPLY_ACTIONS, instructions->apply, instructions->n_apply);
    if (instructions->has_clear)
        put_instruction(out, OFPIT_CLEAR_ACTIONS, 8);
    if (instructions->has_write)
        put_actions(out, OFPIT_WRITE_ACTIONS, instructions->write, instructions->n_write);
    if (instructions->has_metadata)
        put_metadata(out, instructions);
    if (instructions->has_goto)
        put_instruction(out, OFPIT_GOTO_TABLE, 8)->table_id = instructions->goto_table;
}
