/**
 * docs/detection.md derives the arithmetic and its error bounds; nested_keras/detection/decoding.py
 * computes the same in NumPy.
 */
#include "../../include/nk_detection.h"
#include "../ref/nk_arithmetic.h"

enum { TABLE_SIZE = 256, ONE = 1 << NK_DETECTION_COORDINATE_BITS };

/** A score and its place: anchor * classes + class. */
typedef struct candidate {
  int32_t score;
  int32_t place;
} candidate;

static bool is_worse(candidate a, candidate b) {
  return a.score < b.score || (a.score == b.score && a.place > b.place);
}

static void swap(candidate *a, candidate *b) {
  const candidate kept = *a;
  *a = *b;
  *b = kept;
}

/** Moves an element of a heap with the worst on top down to its place. */
static void sift_down(candidate *heap, int32_t count, int32_t i) {
  for (;;) {
    int32_t worst = i;
    for (int32_t child = 2 * i + 1; child <= 2 * i + 2 && child < count; ++child) {
      if (is_worse(heap[child], heap[worst])) {
        worst = child;
      }
    }
    if (worst == i) {
      return;
    }
    swap(&heap[i], &heap[worst]);
    i = worst;
  }
}

/** Adds a candidate to the heap, where the heap is full in place of the worst. */
static int32_t add_candidate(candidate *heap, int32_t count, int32_t capacity, candidate added) {
  if (count == capacity) {
    if (is_worse(heap[0], added)) {
      heap[0] = added;
      sift_down(heap, count, 0);
    }
    return count;
  }
  int32_t i = count;
  heap[i] = added;
  while (i > 0 && is_worse(heap[i], heap[(i - 1) / 2])) {
    swap(&heap[i], &heap[(i - 1) / 2]);
    i = (i - 1) / 2;
  }
  return count + 1;
}

/**
 * How far below the highest score of an anchor a class may be and still have the threshold's
 * probability. Such a class has sum >= 2^24 + e, and e * 2^24 / sum + 1/2 >= threshold.
 */
static int32_t find_reach(const nk_detection_params *p) {
  const uint64_t least = (uint64_t)p->score_threshold - 1;
  const uint64_t one = (uint64_t)1 << NK_DETECTION_SCORE_BITS;
  int32_t reach = 0;
  while (reach + 1 < TABLE_SIZE &&
         p->exp_table[reach + 1] * one >= least * (one + p->exp_table[reach + 1])) {
    ++reach;
  }
  return reach;
}

/** Adds the classes of one anchor whose probability is the threshold or more. */
static int32_t add_anchor(const nk_detection_params *p, int32_t reach, const int8_t *scores,
                          int32_t anchor, candidate *heap, int32_t count) {
  int32_t max = INT8_MIN;
  for (int32_t c = 1; c <= p->classes; ++c) {
    max = nk_max(max, scores[c]);
  }
  if (scores[0] - max > reach) {  // background: nearly all anchors end here
    return count;
  }
  max = nk_max(max, scores[0]);
  uint32_t sum = 0;  // at most 255 * 2^24
  for (int32_t c = 0; c <= p->classes; ++c) {
    sum += p->exp_table[max - scores[c]];
  }
  // The least e with floor((e * 2^24 + sum / 2) / sum) >= threshold.
  const uint64_t wanted = (uint64_t)p->score_threshold * sum - (sum >> 1);
  const uint64_t round_up = ((uint64_t)1 << NK_DETECTION_SCORE_BITS) - 1;
  const uint64_t least = (wanted + round_up) >> NK_DETECTION_SCORE_BITS;
  for (int32_t c = 1; c <= p->classes; ++c) {
    const uint64_t e = p->exp_table[max - scores[c]];
    if (e >= least) {
      const uint64_t score = ((e << NK_DETECTION_SCORE_BITS) + (sum >> 1)) / sum;
      const candidate added = {(int32_t)score, anchor * p->classes + c - 1};
      count = add_candidate(heap, count, p->max_candidates, added);
    }
  }
  return count;
}

static int32_t edge(int64_t twice) {
  const int64_t rounded = (twice + 1) >> 1;
  return rounded < 0 ? 0 : rounded > ONE ? ONE : (int32_t)rounded;
}

/** Both edges along one axis: of a centre and a size of the anchor, and their offsets. */
static void decode(const nk_detection_params *p, int32_t centre, int32_t size, int8_t move,
                   int8_t grow, int32_t *low, int32_t *high) {
  // Twice the centre, so that half a size more or less is whole. |moved| < 2^(8 + 16 + 31).
  const int32_t right = NK_DETECTION_COORDINATE_BITS + 16 - p->shift;
  const int64_t half = ((int64_t)1 << right) >> 1;
  const int64_t moved = (int64_t)((move + p->offset) * size) * p->multiplier;
  const int64_t twice = 2 * (int64_t)centre + ((moved + half) >> right);
  const int64_t extent =
      ((int64_t)size * p->size_table[grow - INT8_MIN] + (1 << (NK_DETECTION_SIZE_BITS - 1))) >>
      NK_DETECTION_SIZE_BITS;
  *low = edge(twice - extent);
  *high = edge(twice + extent);
}

