"""What a layer costs at each level, and which layer gets which sparsity."""
