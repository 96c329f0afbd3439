"""Modules of recurrent networks. A sequence is (B, F, T), T time steps of F features, as tokens are."""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normexp.models.layer import Layer
from normexp.models.observed import has_hooks
from normexp.norms.bn_module import StepBatchNorm
from normexp.streams import stream_seed

Normalize = Callable[[str, Tensor], Tensor]
"""Apply the norm of a named part, if it has one, to (B, C)."""

Maps = tuple[tuple[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""Weight and bias of the input and of the hidden map."""

Computed = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Hidden state and cell state of a time step, and the inputs of its gates by name: (B, H) each."""


class Sequence(nn.Module):
    """Images (B, C, H, W) as sequences of their rows, (B, C W, H), or pixels, (B, C, H W); vectors (B, T) as (B, 1, T)."""

    order: Tensor | None

    def __init__(self, kind: str, steps: int) -> None:
        super().__init__()
        self.kind = kind
        # The same order for every run, whatever its seed, so that all learn the same task.
        generator = torch.Generator().manual_seed(stream_seed(0, "order of pixels"))
        order = torch.randperm(steps, generator=generator) if kind == "permuted" else None
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "rows":
            return x.transpose(1, 2).flatten(2).mT
        x = x[:, None] if x.dim() == 2 else x.flatten(2)
        return x if self.order is None else x[:, :, self.order]


class LastStep(nn.Module):
    """(B, H, T) -> (B, H): the last time step."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, -1]


class RecurrentLayer(nn.Module):
    """A recurrent layer, (B, F, T) -> (B, H, T): the cells of nn.RNN, nn.LSTM and nn.GRU, with norms between their parts.

    Without a norm, torch's own kernels compute it. Its layers, other than `out`, are called only if they have hooks: with the
    values that were computed, and without gradients. In training, hooks on the norms see the observed time steps alone.

    observed: the time steps whose gates are shown to probes, by the last part of their layers' names. noise_h0: standard
    deviation of the first hidden state in training (Cooijmans et al. 2017, section 5).
    """

    input: Layer
    hidden: Layer
    out: Layer

    def __init__(self, cell: str, layers: Mapping[str, Layer], *, observed: Mapping[str, int], noise_h0: float) -> None:
        super().__init__()
        self.kind, self.noise_h0, self.observed = cell, noise_h0, dict(observed)
        for name, layer in layers.items():
            gate, _, step = name.partition(".")
            if step and not hasattr(self, gate):
                self.add_module(gate, nn.Module())
            self.get_submodule(gate if step else "").add_module(step or gate, layer)
        self.shown = [name for name in layers if name != "out"]
        self.hidden_size, self.steps = layers["hidden"].plan.inputs
        # A copy, whose hooks would be called at each step.
        self.activation = copy.deepcopy(layers["h.first"].get_submodule("activation")) if cell == "rnn" else None
        normed = any(hasattr(layer, "norm") for layer in layers.values())
        self.native = not normed and (cell != "rnn" or isinstance(self.activation, nn.Tanh | nn.ReLU))

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), self.hidden_size)
        if self.training and self.noise_h0:
            h = torch.randn_like(h) * self.noise_h0
        trace = _Trace() if any(map(has_hooks, map(self.get_submodule, self.shown))) else None
        weights = _weights(self.input), _weights(self.hidden)
        y = self._by_torch(x, h, weights) if self.native else self._by_steps(x, h, weights, trace)
        if trace is not None:
            with torch.no_grad():
                if self.native:
                    self._by_steps(x, h, weights, trace)
                self._show(x, trace)
        z: Tensor = self.out(y)
        return z

    def _by_torch(self, x: Tensor, h: Tensor, maps: Maps) -> Tensor:
        (w, w_bias), (u, u_bias) = maps
        assert w_bias is not None and u_bias is not None
        state, weights = h[None], [w, u, w_bias, u_bias]
        options = True, 1, 0.0, self.training, False, True  # biases, layers, dropout, train, bidirectional, batch first
        if self.kind == "lstm":
            y: Tensor = torch.lstm(x.mT, (state, torch.zeros_like(state)), weights, *options)[0]
        elif self.kind == "gru":
            y = torch.gru(x.mT, state, weights, *options)[0]
        else:
            kernel = torch.rnn_tanh if isinstance(self.activation, nn.Tanh) else torch.rnn_relu
            y = kernel(x.mT, state, weights, *options)[0]
        return y.mT

    def _by_steps(self, x: Tensor, h: Tensor, maps: Maps, trace: "_Trace | None") -> Tensor:
        (w, w_bias), (u, u_bias) = maps
        norms = {name: self._norms(layer) for name, layer in self.named_children() if hasattr(layer, "norm")}
        a = F.linear(x.permute(2, 0, 1), w, w_bias)  # (T, B, gates H)
        if "input" in norms and self.input.plan.site("norm").steps == 1:  # type: ignore[union-attr]
            a = norms.pop("input")[0](a.flatten(0, 1)).unflatten(0, a.shape[:2])
        step = {"rnn": self._elman, "lstm": self._lstm, "gru": self._gru}[self.kind]
        c, states = torch.zeros_like(h), []
        for t, a_t in enumerate(a.unbind(0)):
            normalize = partial(_normalize, norms, t, trace)
            b = F.linear(h, u, u_bias)
            if trace is not None:
                trace.states.append(h)
            h, c, gates = step(normalize, normalize("input", a_t), normalize("hidden", b), h, c)
            if trace is not None and t in self.observed.values():
                trace.gates[t] = gates
            states.append(h)
        return torch.stack(states).permute(1, 2, 0)

    def _elman(self, normalize: Normalize, a: Tensor, b: Tensor, h: Tensor, c: Tensor) -> Computed:
        assert self.activation is not None
        s = normalize("sum", a + b)
        return self.activation(s), c, {"h": s}

    def _lstm(self, normalize: Normalize, a: Tensor, b: Tensor, h: Tensor, c: Tensor) -> Computed:
        i, f, g, o = normalize("sum", a + b).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        n = normalize("cell", c)
        return o.sigmoid() * n.tanh(), c, {"i": i, "f": f, "g": g, "o": o, "c": n}

    def _gru(self, normalize: Normalize, a: Tensor, b: Tensor, h: Tensor, c: Tensor) -> Computed:
        size = [2 * self.hidden_size, self.hidden_size]
        (a_rz, a_n), (b_rz, b_n) = a.split(size, 1), b.split(size, 1)
        r, z = normalize("sum", a_rz + b_rz).chunk(2, 1)
        n = normalize("candidate", a_n + r.sigmoid() * b_n)  # not addcmul and lerp, since amp mixes types
        candidate = n.tanh()
        return candidate + z.sigmoid() * (h - candidate), c, {"r": r, "z": z, "n": n}

    def _norms(self, layer: nn.Module) -> list[Callable[[Tensor], Tensor]]:
        """The layer's norm at each time step."""
        norm, observed = layer.get_submodule("norm"), self.observed.values()
        at_steps = [norm.at(t) if isinstance(norm, StepBatchNorm) else norm for t in range(self.steps)]
        return [each if t in observed or not self.training else each.forward for t, each in enumerate(at_steps)]

    def _show(self, x: Tensor, trace: "_Trace") -> None:
        """Call the layers with what was computed, in the order of their plans."""
        for name in self.shown:
            layer = self.get_submodule(name)
            gate, _, step = name.partition(".")
            if step:
                layer(trace.gates[self.observed[step]][gate])
                continue
            if not has_hooks(layer):
                continue
            inputs, outputs = zip(*trace.parts[name], strict=True)
            others = trace.states if name == "hidden" else inputs
            before = x if name == "input" else torch.stack(others).permute(1, 2, 0)
            layer(before, torch.stack(outputs).permute(1, 2, 0))


class _Trace:
    """Values that a recurrent layer computes in a forward pass.

    parts: inputs and outputs of the norms, (B, C), at each time step, by the part's name. states: hidden states before each step.
    gates: inputs of the gates at the observed steps.
    """

    def __init__(self) -> None:
        self.parts: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self.states: list[Tensor] = []
        self.gates: dict[int, dict[str, Tensor]] = {}


def _normalize(
    norms: Mapping[str, list[Callable[[Tensor], Tensor]]], t: int, trace: _Trace | None, name: str, x: Tensor
) -> Tensor:
    """The output of the named part's norm at time step t; x, if it has none."""
    y = norms[name][t](x) if name in norms else x
    if trace is not None:
        trace.parts[name].append((x, y))
    return y


def _weights(layer: Layer) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer; `weight=ws` and the like compute it anew each time that it is read."""
    linear = layer.get_submodule("weight")
    assert isinstance(linear, nn.Linear)
    return linear.weight, linear.bias
