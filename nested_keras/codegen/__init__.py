"""Print a `Program` as a self-contained C library."""
