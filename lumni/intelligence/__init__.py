"""Which task this is, which models suit it, and in what order. Pure: no I/O, no clock, no randomness but arguments."""

from lumni.intelligence.classify import classify
from lumni.intelligence.model import Availability, Candidate, Classification, Exclusion, Factor, Plan
from lumni.intelligence.needs import Needs, needs_of
from lumni.intelligence.plan import Classifying, plan

__all__ = [
    "Availability",
    "Candidate",
    "Classification",
    "Classifying",
    "Exclusion",
    "Factor",
    "Needs",
    "Plan",
    "classify",
    "needs_of",
    "plan",
]
