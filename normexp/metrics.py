"""Names, meanings, units and direction of metrics, by their tag."""

import re
from collections.abc import Iterable
from functools import cache

from normexp.records import GRAD_NORM, TOTAL_GRAD_NORM

DEFAULT_METRIC = "test/accuracy"

MAX_PLOTTED = 1e100
"""No float32 is this large. Larger values, from damaged files, are dropped like non-finite ones so that sums can't overflow."""

MEANINGS = {
    "train/loss": "mean training loss since the last log",
    "train/accuracy": "training accuracy since the last log",
    "val/loss": "loss on the validation set",
    "val/accuracy": "accuracy on the validation set: during training on a sample (eval_samples), at the end on all of it",
    "val/loss_batch_statistics": "val/loss with batch statistics instead of running statistics",
    "val/accuracy_batch_statistics": "val/accuracy with batch statistics instead of running statistics",
    "test/loss": "loss on the test set",
    "test/accuracy": "accuracy on the test set",
    "convergence/steps_to_PERCENT": "steps until validation accuracy reached this percentage",
    "convergence/seconds_to_PERCENT": "seconds until validation accuracy reached this percentage",
    "convergence/best_accuracy": "best validation accuracy during training, mostly on the sample (eval_samples)",
    "convergence/best_step": "step of the best validation accuracy",
    "convergence/area_under_curve": "mean validation accuracy over the steps",
    "lr": "learning rate",
    TOTAL_GRAD_NORM: "gradient norm of all parameters, before clipping",
    f"{GRAD_NORM}/LAYER": "gradient norm of the layer's parameters, before clipping",
    "running_var_ratio/LAYER": "running variance over the variance in evaluation",
    "speed/samples_per_second": "training speed, without evaluations",
    "amp/loss_scale": "loss scale of amp=fp16",
}
"""Meanings of the metrics that don't come from a probe, by tag. LAYER and PERCENT are placeholders."""


def higher_is_better(metric: str) -> bool:
    """True for accuracies, the area under their curve, and speeds."""
    return any(part in metric for part in ("accuracy", "area_under_curve", "per_second"))


def has_direction(metric: str) -> bool:
    """Whether lower or higher is better: for losses, accuracies, convergence and speed, but not for diagnostics of probes."""
    return metric.startswith(("train/", "val/", "test/", "convergence/", "speed/"))


def is_fraction(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is displayed in percent."""
    return "accuracy" in metric or "area_under_curve" in metric


def metric_title(metric: str) -> str:
    """'test accuracy' for test/accuracy, 'steps to 90 % val accuracy' for convergence/steps_to_90."""
    metric = re.sub(r"convergence/(\w+_to_\d+)", r"\1 % val accuracy", metric)
    return metric.replace("/", " ").replace("_", " ")


def metric_heading(tag: str) -> str:
    """'Validation accuracy' for val/accuracy."""
    words = ({"train": "training", "val": "validation"}.get(word, word) for word in metric_title(tag).split(" "))
    title = " ".join(words).strip()
    return title[:1].upper() + title[1:]


def metric_axis(metric: str) -> str:
    """'test accuracy (%)' for test/accuracy."""
    return metric_title(metric) + (" (%)" if is_fraction(metric) else "")


def format_metric(value: float | None, metric: str) -> str:
    """'97.42 %', '0.1235', or '-' for None."""
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if is_fraction(metric) else f"{value:.4g}"


def format_spread(value: float, spread: float, *, sign: str = "") -> str:
    """'0.0652 ± 0.0092': both rounded to the second significant digit of the spread. sign: '+' to show it."""
    if abs(value) < 1e6 and spread < 1e6:
        place = _exponent(spread) - 1 if spread else 0 if float(value).is_integer() else _exponent(value) - 3
        if place >= -6:
            value, spread, decimals = round(value, -place), round(spread, -place), max(0, -place)
            return f"{value:{sign}.{decimals}f} ± {spread:.{decimals}f}"
    return f"{value:{sign}.4g} ± {spread:.2g}"


def _exponent(value: float) -> int:
    """-2 for 0.065."""
    return int(f"{value:.1e}".partition("e")[2])


def find_pattern(tag: str, patterns: Iterable[str]) -> str | None:
    """The pattern that describes a tag, such as grad_flow/LAYER for grad_flow/fc1, or activation_in/LAYER for
    activation_in/fc1/mean. Patterns without a placeholder come first. Returns None for an unknown tag."""
    matching = (pattern for pattern in patterns if _as_regex(pattern).fullmatch(tag))
    return min(matching, key=lambda pattern: pattern != pattern.lower(), default=None)


@cache
def _as_regex(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"[A-Z]+", "[^/]+", re.escape(pattern)) + "(/.*)?")
