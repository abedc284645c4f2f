"""Limits that nobody states are found with few refusals."""

from hypothesis import given
from hypothesis import strategies as st

from lumni.quota.inference import AT_ONCE, FIRST_AT_ONCE, GROW_AFTER, MORE_AFTER, MOST_AT_ONCE, Inference
from lumni.quota.model import DAY, MINUTE, Correction, WindowState

REFUSED = Correction(refused=True)
NAMED = Correction("requests", MINUTE, limit=30, remaining=29)


def minute(used: int) -> tuple[WindowState, ...]:
    return (WindowState("p", "r60000", "requests", MINUTE, None, used, 0, 60.0, 60.0, "learned"),)


def test_a_refusal_without_a_number_shows_what_was_accepted() -> None:
    """000-20: and halves what is tried at once."""
    words = Inference().refused("p", [REFUSED], minute(5), now=0)
    assert words == (Correction("requests", AT_ONCE, limit=1), Correction("requests", MINUTE, limit=5))


def test_a_day_s_refusal_says_nothing_of_minutes() -> None:
    """000-22: nor does one that says when to come back: then that is obeyed."""
    inference = Inference()
    for word in (Correction("requests", DAY, refused=True), Correction(refused=True, reset_in=0.4)):
        assert [w.period for w in inference.refused("p", [word], minute(5), now=0)] == [AT_ONCE]


def test_a_refusal_that_blames_the_minute_shows_its_limit_though_it_says_when_to_come_back() -> None:
    """000-20: else every return would be one too soon."""
    blamed = Correction("requests", MINUTE, refused=True, reset_in=2.0)
    assert Correction("requests", MINUTE, limit=30) in Inference().refused("p", [blamed], minute(30), now=0)
    told = Correction(refused=True, reset_in=2.0)
    assert [w.period for w in Inference().refused("p", [told], minute(30), now=0)] == [AT_ONCE]


def test_an_inferred_limit_grows_while_nothing_is_refused() -> None:
    inference = Inference()
    inference.refused("p", [REFUSED], minute(8), now=0)
    assert inference.answered("p", [], now=GROW_AFTER - 1) == ()
    assert inference.answered("p", [], now=GROW_AFTER) == (Correction("requests", MINUTE, limit=10),)
    assert inference.answered("p", [], now=GROW_AFTER + 1) == ()


def test_what_the_provider_names_is_not_inferred() -> None:
    inference = Inference()
    inference.answered("p", [NAMED], now=0)
    assert [w.period for w in inference.refused("p", [REFUSED], minute(5), now=1)] == [AT_ONCE]


def test_successes_allow_more_at_once() -> None:
    inference = Inference()
    words = [w for n in range(2 * MORE_AFTER) for w in inference.answered("p", [], now=n)]
    assert [w.limit for w in words] == [FIRST_AT_ONCE + 1, FIRST_AT_ONCE + 2]


@given(st.lists(st.sampled_from(["answer", "named", "refusal"]), max_size=300))
def test_what_is_tried_at_once_stays_in_bounds(events: list[str]) -> None:
    """And what was found out survives a restart."""
    inference = Inference()
    for now, event in enumerate(events):
        if event == "refusal":
            words = inference.refused("p", [REFUSED], minute(now), now)
        else:
            words = inference.answered("p", [NAMED] if event == "named" else [], now)
        assert all(w.limit is not None and 1 <= w.limit <= max(MOST_AT_ONCE, 2 * now) for w in words)
        again = Inference()
        again.load(inference.dump())
        assert again.dump() == inference.dump()
