/**
 * Boxes from the int8 outputs of a detector: softmax, score threshold, decoding against anchors,
 * non-maximum suppression for each class. All arithmetic is on integers, so every computer finds
 * the same boxes, bit for bit (docs/detection.md).
 *
 * Coordinates are in 1/16384 of the height or width of the image, scores in 2^-24.
 */
#ifndef NK_DETECTION_H_
#define NK_DETECTION_H_

#include <stddef.h>
#include <stdint.h>

#include "nk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NK_DETECTION_COORDINATE_BITS 14
#define NK_DETECTION_SCORE_BITS 24
#define NK_DETECTION_SIZE_BITS 16
#define NK_DETECTION_MAX_CLASSES 254
#define NK_DETECTION_MAX_BOXES 4096
#define NK_DETECTION_MAX_CANDIDATES 32768

/** One box, cut at the edges of the image and never empty. */
typedef struct nk_detection {
  /** 0 .. 16384 */
  int32_t ymin;
  int32_t xmin;
  int32_t ymax;
  int32_t xmax;
  /** score_threshold .. 2^24 */
  int32_t score;
  /** 0 .. classes - 1; the background has no index. */
  int32_t class_index;
} nk_detection;

typedef struct nk_detection_params {
  /** Number of anchors, at least 1; anchors * (classes + 1) is at most INT32_MAX. */
  int32_t anchors;
  /** Number of classes without the background: 1 .. NK_DETECTION_MAX_CLASSES. */
  int32_t classes;
  /** [anchors][4]: centre y, centre x, height, width, in coordinates. */
  const uint16_t *anchor_table;
  /** [256]: exp(-d * scale of the scores) in 2^-24; begins with 2^24 and does not increase. */
  const uint32_t *exp_table;
  /** [256]: the size of a box in 2^-16 of its anchor's size, for each int8 value + 128 of an
   * offset. */
  const uint32_t *size_table;
  /** Minus the zero point of the boxes: -127 .. 128. */
  int32_t offset;
  /** The distance that a box moves for one step of a centre's offset, in sizes of its anchor: Q31
   * and a shift in -31 .. 30, positive to the left. */
  int32_t multiplier;
  int32_t shift;
  /** The least score: 1 .. 2^24. */
  int32_t score_threshold;
  /** If the intersection over union of two boxes of a class is larger, only the box with the higher
   * score stays: 0 .. 16384, in 2^-14. */
  int32_t iou_threshold;
  /** Number of best scores to look at: max_boxes .. NK_DETECTION_MAX_CANDIDATES. */
  int32_t max_candidates;
  /** Largest number of boxes to find: 1 .. NK_DETECTION_MAX_BOXES. */
  int32_t max_boxes;
} nk_detection_params;

/** Bytes of scratch memory that nk_detection_s8() needs; -1 if a parameter is out of range. */
int32_t nk_detection_s8_get_buffer_size(const nk_detection_params *params);

/**
 * Finds the boxes of one image.
 *
 * @param params the detector.
 * @param boxes [anchors][4]: the offsets ty, tx, th, tw.
 * @param scores [anchors][classes + 1]: logits, the background first.
 * @param scratch memory that is free during the call, aligned for int32_t.
 * @param scratch_size bytes of scratch memory.
 * @param detections room for params->max_boxes boxes. The highest score comes first, and of equal
 *        scores the first anchor, then the first class.
 * @param count receives the number of boxes.
 * @return NK_OK; NK_ERROR_ARGUMENT for a null pointer or a parameter out of range, NK_ERROR_SHAPE
 *         for too many anchors, NK_ERROR_BUFFER for a scratch memory that is missing, misaligned or
 *         too small. After an error the function has written nothing.
 */
nk_status nk_detection_s8(const nk_detection_params *params, const int8_t *boxes,
                          const int8_t *scores, void *scratch, size_t scratch_size,
                          nk_detection *detections, int32_t *count);

#ifdef __cplusplus
}
#endif

#endif  // NK_DETECTION_H_
