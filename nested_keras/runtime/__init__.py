"""Run a nested .tflite on this PC."""
