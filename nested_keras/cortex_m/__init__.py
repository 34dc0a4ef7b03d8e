"""The facts of the C kernels in Python: the kernel of a layer, its scratch memory, its cycles."""
