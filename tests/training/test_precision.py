"""Mixed precision, torch.compile and matmul precision: norms stay in float32, runs stay reproducible."""

import dataclasses
import os
import shutil

import pytest
import torch
from same_runs import differences
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from normexp.config import ConfigError
from normexp.models.build import build_model
from normexp.models.layer import in_float32
from normexp.rundir import read_metrics
from normexp.streams import stream_seed
from normexp.training import precision
from normexp.training.build import build, memory_format
from normexp.training.precision import Precision, check_compiler, set_precision
from tests.conftest import compose
from tests.norms.test_norms import expected
from tests.training import short
from tests.training.short import SMALL, resume, terminate, train, train_and_record

NORMS = ["norm=bn", "norm=bn norm.affine=false", "norm=ln", "norm=in", "norm=in norm.affine=false", "norm=gn"]


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize("norm", NORMS)
def test_norms_compute_in_float32(norm, amp):
    parts = build(compose(*SMALL, f"amp={amp}", *norm.split()))
    seen = []
    modules = [m for m in parts.model.modules() if isinstance(m, _NormBase | nn.GroupNorm)]
    for module in modules:
        module.register_forward_hook(lambda m, inputs, output: seen.append((m, inputs[0].detach().double(), output)))
    inputs, _ = parts.data.train.batch(torch.arange(64))
    with parts.precision.autocast():
        logits = parts.model(inputs * 7 + 30)
    assert logits.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    assert len(seen) == len(modules) > 0
    for module, entered, left in seen:
        assert left.dtype == torch.float32
        assert torch.allclose(left.double(), expected(norm.split()[0][5:], entered), rtol=1e-4, atol=1e-4)
        if getattr(module, "running_mean", None) is not None:
            over = [0, *range(2, entered.dim())]
            assert module.running_mean.dtype == module.running_var.dtype == torch.float32
            assert torch.allclose(module.running_mean.double(), 0.1 * entered.mean(over), rtol=1e-5, atol=1e-5)
            assert torch.allclose(module.running_var.double(), 0.9 + 0.1 * entered.var(over), rtol=1e-5)


class Whitened(nn.Module):
    """A user's norm with a matrix product, which autocast would compute in 16 bits."""

    def forward(self, x):
        return x @ (x.T @ x)


def test_a_users_norm_computes_in_float32():
    x = torch.randn(8, 4).bfloat16()
    norm = in_float32(Whitened)()
    with torch.autocast("cpu", torch.bfloat16):
        left = norm(x)
    assert left.dtype == torch.float32
    assert torch.allclose(left, Whitened()(x.float()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_comes_close_to_float32(amp):
    exact, mixed = (train_and_record(*more, "probe.gradients=true")[0] for more in ([], [f"amp={amp}"]))
    first, last = (
        [(e.scalars, m.scalars) for e, m in zip(exact, mixed, strict=True) if e.step == step] for step in (1, 12)
    )
    ((e, m),) = first
    tags = [tag for tag in e if tag.startswith(("grad_norm/", "train/loss"))]
    assert len(tags) > 3
    assert {t: m[t] for t in tags} == pytest.approx({t: e[t] for t in tags}, rel=0.05)
    assert any(m[t] != e[t] for t in tags)
    looked = zip(exact, mixed, strict=True)
    for e, m in ((e.scalars, m.scalars) for e, m in looked if "grad_flow/conv1" in e.scalars and e.step == 0):
        flows = [tag for tag in e if tag.startswith("grad_flow/")]
        assert {t: m[t] for t in flows} == pytest.approx({t: e[t] for t in flows}, rel=0.05)
        break
    else:
        pytest.fail("nobody looked at the gradients")
    ((e, m),) = last
    assert m["val/loss"] == pytest.approx(e["val/loss"], abs=0.1)


def test_an_overflowing_loss_scale_shrinks_and_is_no_divergence(monkeypatch):
    real = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, **more: real(device, init_scale=2.0**24, **more))
    records, parts, outcome = train_and_record("amp=fp16", "log_every=1", "lr=0.01")
    scales = [r.scalars["amp/loss_scale"] for r in records if "amp/loss_scale" in r.scalars]
    assert outcome.state == "completed"
    assert scales[0] == 2.0**24
    assert scales[-1] < scales[0]
    assert all(torch.isfinite(p).all() for p in parts.model.parameters())


def test_a_network_that_diverges_in_fp16_diverges():
    *_, outcome = train_and_record("amp=fp16", "norm=none", "model=mlp", "lr=1000", "optim.momentum=0.9")
    assert outcome.state == "diverged"


@pytest.mark.parametrize("more", [["amp=bf16", "norm=ln", "dropout=0.2"], ["amp=fp16"]])
def test_resuming_a_16_bit_run_gives_the_same_result(tmp_path, at_step, more):
    whole = train(tmp_path / "whole", *more)
    at_step(8, terminate)
    part = train(tmp_path / "part", *more)
    assert part.state == "interrupted"
    resume(part.directory, *more)
    assert differences(whole.directory, part.directory) == []


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # what torch says to itself when its compiler is imported
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
def test_a_compiled_model_trains_alike_and_resumes(tmp_path, at_step):
    small = ["model=mlp", "model.depth=1", "model.width=8"]
    eager = train(tmp_path / "eager", *small)
    whole = train(tmp_path / "whole", *small, "compile=true")
    at_step(8, terminate)
    part = train(tmp_path / "part", *small, "compile=true")
    resume(part.directory, *small, "compile=true")
    assert differences(whole.directory, part.directory) == []
    for e, c in zip(read_metrics(eager.directory), read_metrics(whole.directory), strict=True):
        tags = [tag for tag in e if tag.startswith(("train/loss", "val/loss", "grad_norm/"))]
        assert {t: c[t] for t in tags} == pytest.approx({t: e[t] for t in tags}, rel=1e-3, abs=1e-5)


def test_compiling_does_not_change_the_model(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    plain, compiled = (build(compose(*SMALL, *more)) for more in ([], ["compile=true"]))
    before, after = plain.model.state_dict(), compiled.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in compiled.model.parameters())
    assert torch.equal(
        torch.get_rng_state(), torch.Generator().manual_seed(stream_seed(0, "dropout and noise")).get_state()
    )


def test_compile_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        build(compose(*SMALL, "compile=true"))


def test_compile_on_a_gpu_needs_triton_and_a_c_compiler(monkeypatch):
    gpu = torch.device("cuda")
    there = {"gcc"}
    monkeypatch.setattr(precision, "find_spec", lambda name: name if name in there else None)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ConfigError, match="needs the package triton"):
        check_compiler(gpu)
    there.add("triton")
    check_compiler(gpu)
    there ^= {"gcc", "clang"}
    check_compiler(gpu)
    there.remove("clang")
    with pytest.raises(
        ConfigError, match="needs a C compiler, but gcc was not found; install it, or set \\$CC to another one"
    ) as raised:
        check_compiler(gpu)
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("CC", "icx")
    with pytest.raises(ConfigError, match="icx was not found"):
        check_compiler(gpu)


