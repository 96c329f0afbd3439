"""Watch the training of any torch network."""

import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from normexp.config import ConfigError, show
from normexp.probes import PROBES, switches
from normexp.probes.base import Measurements, Step
from normexp.probes.gradients import GradientNorms
from normexp.probes.runner import Probes, Snapshot
from normexp.records import GRAD_NORM, Chart, Record, RunInfo
from normexp.rundir import State, default_name
from normexp.watching.checks import check_names, integer, number, scalar, unwrap
from normexp.watching.layers import find_layers
from normexp.watching.output import METRICS, Output, check_config, describe, hyperparameters
from normexp.watching.recorder import LoopRecorder

DEFAULT_PROBES = ("activations", "saturation", "drift", "gradients", "updates", "affine", "batch_statistics")
"""Those that configs/probe/default.yaml switches on."""

NO_LAST_STEP = sys.maxsize  # total_steps is unknown


def watch(
    model: nn.Module,
    *,
    every: int = 100,
    early: int = 6,
    directory: str | Path | None = None,
    layers: Sequence[str] = ("*",),
    probes: Sequence[str] = DEFAULT_PROBES,
    samples: int = 16384,
    log_every: int = 10,
    accumulate: int = 1,
    total_steps: int | None = None,
    batch_size: int | None = None,
    scaler: torch.amp.GradScaler | None = None,
    config: Mapping[str, Any] | None = None,
) -> "Watch":
    """Record what happens inside a network while your own loop trains it.

        with normexp.watch(model, every=100, directory="runs/mine") as probes:
            for inputs, labels in batches:
                optimizer.zero_grad()
                loss = loss_function(model(inputs), labels)
                loss.backward()
                optimizer.step()
                probes.step(loss=loss, lr=optimizer.param_groups[0]["lr"])

    Call `step` once per update, after `optimizer.step()`. Training is not changed by a bit.

    every, early: a snapshot at the first step, at `early` steps before step `every`, and at its multiples.
    directory: of the run, by default runs/DATE_CLASS; it gets a number if it exists.
    layers: patterns of module paths, such as "layer1.*". probes: names. samples: values sampled per layer at most.
    log_every: steps between entries of loss and learning rate.
    accumulate: backward passes per update. total_steps: the last step, for a snapshot.
    batch_size: samples per update, which `noise` needs. scaler: a GradScaler in use.
    config: your settings, such as {"norm": "bn", "lr": 0.1, "seed": 0}, by which reports group runs.

    Raises ConfigError if an argument can't work, WriteError if the directory is not writable.
    """
    return Watch(
        model,
        directory=directory,
        layers=layers,
        probes=probes,
        numbers={"every": every, "early": early, "samples": samples, "log_every": log_every, "accumulate": accumulate},
        total_steps=total_steps,
        batch_size=batch_size,
        scaler=scaler,
        config=config,
    )


