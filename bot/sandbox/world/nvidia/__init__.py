"""GPUs, the GPU Operator and what runs on them."""
