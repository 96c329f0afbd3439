"""Compose a command line and yaml files, with Hydra, to a validated Config."""
