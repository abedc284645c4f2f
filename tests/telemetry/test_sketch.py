"""Percentiles are as exact as they say."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lumni.telemetry.sketch import Sketch

VALUES = st.lists(st.floats(0, 1e8), min_size=1, max_size=300)
SHARES = st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0])


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def is_near(found: float | None, true: float) -> bool:
    return found is not None and math.isclose(found, true, rel_tol=Sketch.ACCURACY + 1e-9, abs_tol=Sketch.SMALLEST)


@given(VALUES, SHARES)
def test_a_percentile_is_within_one_percent(values: list[float], share: float) -> None:
    """002-14: of any numbers, against the sorted list."""
    true = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert is_near(sketch_of(values).quantile(share), true)


@given(VALUES, VALUES, SHARES)
def test_sketches_add_up(some: list[float], others: list[float], share: float) -> None:
    """002-14: the percentiles of a window are those of its minutes together."""
    merged, whole = Sketch.merged([sketch_of(some), sketch_of(others)]), sketch_of(some + others)
    assert merged.quantile(share) == whole.quantile(share)
    assert (merged.count, merged.largest) == (whole.count, whole.largest)


def test_nothing_measured_is_no_number() -> None:
    assert Sketch().quantile(0.5) is None
    assert Sketch().mean is None


def test_it_stays_small() -> None:
    """002-36: memory doesn't grow with the number of requests."""
    sketch = sketch_of([1e-3 * 1.01**n for n in range(2600)])
    assert sketch.largest > 86_400_000
    assert len(sketch.buckets) < 1300
