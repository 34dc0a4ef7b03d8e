/**
 * Compares nk_detection_s8() with a search that has neither heap nor sorting: the best of all
 * scores that is left, again and again. Random detectors of few and of many equal scores. Runs on
 * this computer, under the sanitizers, and on the emulated Cortex-M7 (test_m7_grid.py), where it
 * exits with 0 after the line `<number> layers`.
 */
#include <string.h>

#include "nk_detection.h"
#include "test_grid.h"

enum {
  MAX_ANCHORS = 40,
  MAX_CLASSES = 5,
  MAX_KEPT = 12,
  MAX_CANDIDATES = 60,
  GUARD = 2,
  GUARD_BYTE = 0x55
};

static uint16_t anchor_table[MAX_ANCHORS * 4];
static uint32_t exp_table[256];
static uint32_t size_table[256];
static int8_t boxes[MAX_ANCHORS * 4];
static int8_t scores[MAX_ANCHORS * (MAX_CLASSES + 1)];
static int32_t scratch[MAX_CANDIDATES * 2];
static nk_detection found[MAX_KEPT + GUARD];

/** The score of a class at an anchor: exp / sum of exps, rounded. */
static int32_t score_of(const nk_detection_params *p, int32_t anchor, int32_t class_index) {
  const int8_t *row = scores + anchor * (p->classes + 1);
  int32_t max = row[0];
  for (int32_t c = 1; c <= p->classes; ++c) {
    max = row[c] > max ? row[c] : max;
  }
  uint64_t sum = 0;
  for (int32_t c = 0; c <= p->classes; ++c) {
    sum += p->exp_table[max - row[c]];
  }
  return (int32_t)((((uint64_t)p->exp_table[max - row[class_index + 1]] << 24) + sum / 2) / sum);
}

static int64_t floor_of(int64_t value, int64_t divisor) {
  return value >= 0 ? value / divisor : -((divisor - 1 - value) / divisor);
}

static int32_t cut(int64_t value) { return value < 0 ? 0 : value > 16384 ? 16384 : (int32_t)value; }

static nk_detection box_of(const nk_detection_params *p, int32_t anchor, int32_t class_index) {
  int32_t edges[2][2];
  for (int32_t axis = 0; axis < 2; ++axis) {
    const int64_t size = p->anchor_table[4 * anchor + 2 + axis];
    const int64_t divisor = (int64_t)1 << (30 - p->shift);
    const int64_t moved = (boxes[4 * anchor + axis] + p->offset) * size * p->multiplier;
    const int64_t twice =
        2 * (int64_t)p->anchor_table[4 * anchor + axis] + floor_of(moved + divisor / 2, divisor);
    const int64_t extent =
        (size * p->size_table[boxes[4 * anchor + 2 + axis] + 128] + 32768) / 65536;
    edges[axis][0] = cut(floor_of(twice - extent + 1, 2));
    edges[axis][1] = cut(floor_of(twice + extent + 1, 2));
  }
  const nk_detection box = {
      edges[0][0], edges[1][0], edges[0][1], edges[1][1], score_of(p, anchor, class_index),
      class_index};
  return box;
}

static int64_t length(int32_t low, int32_t high) { return high > low ? high - low : 0; }

static bool overlap(const nk_detection_params *p, const nk_detection *a, const nk_detection *b) {
  const int64_t height =
      length(a->ymin > b->ymin ? a->ymin : b->ymin, a->ymax < b->ymax ? a->ymax : b->ymax);
  const int64_t width =
      length(a->xmin > b->xmin ? a->xmin : b->xmin, a->xmax < b->xmax ? a->xmax : b->xmax);
  const int64_t shared = height * width;
  const int64_t all = length(a->ymin, a->ymax) * length(a->xmin, a->xmax) +
                      length(b->ymin, b->ymax) * length(b->xmin, b->xmax) - shared;
  return shared * 16384 > all * p->iou_threshold;
}

