"""The commands behind `normexp`, one file each."""

COMMANDS = {
    "train": "train a network with a norm of your choice and record what happens inside it",
    "tensorboard": "look at runs in the browser",
    "completion": "print a completion script for bash, zsh or fish",
}
