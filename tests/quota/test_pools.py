"""A catalogue's pools: shared as providers share them, the same objects each time, each number with its source."""

from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.limits import PERIODS, Limit, PoolLimits
from lumni.catalogue.model import Catalogue, Deployment
from lumni.quota.inference import cautious, is_unknown
from lumni.quota.model import DAY, HOUR, MINUTE, MONTH, Pool
from lumni.quota.pools import LEARNED, Pools

NAMES = ("groq/a", "groq/b", "groq", "physics")
kinds = st.sampled_from(("requests", "tokens", "input_tokens", "output_tokens"))
limits = st.builds(
    Limit,
    kinds,
    st.sampled_from(sorted(PERIODS.values())),
    st.none() | st.integers(1, 10**9),
    provenance=st.sampled_from(("configured", "catalogue")),
    source=st.sampled_from(("here", "there")),
    as_of=st.just(date(2026, 7, 18)),
)


def deployment(id_: str, *pools: PoolLimits, disabled: str = "", counts_max_tokens: bool = False) -> Deployment:
    return Deployment(
        id_, id_, "groq", "groq", f"groq/{id_}", {}, disabled=disabled, pools=pools, counts_max_tokens=counts_max_tokens
    )


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    count = draw(st.integers(0, 5))
    return Catalogue(
        tuple(
            deployment(
                str(number),
                *(
                    PoolLimits(name, tuple(draw(st.lists(limits, max_size=4, unique_by=lambda x: (x.kind, x.period)))))
                    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
                ),
                disabled=draw(st.sampled_from(("", "", "no key"))),
            )
            for number in range(count)
        )
    )


@given(catalogues())
def test_whoever_draws_on_a_pool_gets_the_same_object(catalogue: Catalogue) -> None:
    """000-20: as many pools as names, each deployment's in its own order, and each pool knows its deployments."""
    pools = Pools(catalogue)
    known = {pool.id: pool for pool in pools.all}
    assert len(known) == len(pools.all)
    for each in catalogue.enabled:
        assert [pool.id for pool in pools.of(each.id)] == [pool.name for pool in each.pools]
        assert all(pool is known[pool.id] for pool in pools.of(each.id))
        assert all(pool is again for pool, again in zip(pools.of(each.id), pools.of(each.id), strict=True))
    for name in known:
        assert pools.deployments(name) == tuple(d.id for d in catalogue.enabled if name in {p.name for p in d.pools})


@given(catalogues())
def test_a_window_is_never_weaker_than_what_anybody_configured(catalogue: Catalogue) -> None:
    """000-21, 000-23: the smallest configured number holds, else the smallest of the catalogue of free tiers."""
    pools = Pools(catalogue)
    for pool in pools.all:
        stated = [limit for d in catalogue.enabled for p in d.pools if p.name == pool.id for limit in p.limits]
        windows = [w for w in pool.windows if (w.kind, w.period) in {(limit.kind, limit.period) for limit in stated}]
        assert len(windows) == len({(limit.kind, limit.period) for limit in stated})
        for window in windows:
            rivals = [limit for limit in stated if (limit.kind, limit.period) == (window.kind, window.period)]
            best = [r for r in rivals if r.provenance == "configured"] or rivals
            assert window.limit == min((r.amount for r in best if r.amount is not None), default=None)
            assert window.provenance == best[0].provenance
            assert pools.source(pool.id, window.key) in {limit.origin for limit in rivals}


@given(catalogues())
def test_what_is_off_has_no_pools(catalogue: Catalogue) -> None:
    pools = Pools(catalogue)
    off = [each.id for each in catalogue.deployments if not each.enabled]
    assert all(pools.of(id_) == () for id_ in [*off, "nobody"])
    assert not {id_ for pool in pools.all for id_ in pools.deployments(pool.id)} & set(off)


def test_the_source_of_a_number_is_told() -> None:
    """000-20: free tier catalogue with its date, configuration with its place, else learned."""
    known = Limit("requests", 60, 20, provenance="catalogue", source="a list", as_of=date(2026, 7, 18))
    own = Limit("tokens", 60, 6000, source="model_list[0] (m)")
    pools = Pools(Catalogue((deployment("m", PoolLimits("groq/m", (known, own))),)))
    assert pools.source("groq/m", "r60000") == "free tier catalogue 2026-07-18: a list"
    assert pools.source("groq/m", "t60000") == "configured: model_list[0] (m)"
    assert pools.source("groq/m", "r86400000") == LEARNED


def test_a_deployment_without_known_limits_has_a_pool_to_learn_in() -> None:
    """000-20"""
    pools = Pools(Catalogue((deployment("m", PoolLimits("groq/m")), deployment("local"))))
    assert pools.of("m") == pools.all == (Pool("groq/m", cautious(())),)
    assert pools.of("local") == ()


def test_days_follow_the_provider_s_calendar() -> None:
    """000-22: Gemini's day begins at midnight in California."""
    day = Limit("requests", DAY, 20, "fixed", "America/Los_Angeles")
    (pool,) = Pools(Catalogue((deployment("m", PoolLimits("gemini/m", (day,))),))).all
    window = pool.windows[0]
    assert (window.style, window.zone, window.period) == ("fixed", "America/Los_Angeles", DAY)


def test_who_counts_max_tokens_is_told() -> None:
    pools = Pools(Catalogue((deployment("a", counts_max_tokens=True), deployment("b"))))
    assert pools.counts_max_tokens("a")
    assert not pools.counts_max_tokens("b")


def test_both_packages_mean_the_same_periods() -> None:
    """A window that a provider names must be the one that was configured."""
    assert list(PERIODS.values()) == [1, MINUTE, HOUR, DAY, MONTH]


def test_only_what_nothing_bounds_is_called_carefully() -> None:
    """000-20: an account's known limit is enough; a free deployment without any is begun with few calls at once."""
    account = PoolLimits("o/*:free", (Limit("requests", MINUTE, 20),))
    known, unknown = deployment("a", PoolLimits("o/x"), account), deployment("b", PoolLimits("groq/m"))
    paid = replace(deployment("c", PoolLimits("openai/m")), free=False)
    pools = Pools(Catalogue((known, unknown, paid)))
    assert [is_unknown(pool) for id_ in "abc" for pool in pools.of(id_)] == [False, False, True, False]
