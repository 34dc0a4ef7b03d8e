"""TFLite's integer arithmetic in NumPy (docs/quantization.md)."""