class Watch:
    """A training being watched; `watch` creates it. directory: the run's. number: steps so far. closed: whether it ended."""

    def __init__(
        self,
        model: nn.Module,
        *,
        directory: str | Path | None,
        layers: Sequence[str],
        probes: Sequence[str],
        numbers: Mapping[str, int],
        total_steps: int | None,
        batch_size: int | None,
        scaler: torch.amp.GradScaler | None,
        config: Mapping[str, Any] | None,
    ) -> None:
        self.model = model = unwrap(model)
        checked = {
            key: integer(key, value, minimum=64 if key == "samples" else 0 if key == "early" else 1)
            for key, value in numbers.items()
        }
        self._log_every, self._accumulate = checked["log_every"], checked["accumulate"]
        self._total = NO_LAST_STEP if total_steps is None else integer("total_steps", total_steps)
        self._batch_size = 0 if batch_size is None else integer("batch_size", batch_size)
        self._scaler = scaler
        self._found = find_layers(model)
        check_names(probes, layers, list(self._found), batch_size)
        settings = {key: checked[key] for key in ("every", "early", "samples")}
        probe: dict[str, Any] = {
            "name": "watch",
            **settings,
            "layers": tuple(layers),
            "landscape_every": None,
            "landscape_steps": (),
        }
        on: dict[str, Any] = {name: name in probes for name in PROBES}
        self._probes = Probes(self._found, switches()(**probe, **on), seed=0, recorder=self._recorder)
        self._norms = GradientNorms({name: found.layer for name, found in self._found.items()}, model.parameters())
        self._grad_norms: Tensor | None = None
        self._losses: list[Tensor] = []
        self._snapshot: Snapshot | None = None
        self._current: LoopRecorder | None = None
        self._stance: Any = None
        self.closed = False
        self._failure: str | None = None
        self.number, self._lr = 0, 0.0
        path = Path("runs", default_name([type(model).__name__])) if directory is None else Path(directory).expanduser()
        stored: dict[str, Any] = {
            "model": {"name": type(model).__name__},
            "probe": {**probe, **on, "layers": list(layers), "landscape_steps": []},
        }
        stored |= {"run": path.name} if config is None else check_config(config)
        info = RunInfo(hyperparameters(stored), METRICS, charts=self._charts())
        self._output = Output(
            path, stored, info, device=next((p.device for p in model.parameters()), torch.device("cpu"))
        )
        self.directory = self._output.directory
        count = sum(p.numel() for p in model.parameters())
        self._output.note(f"watching {type(model).__name__}: {len(self._found)} layers, {count:,} parameters")
        self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            self.close("interrupted")
        else:
            self.close("failed", describe(error))

    def step(self, *, loss: Tensor | float | None = None, lr: float | None = None) -> None:
        """Finish a step: call it once per update, after `optimizer.step()`; with or without `zero_grad` in between.

        loss: the step's, a single number; reports show the mean since the last entry. It stays on its device until an entry is
        due, every `log_every` steps.
        """
        self._check_open()
        if loss is not None and self._failure is None:
            self._losses.append(scalar(loss))
        self._lr = self._lr if lr is None else number("lr", lr)
        self.number += 1
        self._run(lambda: self._finish_step(logs_lr=lr is not None))

    def log(self, metrics: Mapping[str, float]) -> None:
        """Log further numbers at the current step, such as {"val/accuracy": 0.93} after an evaluation."""
        self._check_open()
        scalars = {str(tag): number(show(tag), value) for tag, value in metrics.items()}
        if scalars:
            self._run(lambda: self._log(Record(self.number, 0.0, self._output.seconds(), scalars)))

    def _check_open(self) -> None:
        if self.closed:
            raise ConfigError("This watch is closed: call normexp.watch again to watch another training.")

    def _finish_step(self, *, logs_lr: bool) -> None:
        scalars: dict[str, float | None] = {}
        step, measured = self.number, Measurements()
        if self._snapshot is not None:
            measured = self._finish_snapshot(self._snapshot)
        if step == 1 or step % self._log_every == 0 or step == self._total or measured.scalars:
            scalars |= self._mean_loss()
            scalars |= {"lr": self._lr} if logs_lr else {}
        if step == 1 and measured.scalars:  # the probes saw the weights before the first update
            self._log(Record(0, 0.0, 0.0, measured.scalars, measured.histograms))
            measured = Measurements()
        if scalars or measured.scalars:
            self._log(Record(step, 0.0, self._output.seconds(), {**scalars, **measured.scalars}, measured.histograms))
        self._prepare()

    def _log(self, record: Record) -> None:
        self._output.log(record, 0 if self._total == NO_LAST_STEP else self._total)

    def _mean_loss(self) -> dict[str, float]:
        losses, self._losses = self._losses, []
        return {"train/loss": torch.stack(losses).mean().item()} if losses else {}

    def close(self, state: State = "completed", error: str | None = None) -> None:
        """Remove the hooks and finish the run directory. `with` calls it."""
        if self.closed:
            return
        self._disarm()
        self.closed = True
        total = self.number if state == "completed" or self._total == NO_LAST_STEP else self._total
        if self._failure is not None:
            state, error = "failed", self._failure
        with suppress(OSError):  # status.json still says `running`, which is read as killed
            self._output.close(state, error, self.number, total)

    def _prepare(self) -> None:
        """Hook the network if the next step is due. Other steps run without any hook."""
        number = self.number + 1
        if not self._probes.due(number, self._total):
            return
        scale = self._scaler.get_scale() if self._scaler is not None else 1.0
        samples = torch.empty(self._batch_size, 0)  # only its length is read
        step = Step(
            number, self._total, self.model, samples, samples, self._lr, loss_scale=scale, accumulate=self._accumulate
        )
        self._snapshot, self._grad_norms = self._probes.snapshot(step), None
        assert self._snapshot is not None
        if "torch._dynamo" in sys.modules:  # compiled modules call no hooks
            self._stance = torch.compiler.set_stance("force_eager")
        self._snapshot.__enter__()

    def _recorder(self, *args: Any) -> LoopRecorder:
        scaled = self._scaler is not None and self._scaler.is_enabled()
        self._current = LoopRecorder(
            *args, layers=self._found, after_backward=self._record_gradients, at_update=scaled, guard=self._run
        )
        return self._current

    def after_backward(self) -> None:
        """Record the gradients of this step, unless a hook has done so. For callbacks that know which backward
        pass is the last."""
        self._run(self._record_gradients)

    def _record_gradients(self) -> None:
        if self._snapshot is not None and self._grad_norms is None:
            self._grad_norms = self._norms.on_device()
            self._snapshot.after_backward()

    def _finish_snapshot(self, snapshot: Snapshot) -> Measurements:
        recorder = self._current
        assert recorder is not None
        self._record_gradients()  # if a GradScaler skipped the update
        snapshot.after_update()
        self._disarm()
        self._check_calls(recorder)
        with torch.enable_grad():  # of the derivative of activations
            measured = snapshot.measurements()
        assert self._grad_norms is not None
        norms = self._norms.by_layer(self._grad_norms.tolist()) if recorder.backward_passes else {}
        return Measurements({**norms, **measured.scalars}, measured.histograms)

    def _check_calls(self, recorder: LoopRecorder) -> None:
        """Warn if the hooks saw something else than `accumulate` training passes."""
        passes, what = recorder.backward_passes, f"step {self.number}"
        if recorder.calls == 0:
            self._warn(
                f"{what} had no forward pass of the network in training mode: call model.train(), and train no copy of it."
            )
        elif passes > self._accumulate:
            self._warn(f"{what} had {passes} backward passes: pass accumulate={passes} to normexp.watch.")

    def _disarm(self) -> None:
        """Remove the hooks."""
        if self._snapshot is not None:
            self._snapshot.__exit__()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
        self._snapshot = self._current = self._stance = None

    def _run(self, function: Callable[[], object]) -> None:
        """Run a part of recording. If it fails, stop recording: the training must not fail because of it."""
        if self._failure is not None:
            return
        try:
            function()
        except Exception as error:
            self._failure = f"recording stopped in step {self.number}: {describe(error)}"
            self._disarm()
            with suppress(OSError):
                self._output.note("recording failed\n" + traceback.format_exc())
            self._warn(f"{self._failure}. Training is not affected; train.log in {self.directory} has the details.")

    def _warn(self, message: str) -> None:
        warnings.warn(f"normexp.watch: {message}", stacklevel=4)

    def _charts(self) -> list[Chart]:
        norms = Chart("Whole network", "gradient norm of each layer's parameters", lines=[f"{GRAD_NORM}/.*"])
        return [Chart("Whole network", "loss", lines=["train/loss", "val/loss$"]), norms, *self._probes.charts()]
