"""Compile C and firmware, and run them on this PC, in emulators and under TFLite Micro."""
