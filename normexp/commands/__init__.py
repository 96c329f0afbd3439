"""The commands of `normexp`, one module each: main(argv) returns the exit code, HELP is printed for --help."""

COMMANDS = {
    "train": "train a network with a norm of your choice and record what happens inside it",
    "describe": "print a network's layers and the axes that each norm averages over",
    "claims": "test common claims about normalization",
    "bench": "measure what a norm costs in time and memory",
    "resume": "resume or extend a run or sweep",
    "report": "tables, figures and an HTML page from runs and sweeps",
    "eval": "evaluate a finished run again: other statistics, shifted images, per class",
    "runs": "list runs and sweeps with their status",
    "metrics": "list metrics with their meanings, and a run's last values",
    "rm": "delete runs and sweeps",
    "tensorboard": "show runs in TensorBoard",
    "completion": "print a completion script for bash, zsh or fish",
}