static int32_t area(const nk_detection *box) {
  return (box->ymax - box->ymin) * (box->xmax - box->xmin);
}

/** Whether the intersection over the union is larger than the threshold. */
static bool overlap(const nk_detection_params *p, const nk_detection *a, const nk_detection *b) {
  const int32_t height = nk_min(a->ymax, b->ymax) - nk_max(a->ymin, b->ymin);
  const int32_t width = nk_min(a->xmax, b->xmax) - nk_max(a->xmin, b->xmin);
  if (height <= 0 || width <= 0) {
    return false;
  }
  const int32_t shared = height * width;  // an area is at most 2^28
  const int32_t all = area(a) + area(b) - shared;
  return (int64_t)shared << NK_DETECTION_COORDINATE_BITS > (int64_t)all * p->iou_threshold;
}

/** Whether a box is not empty and no better box of its class overlaps it. */
static bool stays(const nk_detection_params *p, const nk_detection *found, const nk_detection *kept,
                  int32_t count) {
  if (area(found) == 0) {
    return false;
  }
  for (int32_t i = 0; i < count; ++i) {
    if (kept[i].class_index == found->class_index && overlap(p, &kept[i], found)) {
      return false;
    }
  }
  return true;
}

static bool tables_are_sound(const nk_detection_params *p) {
  if (p->anchor_table == NULL || p->exp_table == NULL || p->size_table == NULL ||
      p->exp_table[0] != (uint32_t)1 << NK_DETECTION_SCORE_BITS) {
    return false;
  }
  for (int32_t i = 1; i < TABLE_SIZE; ++i) {
    if (p->exp_table[i] > p->exp_table[i - 1]) {
      return false;
    }
  }
  return true;
}

static bool limits_are_in_range(const nk_detection_params *p) {
  return nk_in_range(p->max_boxes, 1, NK_DETECTION_MAX_BOXES) &&
         nk_in_range(p->max_candidates, p->max_boxes, NK_DETECTION_MAX_CANDIDATES);
}

int32_t nk_detection_s8_get_buffer_size(const nk_detection_params *params) {
  if (params == NULL || !limits_are_in_range(params)) {
    return -1;
  }
  return params->max_candidates * (int32_t)sizeof(candidate);
}

static nk_status check(const nk_detection_params *p, const void *scratch, size_t scratch_size) {
  if (!limits_are_in_range(p) || !tables_are_sound(p) ||
      !nk_in_range(p->classes, 1, NK_DETECTION_MAX_CLASSES) || !nk_is_input_offset(p->offset) ||
      !nk_is_multiplier(p->multiplier, p->shift) ||
      !nk_in_range(p->score_threshold, 1, 1 << NK_DETECTION_SCORE_BITS) ||
      !nk_in_range(p->iou_threshold, 0, ONE)) {
    return NK_ERROR_ARGUMENT;
  }
  if (!nk_in_range(p->anchors, 1, INT32_MAX / (p->classes + 1))) {
    return NK_ERROR_SHAPE;
  }
  const size_t needed = (size_t)nk_detection_s8_get_buffer_size(p);
  if (scratch == NULL || (uintptr_t)scratch % _Alignof(candidate) != 0 || scratch_size < needed) {
    return NK_ERROR_BUFFER;
  }
  return NK_OK;
}

nk_status nk_detection_s8(const nk_detection_params *params, const int8_t *boxes,
                          const int8_t *scores, void *scratch, size_t scratch_size,
                          nk_detection *detections, int32_t *count) {
  if (params == NULL || boxes == NULL || scores == NULL || detections == NULL || count == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  const nk_status status = check(params, scratch, scratch_size);
  if (status != NK_OK) {
    return status;
  }
  candidate *best = scratch;
  int32_t candidates = 0;
  const int32_t reach = find_reach(params);
  for (int32_t a = 0; a < params->anchors; ++a) {
    const int8_t *of_anchor = scores + a * (params->classes + 1);
    candidates = add_anchor(params, reach, of_anchor, a, best, candidates);
  }
  // Takes the worst away from the top, again and again: the best ends up in front.
  for (int32_t left = candidates - 1; left > 0; --left) {
    swap(&best[0], &best[left]);
    sift_down(best, left, 0);
  }
  int32_t kept = 0;
  for (int32_t i = 0; i < candidates && kept < params->max_boxes; ++i) {
    const int32_t a = best[i].place / params->classes;
    const uint16_t *anchor = params->anchor_table + 4 * a;
    const int8_t *offsets = boxes + 4 * a;
    nk_detection *found = &detections[kept];
    found->score = best[i].score;
    found->class_index = best[i].place % params->classes;
    decode(params, anchor[0], anchor[2], offsets[0], offsets[2], &found->ymin, &found->ymax);
    decode(params, anchor[1], anchor[3], offsets[1], offsets[3], &found->xmin, &found->xmax);
    if (stays(params, found, detections, kept)) {
      ++kept;
    }
  }
  *count = kept;
  return NK_OK;
}
