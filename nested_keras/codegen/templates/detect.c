/* $head$ */ {
  static const nk_detection_params params = {
      .anchors = $upper$_ANCHORS,
      .classes = $upper$_CLASSES,
      .anchor_table = $anchor_table$,
      .exp_table = $exp_table$,
      .size_table = $size_table$,
      .offset = $offset$,
      .multiplier = $multiplier$,
      .shift = $shift$,
      .score_threshold = $score_threshold$,
      .iou_threshold = $iou_threshold$,
      .max_candidates = $max_candidates$,
      .max_boxes = $upper$_MAX_BOXES,
  };
  static int32_t scratch[$upper$_DETECT_SCRATCH_SIZE / sizeof(int32_t)];
  return nk_detection_s8(&params, boxes, scores, scratch, sizeof scratch, detections, count);
}
