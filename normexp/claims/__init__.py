"""Test statements about normalization: train what each one needs, decide by its rule, and show the verdict."""
