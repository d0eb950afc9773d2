"""What nodes are made of, and what a probe measures on them."""
