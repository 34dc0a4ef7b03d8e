"""The operators of a `Program`: how they are read, checked and run in NumPy."""