@pytest.mark.long
def test_while_warming_up_each_graph_starts_without_gradients(monkeypatch):
    """Gradients of a CUDA graph live in its memory, and its next replay can't add to them."""
    model, seen = nn.Linear(3, 2), []

    def compile_model(model, **_):
        def forward(inputs):
            seen.append([parameter.grad for parameter in model.parameters()])
            return model(inputs)

        return forward

    class OnGPU(torch.Tensor):
        is_cuda = True

    monkeypatch.setattr(torch, "compile", compile_model)
    monkeypatch.setattr(precision, "check_compiler", lambda device: None)
    precision.compile_forward(model, torch.randn(4, 3).as_subclass(OnGPU), Precision(compose(), torch.device("cpu")))
    assert seen == [[None, None]] * 3
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_training_step_starts_without_the_gradients_of_the_last(monkeypatch):
    seen = []
    real = short.build

    def build(config):
        parts = real(config)

        def forward(inputs):
            seen.extend(parameter.grad for parameter in parts.model.parameters())
            return parts.model(inputs)

        return dataclasses.replace(parts, forward=forward)

    monkeypatch.setattr(short, "build", build)
    short.train_and_record("probe=off")
    assert seen
    assert set(seen) == {None}


@pytest.fixture
def torchs_own_settings():
    """Restore the process-wide settings that `set_precision` makes for a GPU."""
    names = ("CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_DETERMINISTIC")
    before = {name: os.environ.pop(name, None) for name in names}
    tf32 = torch.backends.cudnn.allow_tf32
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("highest")
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.mark.usefixtures("torchs_own_settings")
def test_a_gpu_computes_deterministically_without_filling_memory():
    for products, tf32 in (("highest", False), ("high", True)):
        set_precision(compose(f"matmul_precision={products}"), torch.device("cuda"))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
        assert torch.backends.cudnn.allow_tf32 is tf32
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert os.environ["TORCHINDUCTOR_DETERMINISTIC"] == "1"


@pytest.mark.parametrize("norm", NORMS)
def test_a_model_has_the_memory_format_that_suits_its_norm(norm):
    model = build_model(compose(*norm.split()))
    on_gpu = torch.channels_last if norm.startswith("norm=bn") else torch.contiguous_format
    assert memory_format(model, torch.device("cpu")) == torch.channels_last
    assert memory_format(model, torch.device("cuda")) == on_gpu


def test_the_precision_of_products_is_that_of_the_config():
    build(compose(*SMALL, "matmul_precision=medium"))
    assert torch.get_float32_matmul_precision() == "medium"
    build(compose(*SMALL))
    assert torch.get_float32_matmul_precision() == "highest"
