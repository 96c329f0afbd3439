"""Movement of the median of each activation's inputs, relative to their spread."""

from typing import Any, ClassVar

from normexp.probes.base import Measurements, Probe, Recorder


class Drift(Probe):
    """drift/LAYER: |median - median at step 0| / interquartile range at step 0, of the activation's inputs.
    drift_last/LAYER: the same relative to the previous snapshot. Undefined if the range was 0.

    With a sample of n values, a layer that has not moved reads about 1 / sqrt(n): for Gaussian values, each median has a
    standard error of 1.25 std / sqrt(n), and the range is 1.35 std.
    """

    titles: ClassVar = {"drift": "drift of the median activation input since step 0, in interquartile ranges"}
    meanings: ClassVar = {
        "drift/LAYER": "shift of the median of the activation's inputs since step 0, in interquartile ranges",
        "drift_last/LAYER": "the same shift since the previous snapshot",
    }

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.last = {"first": {}, "last": {}}  # median and interquartile range by layer, at step 0 and most recently

    def before_forward(self, recorder: Recorder) -> None:
        for name, activation in self.activations.items():
            recorder.sample_input(f"activation_in/{name}", activation)

    def report(self, recorder: Recorder) -> Measurements:
        scalars: dict[str, float | None] = {}
        first, last = self.last["first"], self.last["last"]
        for name in self.layers:
            distribution = recorder.distributions.get(f"activation_in/{name}")
            if distribution is None:
                continue
            low, median, high = (distribution.percentiles[p] for p in (25, 50, 75))
            if low is None or median is None or high is None:  # no finite values
                continue
            now = median, high - low
            if recorder.step.number == 1:
                first[name] = now
            for tag, reference in (("drift", first.get(name)), ("drift_last", last.get(name))):
                if reference is not None:
                    before, spread = reference
                    scalars[f"{tag}/{name}"] = abs(median - before) / spread if spread > 0 else None
            last[name] = now
        return Measurements(scalars)


ENTRY = Drift
