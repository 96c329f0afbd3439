"""What a norm costs: time and memory of each norm in each model, beside the same network without one."""
