"""Rosters as learning platforms export them."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.people.roster import Fault, Roster, RosterRow, decode, parse

CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Homework 1 (87568490),Final Score\n"
    "    Points Possible,,,,,10,(read only)\n"
    '"Lovelace, Ada",17,u0017,ada@school.example,"Algorithms 01 and Algorithms 02",9,90\n'
    '"Babbage, Charles",18,u0018,cbabbage,Algorithms 01,,\n'
    '"Student, Test",99,,0a5b1c8d7e6f,Algorithms 01,,\n'
)
MOODLE = (
    '\ufeff"First name","Last name","ID number","Email address",Groups\r\n'
    'Ada,Lovelace,0017,Ada@School.example,"Red, Blue"\r\n'
    "\r\n"
    "Grace,Hopper,0018,grace@school.example,\r\n"
)
MOODLE_GERMAN = "Vorname;Nachname;E-Mail-Adresse;Gruppen\nJürgen;Groß;jg@schule.example;Rot\n"
CLASSROOM = (
    "Last Name,First Name,Email Address,Homework 1\n"
    "Date,,,2026-09-08\n"
    "Points,,,10\n"
    "Lovelace,Ada,ada@school.example,9\n"
    "Date,Masamune,masamune@school.example,8\n"
)


def test_canvas() -> None:
    """000-60: names in order, logins completed, points and the test student left out."""
    assert parse(CANVAS, domain="school.example") == Roster(
        (
            RosterRow(3, "ada@school.example", "Ada Lovelace", "Algorithms 01 and Algorithms 02", "u0017"),
            RosterRow(4, "cbabbage@school.example", "Charles Babbage", "Algorithms 01", "u0018"),
        ),
        (),
    )
    [fault] = parse(CANVAS).faults
    assert (fault.line, "give the domain" in fault.message) == (4, True)


def test_moodle() -> None:
    """000-60: with a byte order mark, quotes, empty lines and a group that has a comma; and in German from Excel."""
    assert parse(MOODLE).rows == (
        RosterRow(2, "ada@school.example", "Ada Lovelace", "Red, Blue", "0017"),
        RosterRow(4, "grace@school.example", "Grace Hopper", None, "0018"),
    )
    for encoding in ("cp1252", "utf-8", "utf-8-sig", "utf-16"):
        assert parse(decode(MOODLE_GERMAN.encode(encoding))).rows == (
            RosterRow(2, "jg@schule.example", "Jürgen Groß", "Rot", None),
        )


def test_google_classroom() -> None:
    """000-60: dates and points left out, but not who is called so."""
    assert [(row.line, row.email, row.name) for row in parse(CLASSROOM).rows] == [
        (4, "ada@school.example", "Ada Lovelace"),
        (5, "masamune@school.example", "Masamune Date"),
    ]


FAULTY = {
    "empty": ("", 1, "the file is empty"),
    "no header": ("ada@school.example,Ada\n", 1, "no column has e-mail addresses"),
    "no students": ("Name,Email\n", 1, "no students"),
    "no address": ("Name,Email\nAda,\n", 2, "there is no e-mail address"),
    "no column": ("Email,Name\na@b.c,Ada\n\nNobody\n", 4, "'Nobody' is no e-mail address"),
    "bad address": ("Name,Email\n\n\nAda,ada at school@x y\n", 4, "is no e-mail address"),
    "twice": ("Email\na@b.c\nx@b.c\nA@B.C\n", 4, "a@b.c was in line 2 already"),
    "comma": ("Name,Email\nLovelace, Ada,ada@school.example\n", 2, "3 columns instead of 2"),
    "quote": ('Name,Email\nBen,b@b.c\n"Ada,ada@school.example\nEve,e@b.c\n', 3, "this is no CSV"),
    "lines in quotes": ('Name,Email\n"Ada\nLovelace",a@b.c\nBen,ben\n', 4, "'ben' is no e-mail address"),
    "long": (f"Email\n{'x' * 251}@b.c\n", 2, "is no e-mail address"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faults_are_told_with_their_line(name: str) -> None:
    """000-60."""
    text, line, words = FAULTY[name]
    [fault] = parse(text).faults
    assert fault.line == line
    assert words in fault.message


def test_all_faults_are_told_at_once() -> None:
    """000-60: in the file's order."""
    assert parse("Email\nx\na@b.c\na@b.c\n\ny\n").faults == (
        Fault(2, "'x' is no e-mail address (if it is a login, give the domain)"),
        Fault(4, "a@b.c was in line 3 already"),
        Fault(6, "'y' is no e-mail address (if it is a login, give the domain)"),
    )


names = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=8)
students = st.lists(
    st.tuples(names, names, st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)), min_size=1, unique_by=lambda s: s[2]
)


@given(students=students, delimiter=st.sampled_from(",;\t"), line_end=st.sampled_from(("\n", "\r\n")))
def test_whatever_names_are_in_it_comes_back(
    students: list[tuple[str, str, str]], delimiter: str, line_end: str
) -> None:
    """000-60: quotes, delimiters and every script."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(("First name", "Last name", "Email address"))
    writer.writerows((first, last, f"{login}@b.c") for first, last, login in students)
    found = parse(out.getvalue())
    assert found.faults == ()
    assert [row.email for row in found.rows] == [f"{login}@b.c" for _, _, login in students]
    for row, (first, last, _) in zip(found.rows, students, strict=True):
        assert row.name == f"{first} {last}"


@given(st.text())
def test_no_text_makes_it_fall_over(text: str) -> None:
    """000-60: whatever it is, there are students or there is a fault."""
    found = parse(text)
    assert found.rows or found.faults


@given(st.binary())
def test_no_bytes_make_it_fall_over(raw: bytes) -> None:
    """000-60."""
    assert isinstance(decode(raw), str)
