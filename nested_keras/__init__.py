"""Nested sparse convnets: one set of weights, N sparsity levels, a knob at run time."""
