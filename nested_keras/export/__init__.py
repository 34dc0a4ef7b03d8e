"""From a trained nested model to a .tflite."""
