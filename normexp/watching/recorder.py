"""The recorder of a step of someone else's loop: which calls it sees, and in which layout."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from normexp.probes.base import Recorder, Step
from normexp.probes.distribution import Distributions
from normexp.probes.sampling import Sampler
from normexp.watching.layers import ChannelsFirst, FoundLayer

Hook = Callable[[Tensor], None]


class LoopRecorder(Recorder):
    """Sees the calls of modules in training mode with gradients, and nothing else: no evaluation, and no second forward pass of
    activation checkpointing, which runs during the backward pass.

    after_backward: called once the gradients of the step are complete: at the end of the last backward pass, before clipping.
    Right before `optimizer.step` instead with `at_update`, when a GradScaler has unscaled them, and for an accumulation that
    ended early. guard: runs a function and handles its exceptions.
    """

    def __init__(
        self,
        step: Step,
        sampler: Sampler,
        describe: Distributions,
        *,
        layers: Mapping[str, FoundLayer],
        after_backward: Callable[[], None],
        at_update: bool,
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        super().__init__(step, sampler, describe)
        self.backward_passes = 0
        self.calls = 0
        self._after_backward, self._at_update, self._guard = after_backward, at_update, guard
        self._channels_first = ChannelsFirst(layers)
        self._graph_task = -1
        self._inputs: dict[nn.Module, list[Hook]] = {}
        self._outputs: dict[nn.Module, list[Hook]] = {}
        self._calls: dict[nn.Module, list[Hook]] = {}
        for module in {layer.layer: None for layer in layers.values()}:
            self.add_hook(module.register_forward_pre_hook(Call(self._before_call), with_kwargs=True))
            self.add_hook(module.register_forward_hook(Call(self._after_call)))
        self.add_hook(register_optimizer_step_pre_hook(self._before_update))

    def on_input(self, module: nn.Module, hook: Hook) -> None:
        self._inputs.setdefault(module, []).append(hook)

    def on_output(self, module: nn.Module, hook: Hook) -> None:
        self._outputs.setdefault(module, []).append(hook)

    def on_call(self, module: nn.Module, hook: Hook) -> None:
        self._calls.setdefault(module, []).append(hook)

    def _before_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if hooks := self._inputs.get(module):
            self._run(module, hooks, first_tensor((*args, *kwargs.values())))

    def _after_call(self, module: nn.Module, args: object, output: object) -> None:
        if self._recording() and (tensor := first_tensor(output)) is not None:
            self.calls += 1
            self._channels_first.called(module, tensor)
            if tensor.requires_grad:
                tensor.register_hook(self._in_backward)
            for hook in self._calls.get(module, ()):
                self._guard(partial(hook, tensor))
            self._run(module, self._outputs.get(module, ()), tensor)

    def _run(self, module: nn.Module, hooks: Iterable[Hook], values: Tensor | None) -> None:
        if values is not None and values.numel() and self._recording():
            values = self._channels_first(module, values.detach())
            for hook in hooks:
                self._guard(partial(hook, values))

    def _recording(self) -> bool:
        return self.step.model.training and torch.is_grad_enabled() and not in_backward()

    def _in_backward(self, _: Tensor) -> None:
        task = torch._C._current_graph_task_id()
        if task != self._graph_task:
            self._graph_task = task
            Variable._execution_engine.queue_callback(self._end_backward)

    def _end_backward(self) -> None:
        self.backward_passes += 1
        if self.backward_passes < self.step.accumulate:
            self.start_micro_batch(self.backward_passes)
        elif self.backward_passes == self.step.accumulate and not self._at_update:
            self._guard(self._after_backward)

    def _before_update(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        own = set(self.step.model.parameters())
        if self.backward_passes and any(p in own for group in optimizer.param_groups for p in group["params"]):
            self._guard(self._after_backward)


class Call:
    """A hook that does nothing in a copy of the network, such as one for a moving average of the weights, or a saved one."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __reduce__(self) -> tuple[Callable[..., "Call"], tuple[Callable[..., None]]]:
        return Call, (ignore,)


def ignore(*args: object) -> None:
    pass


def in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def first_tensor(values: object) -> Tensor | None:
    """The first tensor of floats among a module's inputs or outputs."""
    match values:
        case Tensor():
            return values if values.is_floating_point() and not values.is_sparse else None
        case tuple() | list():
            return next((tensor for value in values if (tensor := first_tensor(value)) is not None), None)
        case dict():
            return first_tensor(tuple(values.values()))
    return None
