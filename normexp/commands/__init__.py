"""The commands of `normexp`, one module each: main(argv) returns the exit code, HELP is printed for --help."""

COMMANDS = {
    "train": "train a network with a norm of your choice and record what happens inside it",
    "describe": "print a network's layers, and what each norm averages over",
    "claims": "what is said about norms, run and judged",
    "bench": "measure what a norm costs in time and memory",
    "resume": "go on with a run or a sweep that was stopped, or train a run further",
    "report": "tables, figures and a page from runs and sweeps",
    "runs": "list runs and sweeps, and what became of them",
    "tensorboard": "look at runs in the browser",
    "completion": "print a completion script for bash, zsh or fish",
}
