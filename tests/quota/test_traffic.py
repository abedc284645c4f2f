"""How often deployments were called of late, and how quickly they answered."""

import pytest

from lumni.quota.traffic import HALF_LIFE, Traffic


def test_calls_count_half_after_their_half_life() -> None:
    """000-13"""
    traffic = Traffic()
    assert traffic.calls("a", 0) == 0
    for _ in range(4):
        traffic.called("a", 1000)
    assert traffic.calls("a", 1000) == 4
    assert traffic.calls("a", 1000 + HALF_LIFE) == pytest.approx(2)
    traffic.called("a", 1000 + HALF_LIFE)
    assert traffic.calls("a", 1000 + 2 * HALF_LIFE) == pytest.approx(1.5)
    assert traffic.calls("a", 0) == pytest.approx(3), "a clock that was set back doesn't make old calls more"


def test_latency_follows_what_was_measured_of_late() -> None:
    """002-03: the first measure counts whole, then each a fifth."""
    traffic = Traffic()
    assert traffic.latency("a") is None
    traffic.answered("a", 2.0)
    assert traffic.latency("a") == 2.0
    traffic.answered("a", 7.0)
    assert traffic.latency("a") == pytest.approx(3.0)
    for _ in range(100):
        traffic.answered("a", 0.5)
    assert traffic.latency("a") == pytest.approx(0.5)


def test_turns_go_on_for_each_set_of_candidates() -> None:
    """000-12: and are forgotten before they fill the memory."""
    traffic = Traffic()
    assert [traffic.turn(("a", "b")) for _ in range(3)] == [0, 1, 2]
    assert traffic.turn(("a", "c")) == 0
    for number in range(2000):
        traffic.turn((str(number),))
    assert len(traffic._turns) <= 1002


def test_latencies_survive_a_restart() -> None:
    """000-38"""
    traffic, again = Traffic(), Traffic()
    traffic.answered("a", 2.0)
    traffic.called("b", 1.0)
    again.load(traffic.dump())
    assert (again.latency("a"), again.latency("b")) == (2.0, None)
