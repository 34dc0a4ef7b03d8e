"""What Python knows of the C kernels: which one runs a layer, its scratch memory, its cycles."""
