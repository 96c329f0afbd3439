"""Sweeps on top of Hydra's multirun: skip finished runs, survive failures of single runs, show progress."""
