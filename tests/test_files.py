"""Reading files: references to the environment, includes, and errors that say where and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni import files
from lumni.files import ConfigurationError, Missing, substitute

Write = Callable[[str, str], Path]
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(exclude_characters="${}", exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: not text.startswith("os.environ/")
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_references_are_resolved_at_any_depth() -> None:
    """000-41, 004-20: `${X}`, `${X:-default}` and `os.environ/X`, also inside nested values."""
    value = {"a": ["${HOST}:${PORT:-8000}", {"b": "os.environ/KEY"}], "n": 3, "none": None}
    resolved = substitute(value, {"HOST": "h", "KEY": "k"})
    assert resolved.value == {"a": ["h:8000", {"b": "k"}], "n": 3, "none": None}
    assert resolved.missing == ()


def test_a_missing_variable_is_reported_with_its_place() -> None:
    """A missing variable without default doesn't crash: it is noted, with the dotted path to it."""
    resolved = substitute({"list": [{"key": "os.environ/A"}], "url": "http://${B}/", "whole": "${C}"}, {})
    assert resolved.value == {"list": [{"key": None}], "url": "http:///", "whole": None}
    assert resolved.missing == (Missing("A", "list.0.key"), Missing("B", "url"), Missing("C", "whole"))


def test_a_default_also_replaces_an_empty_variable() -> None:
    """004-20: as in a shell."""
    assert substitute("${A:-x}", {"A": ""}).value == "x"
    assert substitute("${A}", {"A": ""}) == ("", ())
    assert substitute("${A:-}", {}) == ("", ())


def test_a_doubled_dollar_keeps_the_text() -> None:
    assert substitute("$${A}", {"A": "x"}).value == "${A}"


@given(NAMES, PLAIN, PLAIN, PLAIN)
def test_substitution_puts_exactly_the_value_there(name: str, before: str, value: str, after: str) -> None:
    """004-20: whatever surrounds a reference stays; a value is never read as a reference itself."""
    assert substitute(f"{before}${{{name}}}{after}", {name: value}) == (before + value + after, ())
    assert substitute(f"{before}${{{name}}}", {name: "${OTHER}"}).value == before + "${OTHER}"
    assert substitute(f"{before}${{{name}:-{value}}}{after}", {}) == (before + value + after, ())


@given(st.recursive(st.none() | st.booleans() | st.integers() | PLAIN, lambda inner: st.lists(inner, max_size=3)))
def test_values_without_references_stay_as_they_are(value: object) -> None:
    assert substitute(value, {"A": "x"}) == (value, ())


def test_references_names_the_variables() -> None:
    assert files.references("os.environ/A") == ("A",)
    assert files.references("x${A}y${B:-c}$${D}") == ("A", "B")
    assert files.references(3) == ()


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.yaml", "a: 1\nb: [1, 2\nc: 3\n", "line 3"),
        ("a.yaml", "a:\n\t- 1\n", "line 2"),
        ("a.json", '{"a": 1,\n "b": }', "line 2"),
        ("a.yaml", "a: 1\nb: 2\na: 3\n", "line 3"),
    ],
)
def test_bad_text_is_reported_with_its_line(write: Write, name: str, text: str, place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        files.read_mapping(write(name, text))
    (finding,) = caught.value.findings
    assert place in finding.what
    assert name in finding.what
    assert finding.mend


@pytest.mark.parametrize(("name", "text"), [("a.json", '{"a": 1, "a": 2}'), ("a.yaml", "- a\n"), ("a.json", "[1]")])
def test_what_is_no_clean_mapping_is_refused(write: Write, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError):
        files.read_mapping(write(name, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml does not exist"):
        files.read_mapping(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_an_empty_file_holds_nothing(write: Write, name: str) -> None:
    assert files.read_mapping(write(name, "")) == {}


def test_includes_are_merged_as_litellm_does(write: Write) -> None:
    """Lists are concatenated, other values of the included file win; paths are relative to the file that names them."""
    write("sub/more.yaml", "model_list: [3]\nother: {c: 1}\n")
    write("sub/a.yaml", "include: [more.yaml]\nmodel_list: [2]\nname: a\n")
    root = write("root.yaml", "include: [sub/a.yaml]\nmodel_list: [1]\nname: root\n")
    assert files.read_with_includes(root) == {"model_list": [1, 2, 3], "name": "a", "other": {"c": 1}}


def test_a_file_included_twice_is_read_once(write: Write) -> None:
    write("c.yaml", "model_list: [3]\n")
    write("b.yaml", "include: [c.yaml]\nmodel_list: [2]\n")
    root = write("a.yaml", "include: [b.yaml, c.yaml]\nmodel_list: [1]\n")
    assert files.read_with_includes(root)["model_list"] == [1, 2, 3]


@pytest.mark.parametrize("second", ["a.yaml", "b.yaml"])
def test_an_include_cycle_is_refused(write: Write, second: str) -> None:
    root = write("a.yaml", "include: [b.yaml]\n")
    write("b.yaml", f"include: [{second}]\n")
    with pytest.raises(ConfigurationError, match="includes itself"):
        files.read_with_includes(root)


def test_include_must_be_a_list_of_names(write: Write) -> None:
    with pytest.raises(ConfigurationError, match="list of file names"):
        files.read_with_includes(write("a.yaml", "include: b.yaml\n"))


def test_dotenv_knows_quotes_comments_and_export(write: Write, tmp_path: Path) -> None:
    write(".env", "# note\nA=1\nexport B = 'two words' # note\nC=\"a#b\"\nD=a#b\nE=   # empty\n\n")
    expected = {"A": "1", "B": "two words", "C": "a#b", "D": "a#b", "E": ""}
    assert files.read_dotenv(tmp_path / ".env") == expected
    assert files.with_dotenv({"A": "9"}, tmp_path) == {**expected, "A": "9"}


def test_a_bad_dotenv_line_is_reported_with_its_number(write: Write) -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        files.read_dotenv(write(".env", "A=1\nnonsense\n"))
