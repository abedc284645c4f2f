"""What requests are told of a deployment's quota is what its windows say, though it is found out once for many."""

from hypothesis import given
from hypothesis import strategies as st

from lumni.gateway.outlook import Outlook
from lumni.quota.model import DAY, MINUTE, Amounts, Kind, WindowState
from lumni.quota.standing import Standing
from lumni.quota.strategies import scarcity

KINDS: tuple[Kind, ...] = ("requests", "tokens", "input_tokens", "output_tokens")
NEEDS = st.builds(Amounts, st.just(1), st.integers(0, 300), st.integers(0, 300))


@st.composite
def windows(draw: st.DrawFn) -> WindowState:
    limit = draw(st.none() | st.integers(0, 400))
    kind, period = draw(st.sampled_from(KINDS)), draw(st.sampled_from((MINUTE, DAY, 0.001)))
    used, reserved = draw(st.integers(0, 400)), draw(st.integers(0, 20))
    reset, blocked = draw(st.floats(0, period)), draw(st.sampled_from((0.0, 0.0, 5.0)))
    return WindowState("pool", f"{kind[0]}{period}", kind, period, limit, used, reserved, reset, blocked, "configured")


def part(window: WindowState, need: Amounts) -> float:
    if window.blocked_in > 0 or not window.limit:
        return 0.0
    return max(0, (window.left or 0) - need.of(window.kind)) / window.limit


def price(window: WindowState, need: Amounts) -> float:
    running = window.reserved > 0 and window.reset_in <= 0
    time = min(1.0, (window.period if running else window.reset_in) / window.period)
    left = part(window, need)
    return 0.0 if left >= time else scarcity(1 - left / time)


@given(st.lists(windows(), max_size=4), NEEDS)
def test_an_outlook_says_what_the_windows_say(found: list[WindowState], need: Amounts) -> None:
    """000-18: the scarcest window decides; one without a limit, or of what runs at once, only about now."""
    told = Outlook(Standing(windows=tuple(found))).availability(need, 3.0)
    clocked = [window for window in found if window.limit is not None and window.period > 1]
    assert told.headroom == min((part(window, need) for window in clocked), default=1.0)
    assert told.room == all(window.left is None or window.left >= need.of(window.kind) for window in found)
    assert bool(told.unfit) == any((window.limit or 0) < need.of(window.kind) for window in clocked)
    if not clocked:
        assert told.price is None
    elif any(window.blocked_in > 0 for window in clocked):
        assert told.price == 1.0
    else:
        assert told.price == max(price(window, need) for window in clocked)


def test_what_is_out_of_order_has_no_headroom() -> None:
    """000-18: whatever its quota."""
    told = Outlook(Standing(0.0, "3 failures in a row", 60.0)).availability(Amounts(), 0.0)
    assert (told.headroom, told.blocked, told.until, told.room) == (0.0, "3 failures in a row", 60.0, False)
