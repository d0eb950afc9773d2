"""NVIDIA's GPU Operator: its chart, its operands and the ClusterPolicy."""
