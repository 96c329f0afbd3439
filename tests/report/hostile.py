"""Malicious run directories."""

import json
import os
from pathlib import Path

import yaml

from tests.report.runs import make_run, write_metrics

CONTROL = "\x1b]0;title\x07\x1b[2J\r\x9b2J\x85\u202e\x00\x7f"
"""Terminal control sequences, and characters that reverse text."""

EVIL = (
    f"=cmd|' /C calc'!A0 {CONTROL}</script></title></svg><script>alert(1)</script><img src=x onerror=alert(2)>\"'-->]]>&lt; \
[red]r[/red][link=http://evil]l[/link][/] :bomb: $\\frac12$ \\"
)

NAME = EVIL.replace("/", "|").replace("\x00", "\n").encode()[:200].decode(errors="ignore") + "\udcff"
"""The same in the name of a folder."""

LONG = "x" * 10_000

ODD_NUMBERS = ["1e999", "-1e999", "NaN", "1e308", "-1e308", "9" * 4000, "1e-320"]
NUMBERS = [*ODD_NUMBERS, "[1, [2]]", '{"a": 1}', '"1"', "true", "null"]
"""JSON values in place of numbers."""

YAMLS = {
    "apply": "norm: !!python/object/apply:os.system ['touch executed']",
    "new": "!!python/object/new:os.system ['touch executed']",
    "module": "norm: !!python/module:antigravity",
    "name": "norm: !!python/name:os.system",
    "laughs": "a0: &a0 [x]\n" + "\n".join(f"a{i + 1}: &a{i + 1} [{f'*a{i}, ' * 9}]" for i in range(9)),
    "merges": "a0: &a0 {k: 1}\n" + "\n".join(f"a{i + 1}: &a{i + 1} {{<<: [{f'*a{i}, ' * 9}]}}" for i in range(9)),
    "a word many times": f"a: &a {'x' * 40_000}\nb: [{'*a, ' * 10_000}]",
    "in itself": "a: &a [*a]",
    "deep lists": "a: " + "[" * 40_000 + "]" * 40_000,
    "deep maps": "a: " + "{a: " * 20_000,
    "deep dashes": "a:\n " + "- " * 40_000,
    "a hexadecimal number": f"lr: 0x{'f' * 50_000}",
    "a number in base 60": f"lr: 1{':59' * 25_000}",
    "a number of 5,000 digits": f"lr: {'9' * 5000}",
    "a key of a number": f"? 0x{'f' * 50_000}\n: 1",
    "no truth": "a: !!bool x",
    "no time": "a: !!timestamp x",
    "no integer": "a: !!int ''",
    "no text": "\x00\x01",
    "a tab": "a:\n\t- b",
}  # fmt: skip

JSONS = {
    "deep": '{"state": "completed", "metrics": ' + '{"a":' * 100_000,
    "closed": '{"state": "completed", "x": ' + "[" * 900 + "]" * 900 + "}",
    "digits": f'{{"state": "completed", "step": {"9" * 5000}}}',
    "a state": '{"state": ["completed"]}',
    "no text": b"\xff\xfe",
}

STATUS = dict.fromkeys(("began", "started", "seconds", "total_steps"), EVIL)
STATUS |= {"state": "running", "error": f"{EVIL}\n{EVIL}\n{LONG}", "host": EVIL + LONG, "pid": 0, EVIL: [EVIL]}


def hostile(folder: Path) -> Path:
    """A sweep with malicious content in every file, and an intact run."""
    make_run(folder, name="good", norm="bn")
    for i, state in enumerate(["completed", "running", "failed", "skipped", "diverged", "killed"]):
        run = make_run(folder, name=f"{i}{NAME}", norm=EVIL, init=f"{EVIL}{i}", seed=i, **{"model__[red]" + EVIL: i})
        metrics = {EVIL: 1.0, f"grad_norm/{EVIL}": 1.0, "test/accuracy": 0.5, "val/accuracy": 0.5, LONG: 1}
        text = json.dumps(STATUS | {"state": state, "metrics": metrics})
        (run / "status.json").write_text(text.replace('"pid"', '"step": 1, "pid"'))
        config = yaml.safe_load((run / "config.yaml").read_text())
        config |= {EVIL: i, "lr": EVIL, LONG: LONG, "data": [EVIL], "optim": {"name": {EVIL: EVIL}, EVIL: EVIL}}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        logged = {"train/loss": 1.0, f"grad_norm/{EVIL}": 2.0, "grad_norm/x": 1.0, EVIL: EVIL}
        logged |= {f"activation_in/{EVIL}/p{p}": 1.0 for p in (15, 50, 85)}
        write_metrics(run, [{"step": step, **logged} for step in range(3)] + [CONTROL, EVIL])
        made_with = {"command": [EVIL], "git": {"commit": EVIL}, "packages": {EVIL: EVIL}, "device": EVIL, "cpus": EVIL}
        (run / "environment.json").write_text(json.dumps(made_with))
    sweep = {
        "command": [EVIL, {EVIL: EVIL}],
        "runs": [[EVIL], {}, EVIL, 1],
        "slurm": {EVIL: [EVIL], "12_1; rm": {}, "13_2": "x"},
    }
    (folder / "sweep.json").write_text(json.dumps(sweep | {"started": EVIL}))
    return folder


def damaging(folder: Path) -> Path:
    """Runs whose files would block or crash a naive reader. Each is left out or read in part."""
    make_run(folder, name="good")
    for name, text in YAMLS.items():
        (make_run(folder, name=f"yaml {name}") / "config.yaml").write_text(text)
    for name, content in JSONS.items():
        text = content if isinstance(content, bytes) else content.encode()
        for file in ("status.json", "sweep.json", "environment.json"):
            run = make_run(folder / f"{name} {file}", name="run")
            (run.parent if file == "sweep.json" else run).joinpath(file).write_bytes(text)
    for i, number in enumerate(NUMBERS):
        run = make_run(folder, name=f"number {i}", seed=i + 10)
        text = json.dumps({"state": "running", "metrics": {"test/accuracy": 9, "val/accuracy": 9}, "step": 9, "total_steps": 9,
                           "seconds": 9, "pid": 9, "host": 9, "began": 9, "started": 9, "error": 9})  # fmt: skip
        (run / "status.json").write_text(text.replace(": 9", f": {number}"))
        environment = f'{{"command": {number}, "git": {number}, "packages": {number}, "cpus": {number}}}'
        (run / "environment.json").write_text(environment)
        scalars = f'"train/loss": {number}, "grad_norm/x": {number}'
        write_metrics(run, [f'{{"step": {step}, {scalars}}}' for step in (1, 2, number)])
    for file in ("status.json", "config.yaml", "metrics.jsonl", "environment.json", "histograms.png"):
        for kind in ("pipe", "device", "folder", "loop", "gone", "huge"):
            run = make_run(folder, name=f"{kind} {file}", lr=float(kind == "pipe"))
            path = run / file
            path.unlink(missing_ok=True)
            match kind:
                case "pipe":
                    os.mkfifo(path)
                case "device":
                    path.symlink_to("/dev/zero")
                case "folder":
                    path.mkdir()
                case "loop":
                    path.symlink_to(path)
                case "gone":
                    path.symlink_to("nowhere")
                case "huge":
                    path.touch()
                    os.truncate(path, 10**13)
    (folder / "loop").symlink_to("loop")
    (folder / "disk").symlink_to("/")
    (folder / "above").symlink_to("..")
    return folder
