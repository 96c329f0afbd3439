"""Names, units and direction of metrics, by their tag."""

DEFAULT_METRIC = "test/accuracy"

MAX_PLOTTED = 1e100
"""No float32 is this large. Such values, from damaged files, are dropped like non-finite ones, so sums can't overflow."""


def higher_is_better(metric: str) -> bool:
    """True for accuracies, the area under their curve, and speeds; False for everything else."""
    return any(part in metric for part in ("accuracy", "area_under_curve", "per_second"))


def is_fraction(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is displayed in percent."""
    return "accuracy" in metric or "area_under_curve" in metric


def metric_title(metric: str) -> str:
    """'test accuracy' for test/accuracy."""
    return metric.replace("/", " ").replace("_", " ")


def metric_heading(tag: str) -> str:
    """'Validation accuracy' for val/accuracy."""
    first, *rest = metric_title(tag).split(" ")
    return " ".join([{"train": "Training", "val": "Validation"}.get(first, first.capitalize()), *rest]).strip()


def metric_axis(metric: str) -> str:
    """'test accuracy (%)' for test/accuracy."""
    return metric_title(metric) + (" (%)" if is_fraction(metric) else "")


def format_metric(value: float | None, metric: str) -> str:
    """'97.42 %', '0.1235', or '-' for None."""
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if is_fraction(metric) else f"{value:.4g}"
