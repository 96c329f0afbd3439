"""From the words of a command line to a validated Config, by way of Hydra."""
