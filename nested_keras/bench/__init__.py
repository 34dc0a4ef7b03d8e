"""Measure kernels and models: exact instructions and modelled Cortex-M7 cycles."""
