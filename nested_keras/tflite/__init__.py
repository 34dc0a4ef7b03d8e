"""A .tflite file as a `Program`, and back."""
