"""Which task this is, which models suit it, and in what order. Pure: no I/O, no clock, no randomness but arguments."""

from lumni.intelligence.classify import classify
from lumni.intelligence.decision import Decision, Stock, WhatIf
from lumni.intelligence.memory import Memory
from lumni.intelligence.model import (
    UNCLASSIFIED,
    Availability,
    Candidate,
    Classification,
    Exclusion,
    Factor,
    Facts,
    Plan,
    Rank,
    Task,
)
from lumni.intelligence.needs import Needs, needs_of
from lumni.intelligence.plan import Classifying, plan
from lumni.intelligence.rank import WEIGHTS

__all__ = [
    "UNCLASSIFIED",
    "WEIGHTS",
    "Availability",
    "Candidate",
    "Classification",
    "Classifying",
    "Decision",
    "Exclusion",
    "Factor",
    "Facts",
    "Memory",
    "Needs",
    "Plan",
    "Rank",
    "Stock",
    "Task",
    "WhatIf",
    "classify",
    "needs_of",
    "plan",
]