/** Searches the boxes one by one; returns their number. */
static int32_t expected_boxes(const nk_detection_params *p, nk_detection *kept) {
  int32_t count = 0;
  int32_t last_score = INT32_MAX;
  int32_t last_place = -1;
  for (int32_t seen = 0; seen < p->max_candidates && count < p->max_boxes; ++seen) {
    int32_t best_score = -1;
    int32_t best_place = -1;
    for (int32_t place = 0; place < p->anchors * p->classes; ++place) {
      const int32_t score = score_of(p, place / p->classes, place % p->classes);
      const bool comes_later = score < last_score || (score == last_score && place > last_place);
      if (comes_later && score >= p->score_threshold && score > best_score) {
        best_score = score;
        best_place = place;
      }
    }
    if (best_place < 0) {
      return count;
    }
    last_score = best_score;
    last_place = best_place;
    const nk_detection box = box_of(p, best_place / p->classes, best_place % p->classes);
    bool stays = box.ymax > box.ymin && box.xmax > box.xmin;
    for (int32_t i = 0; i < count; ++i) {
      stays = stays && !(kept[i].class_index == box.class_index && overlap(p, &kept[i], &box));
    }
    if (stays) {
      kept[count++] = box;
    }
  }
  return count;
}

static void fill_tables(void) {
  const int32_t steepness = grid_number(0, 3);
  exp_table[0] = 1 << 24;
  for (int32_t i = 1; i < 256; ++i) {
    const uint32_t before = exp_table[i - 1];
    exp_table[i] = steepness == 0 ? before : before - before / (uint32_t)(4 << (2 * steepness));
  }
  for (int32_t i = 0; i < 256; ++i) {
    size_table[i] = (uint32_t)grid_number(0, 1) == 0 ? (uint32_t)grid_number(0, INT32_MAX)
                                                     : (uint32_t)grid_number(20000, 90000);
  }
  for (int32_t i = 0; i < MAX_ANCHORS * 4; ++i) {
    anchor_table[i] = (uint16_t)grid_number(0, grid_number(0, 7) == 0 ? 65535 : 16384);
  }
}

static bool same(const nk_detection *a, const nk_detection *b) {
  return a->ymin == b->ymin && a->xmin == b->xmin && a->ymax == b->ymax && a->xmax == b->xmax &&
         a->score == b->score && a->class_index == b->class_index;
}

static bool guard_is_intact(int32_t max_boxes) {
  const char *bytes = (const char *)(found + max_boxes);
  for (size_t i = 0; i < GUARD * sizeof found[0]; ++i) {
    if (bytes[i] != GUARD_BYTE) {
      return false;
    }
  }
  return true;
}

static bool try_detector(void) {
  fill_tables();
  nk_detection_params p = {
      .anchors = grid_number(1, MAX_ANCHORS),
      .classes = grid_number(1, MAX_CLASSES),
      .anchor_table = anchor_table,
      .exp_table = exp_table,
      .size_table = size_table,
      .offset = grid_number(-127, 128),
      .multiplier = grid_number(0, INT32_MAX),
      .shift = grid_number(0, 9) == 0 ? grid_number(-31, 30) : grid_number(-9, 0),
      .score_threshold = 1 << grid_number(0, 24),
      .iou_threshold = grid_number(0, 16384),
      .max_boxes = grid_number(1, MAX_KEPT),
  };
  p.max_candidates = grid_number(p.max_boxes, MAX_CANDIDATES);
  grid_fill(boxes, p.anchors * 4);
  const int32_t spread = grid_number(0, 127);  // 0 makes all scores equal
  for (int32_t i = 0; i < p.anchors * (p.classes + 1); ++i) {
    scores[i] = (int8_t)grid_number(-spread, spread);
  }
  memset(found, GUARD_BYTE, sizeof found);
  int32_t count = -1;
  nk_detection kept[MAX_KEPT];
  const size_t size = (size_t)nk_detection_s8_get_buffer_size(&p);
  bool good = size == (size_t)p.max_candidates * 8 &&
              nk_detection_s8(&p, boxes, scores, scratch, size, found, &count) == NK_OK;
  good = count == expected_boxes(&p, kept) && guard_is_intact(p.max_boxes) && good;
  for (int32_t i = 0; i < count && good; ++i) {
    good = same(&found[i], &kept[i]);
  }
  if (!good) {
    const int32_t facts[] = {p.anchors, p.classes, p.max_candidates, p.max_boxes, count};
    grid_print("detector", facts, 5);
  }
  return good;
}

int main(void) {
  int32_t detectors = 0;
  bool all = true;
  for (; detectors < 400; ++detectors) {
    all = try_detector() && all;
  }
  return grid_end(detectors, all);
}
