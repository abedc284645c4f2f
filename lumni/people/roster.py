"""Rosters as Canvas, Moodle and Google Classroom export them: CSV text to rows, or to what is wrong in which line.

Columns are found by their names, so their order, and columns of grades between them, don't matter:

* Canvas, gradebook export: ``Student, ID, SIS User ID, SIS Login ID, Section, …``, then a line ``Points Possible`` and
  a test student. The login may be an e-mail address or what stands before the ``@``.
* Moodle, participants or grade export: ``First name, Last name (or Surname), ID number, Email address, Groups``.
* Google Classroom, grade export: ``Last Name, First Name, Email Address, …``, then lines ``Date`` and ``Points``.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lumni.errors import InvalidRequest
from lumni.people.students import email_of

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "email": ("email", "email address", "e-mail", "e-mail address", "e-mail-adresse", "sis login id", "login id"),
    "name": ("name", "full name", "student", "student name", "vollständiger name"),
    "first": ("first name", "firstname", "given name", "vorname"),
    "last": ("last name", "lastname", "surname", "family name", "nachname"),
    "section": ("section", "section name", "sections", "group", "groups", "gruppe", "gruppen"),
    "external_id": ("sis user id", "student sis id", "id number", "student id", "matrikelnummer", "id-nummer"),
}
"""Names of columns by what they hold, in small letters; of several that are there, the first of these counts."""

NO_STUDENTS = frozenset({"points possible", "student, test", "test student", "date", "points", "class average"})
"""What stands where a name belongs, in lines that are no students and have no e-mail address."""

MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class RosterRow:
    """A student as the file has her. ``line`` counts from 1."""

    line: int
    email: str
    name: str | None = None
    section: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a line."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Roster:
    """All students of a file, and all its faults; with any fault it should not be used."""

    rows: tuple[RosterRow, ...]
    faults: tuple[Fault, ...]


def unique(rows: Iterable[RosterRow]) -> Roster:
    """A roster of rows that are right by themselves; an address that is there twice is a fault."""
    by_email: dict[str, RosterRow] = {}
    faults = [
        Fault(row.line, f"{row.email} was in line {first.line} already")
        for row in rows
        if (first := by_email.setdefault(row.email, row)) is not row
    ]
    return Roster(tuple(by_email.values()), tuple(faults))


def decode(raw: bytes) -> str:
    """A file's text: UTF-8 or UTF-16 by its mark, UTF-8, or what Excel writes in western Europe."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def parse(text: str, *, domain: str | None = None) -> Roster:
    """The roster in ``text``. ``domain`` completes logins that are no e-mail addresses."""
    try:
        lines = list(_lines(text.removeprefix("\ufeff")))
    except csv.Error as error:
        return Roster((), (Fault(_broken_line(text), f"this is no CSV ({error})"),))
    if not lines:
        return Roster((), (Fault(1, "the file is empty"),))
    if len(lines) > MOST_ROWS:
        return Roster((), (Fault(lines[MOST_ROWS][0], f"a roster may have at most {MOST_ROWS:,} lines"),))
    number, header = lines[0]
    places = _places(header)
    if "email" not in places:
        shown = ", ".join(repr(name.strip()) for name in header[:8])
        wanted = "'Email', 'Email address' or 'SIS Login ID'"
        return Roster((), (Fault(number, f"no column has e-mail addresses: there must be {wanted}, not only {shown}"),))
    return _rows(lines[1:], len(header), places, domain)


def _rows(lines: Sequence[tuple[int, list[str]]], width: int, places: Mapping[str, int], domain: str | None) -> Roster:
    rows: list[RosterRow] = []
    faults: list[Fault] = []
    for number, cells in lines:
        cell = {kind: cells[place].strip() if place < len(cells) else "" for kind, place in places.items()}
        name = _in_order(cell.get("name", "")) or " ".join(filter(None, (cell.get("first"), cell.get("last"))))
        named = {cell.get("name", "").lower(), cell.get("last", "").lower(), cell.get("first", "").lower()}
        if named & NO_STUDENTS and "@" not in cell["email"]:
            continue
        if len(cells) > width:
            faults.append(Fault(number, f"{len(cells)} columns instead of {width}: a comma without quotes?"))
            continue
        try:
            email = _email(cell["email"], domain)
        except InvalidRequest as error:
            faults.append(Fault(number, error.message.removeprefix("email: ")))
            continue
        section, external_id = cell.get("section") or None, cell.get("external_id") or None
        rows.append(RosterRow(number, email, name or None, section, external_id))
    if not rows and not faults:
        faults.append(Fault(lines[-1][0] if lines else 1, "there are no students in the file"))
    found = unique(rows)
    return Roster(found.rows, tuple(sorted((*faults, *found.faults), key=lambda fault: fault.line)))


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines with content, each with the number of the file's line where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    begins = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield begins, cells
        begins = reader.line_num + 1


def _delimiter(text: str) -> str:
    """What separates the header's columns: a comma, or what Excel makes of it elsewhere."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)


def _broken_line(text: str) -> int:
    """Where a quotation mark opens that is never closed; else the last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    begins = 1
    try:
        for _ in reader:
            begins = reader.line_num + 1
    except csv.Error:
        return begins
    return reader.line_num


def _places(header: Sequence[str]) -> dict[str, int]:
    names = [" ".join(name.split()).lower() for name in header]
    found = {}
    for kind, spellings in COLUMNS.items():
        place = next((names.index(spelling) for spelling in spellings if spelling in names), None)
        if place is not None:
            found[kind] = place
    return found


def _email(written: str, domain: str | None) -> str:
    if not written:
        raise InvalidRequest("there is no e-mail address")
    if "@" not in written and domain is None:
        raise InvalidRequest(f"{written[:80]!r} is no e-mail address (if it is a login, give the domain)")
    return email_of(written if "@" in written else f"{written}@{domain}")


def _in_order(name: str) -> str:
    """``Ada Lovelace`` for ``Lovelace, Ada``."""
    last, comma, first = name.partition(",")
    return f"{first.strip()} {last.strip()}" if comma and first.strip() else name
