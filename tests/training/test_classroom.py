"""The classroom prompts that the classifier is trained and judged on keep what training/classroom/RUBRIC.md says."""

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import correlation
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "training" / "classroom"
LEVELS = range(5)
Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def text(row: Row) -> str:
    """What a student sent, all turns of a conversation together."""
    return str(row["prompt"]) if "prompt" in row else "\n".join(turn["content"] for turn in row["messages"])


def share(rows: Sequence[Row], level: int) -> float:
    return [row["level"] for row in rows].count(level) / len(rows)


def ranks(values: Sequence[int]) -> list[float]:
    """Ranks with ties at their mean, as Spearman's coefficient needs them."""
    order = sorted(values)
    return [(bisect_left(order, value) + bisect_right(order, value)) / 2 for value in values]


def spearman(one: Sequence[int], other: Sequence[int]) -> float:
    return correlation(ranks(one), ranks(other))


def grams(row: Row) -> set[str]:
    """The 5-grams of characters of the normalised text: letter case, punctuation and spacing don't count."""
    plain = re.sub(r"[\W_]+", " ", text(row).lower()).strip()
    return {plain[start : start + 5] for start in range(max(1, len(plain) - 4))}


FILES = sorted(FOLDER.glob("*.jsonl"))
ROWS = [row for path in FILES for row in read(path)]
LANGUAGES = Counter(row["language"] for row in ROWS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_row_has_the_schema(path: Path) -> None:
    """001-08: id, topic, language, level and either a prompt or a conversation that ends with the student's turn."""
    for row in read(path):
        content = row.keys() - {"id", "topic", "language", "level"}
        assert content in ({"prompt"}, {"messages"}), row["id"]
        assert row["topic"] == path.stem
        assert re.fullmatch(rf"{path.stem}-\d{{3}}", row["id"])
        assert re.fullmatch(r"[a-z]{2}", row["language"])
        assert row["level"] in LEVELS
        turns = row.get("messages", [{"role": "user", "content": row.get("prompt")}])
        assert all(turn.keys() == {"role", "content"} and turn["content"].strip() for turn in turns), row["id"]
        spoken = [turn["role"] for turn in turns if turn["role"] != "system"]
        assert spoken == (["user", "assistant"] * len(spoken))[: len(spoken)], row["id"]
        assert spoken[-1] == "user"


def test_ids_are_unique() -> None:
    """Labels, votes and figures refer to a prompt by its id."""
    assert [name for name, count in Counter(row["id"] for row in ROWS).items() if count > 1] == []


def test_no_two_prompts_are_nearly_the_same() -> None:
    """A prompt in the training folds must not give away one in the test fold: Jaccard of 5-grams below 0.65."""
    shingles = sorted(((grams(row), row["id"]) for row in ROWS), key=lambda pair: len(pair[0]))
    close = []
    for place, (short, name) in enumerate(shingles):
        for long, other in shingles[place + 1 :]:
            if len(short) < 0.65 * len(long):  # sorted by size, so none of the rest can be close either
                break
            common = len(short & long)
            if common >= 0.65 * (len(short) + len(long) - common):
                close.append((name, other))
    assert close == []


def test_there_are_enough_prompts_on_every_level() -> None:
    """001-18: at least 1,500 in all, and every level has at least a tenth of them."""
    assert len(ROWS) >= 1500
    assert [level for level in LEVELS if share(ROWS, level) < 0.1] == []


def test_every_topic_has_every_level() -> None:
    """001-19: complexity isn't the topic; in each topic every level has a twentieth to a half of the prompts."""
    odd = [(path.stem, level) for path in FILES for level in LEVELS if not 0.05 <= share(read(path), level) <= 0.5]
    assert len(FILES) >= 20
    assert odd == []


def test_many_languages_have_enough_prompts() -> None:
    """A class writes in the languages it thinks in: eight or more with at least 30 prompts, most in English."""
    assert sum(count >= 30 for count in LANGUAGES.values()) >= 8
    assert LANGUAGES["en"] > len(ROWS) / 2


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_no_language_gives_the_level_away(language: str) -> None:
    """In each language every level occurs, none in more than 45 % of its prompts; so too easy against hard."""
    rows = [row for row in ROWS if row["language"] == language]
    assert [level for level in LEVELS if not 0 < share(rows, level) <= 0.45] == []
    assert share(rows, 3) + share(rows, 4) >= 0.2
    assert share(rows, 0) + share(rows, 1) >= 0.2


def test_length_hardly_tells_the_level() -> None:
    """001-19: complexity isn't length; Spearman's coefficient stays below 0.3, also within English."""
    for rows in (ROWS, [row for row in ROWS if row["language"] == "en"]):
        assert abs(spearman([len(text(row)) for row in rows], [row["level"] for row in rows])) < 0.3


@pytest.mark.parametrize(
    ("easy", "bounds"), [(True, (600, None)), (False, (None, 60))], ids=["long-easy", "short-hard"]
)
def test_surprising_prompts_are_no_exception(easy: bool, bounds: tuple[int | None, int | None]) -> None:
    """001-19: long easy prompts and short hard ones occur at least 30 times each."""
    least, most = bounds
    found = [
        row["id"]
        for row in ROWS
        if (row["level"] <= 1 if easy else row["level"] >= 3)
        and (least is None or len(text(row)) >= least)
        and (most is None or len(text(row)) <= most)
    ]
    assert len(found) >= 30


def test_no_single_word_gives_the_level_away() -> None:
    """001-19: no word of 40 prompts or more stands only in hard ones, nor only in easy ones."""
    words = [set(re.findall(r"\w{2,}", text(row).lower())) for row in ROWS]
    total = Counter(word for found in words for word in found)
    hard = Counter(word for row, found in zip(ROWS, words, strict=True) if row["level"] >= 3 for word in found)
    easy = Counter(word for row, found in zip(ROWS, words, strict=True) if row["level"] <= 1 for word in found)
    common = [word for word, count in total.items() if count >= 40]
    assert [word for word in common if max(hard[word], easy[word]) > 0.85 * total[word]] == []


def test_the_rubric_states_the_counts() -> None:
    """RUBRIC.md's table of topics is that of the files."""
    rubric = (FOLDER / "RUBRIC.md").read_text(encoding="utf-8")
    for path in FILES:
        counts = Counter(row["level"] for row in read(path))
        line = f"| {path.stem} | " + " | ".join(str(counts[level]) for level in LEVELS) + f" | {counts.total()} |"
        assert line in rubric
    assert f"{len(ROWS):,} prompts in {len(LANGUAGES)} languages" in rubric
