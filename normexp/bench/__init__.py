"""The cost of norms: time and memory of each norm in each model, relative to the same network without a norm."""
