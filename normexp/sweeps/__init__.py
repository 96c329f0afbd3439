"""What Hydra's multirun lacks: skip what is done, survive what happens to single runs, show how far it is."""
