/**
 * Constants of the packed weight stream, version 1. docs/nested_format.md is normative; a test
 * compares these values with the values in nested_keras.format. All fields are little-endian;
 * reserved bytes are zero.
 *
 *     header (64 bytes)
 *     level block 0: header (32 bytes), payload, zero padding to 16 bytes
 *     level block 1: ...
 *
 * Payload of a level block, with O output channels and K weights per channel; each array starts at
 * a multiple of 4 bytes:
 *
 *     int32 folded_bias[O], int32 multiplier[O], int8 shift[O]    EXACT tables
 *     fields of up to 32 bits each [O]                            PACKED or SIGNED tables
 *     int8 values[O * K]                                          DENSE
 *     counts of count_bits bits each [O]                          DELTA8, DELTA16 or CODED
 *     records[entries]                                            DELTA8 or DELTA16
 *     uint32 gap_words, code lengths of 4 bits each,
 *     uint32 codes[code_words]                                    CODED
 *     at least NK_STREAM_READ_AHEAD_BYTES zero bytes              all but EMPTY without fields
 *
 * A record is a uint8 or uint16 delta followed by int8 values[block_size]; records are not aligned.
 * A dense block has O * K / block_size entries, every position of every channel. A coded block
 * unpacks to the records of DELTA8.
 */
#ifndef NK_FORMAT_H_
#define NK_FORMAT_H_

// The first four bytes.
#define NK_STREAM_MAGIC "NSC1"
#define NK_STREAM_VERSION 1
#define NK_STREAM_HEADER_BYTES 64
#define NK_LEVEL_HEADER_BYTES 32
#define NK_STREAM_MAX_LEVELS 16
// Level blocks start and end at multiples of this number of bytes.
#define NK_STREAM_ALIGNMENT 16
// At least this number of zero bytes follows the last weight of a block, for kernels that load
// ahead.
#define NK_STREAM_READ_AHEAD_BYTES 4
// Largest width of a count, which is the number of entries of one output channel.
#define NK_STREAM_MAX_COUNT_BITS 16
// Largest number of weights of one output channel.
#define NK_STREAM_MAX_CHANNEL_WEIGHTS 65535
// In a coded block: the largest gap, bits of the code of a gap or value, words.
#define NK_STREAM_MAX_GAP 254
#define NK_STREAM_MAX_SYMBOL_BITS 8
#define NK_STREAM_MAX_CODE_WORDS 134217727
// Bits of the packed tables of a channel.
#define NK_STREAM_MAX_TABLE_BITS 32

// Byte offsets in the stream header.
#define NK_OFFSET_MAGIC 0
#define NK_OFFSET_VERSION 4
#define NK_OFFSET_KIND 6
#define NK_OFFSET_LEVELS 7
#define NK_OFFSET_BLOCK_SIZE 8
#define NK_OFFSET_STRIDE_H 9
#define NK_OFFSET_STRIDE_W 10
#define NK_OFFSET_DILATION_H 11
#define NK_OFFSET_DILATION_W 12
#define NK_OFFSET_PAD_TOP 13
#define NK_OFFSET_PAD_LEFT 14
#define NK_OFFSET_KERNEL_H 16
#define NK_OFFSET_KERNEL_W 18
#define NK_OFFSET_OUT_CHANNELS 20
#define NK_OFFSET_IN_CHANNELS 22
#define NK_OFFSET_DEPTH_MULTIPLIER 24
#define NK_OFFSET_INPUT_OFFSET 28
#define NK_OFFSET_OUTPUT_OFFSET 32
#define NK_OFFSET_ACTIVATION_MIN 36
#define NK_OFFSET_ACTIVATION_MAX 40
#define NK_OFFSET_CRC32 60

// Byte offsets in a level block's header.
#define NK_LEVEL_OFFSET_BLOCK_BYTES 0
#define NK_LEVEL_OFFSET_ENTRIES 4
#define NK_LEVEL_OFFSET_LEVEL 8
#define NK_LEVEL_OFFSET_ENCODING 9
#define NK_LEVEL_OFFSET_COUNT_BITS 10
#define NK_LEVEL_OFFSET_TABLES 11
#define NK_LEVEL_OFFSET_NNZ 12
#define NK_LEVEL_OFFSET_MULTIPLIER_BITS 16
#define NK_LEVEL_OFFSET_SHIFT_BITS 17
#define NK_LEVEL_OFFSET_BIAS_BITS 18
#define NK_LEVEL_OFFSET_BIAS_FRACTION 19
#define NK_LEVEL_OFFSET_SHIFT_BASE 20
#define NK_LEVEL_OFFSET_LAST_GAP 21
#define NK_LEVEL_OFFSET_FIRST_MAGNITUDE 22
#define NK_LEVEL_OFFSET_LAST_MAGNITUDE 23
#define NK_LEVEL_OFFSET_CODE_WORDS 24
#define NK_LEVEL_OFFSET_CRC32 28

// Kind of layer.
#define NK_KIND_CONV 0
#define NK_KIND_DEPTHWISE 1
#define NK_KIND_FULLY_CONNECTED 2

// How a level block stores its weights.
#define NK_ENCODING_EMPTY 0
#define NK_ENCODING_DENSE 1
#define NK_ENCODING_DELTA8 2
#define NK_ENCODING_DELTA16 3
#define NK_ENCODING_CODED 4

// How a level block stores its tables.
#define NK_TABLES_EXACT 0
#define NK_TABLES_SAME 1
#define NK_TABLES_PACKED 2
#define NK_TABLES_SIGNED 3

#endif  // NK_FORMAT_H_
