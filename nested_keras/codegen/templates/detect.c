/* $head_in$ */ {
  $storage$ nk_detection_params params = {
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
  return nk_detection_s8(&params, boxes, scores, scratch, scratch_size, detections, count);
}

/* $head$ */ {
  $upper$_ARENA_ATTRIBUTE static int32_t scratch[$upper$_DETECT_SCRATCH_SIZE / sizeof(int32_t)];
  /* $call_in$ */
}
