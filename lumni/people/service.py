"""Everything about people, put together over one store."""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from lumni.people.assignments import Assignments
from lumni.people.audit import Audit, AuditStore
from lumni.people.budgets import BalanceStore, BudgetDesk
from lumni.people.calibrations import Calibrations, LearningStore
from lumni.people.claims import Attempts, Claims
from lumni.people.courses import Courses
from lumni.people.enrolment import Enrolments
from lumni.people.exams import Exams
from lumni.people.keyring import utc_now
from lumni.people.keys import Keys
from lumni.people.privacy import ContentStore, PrivacyDesk
from lumni.people.secret import Secret
from lumni.people.settings import SettingsDesk, SettingsStore
from lumni.people.store import PeopleStore, RulesStore
from lumni.people.students import Students
from lumni.types import Principal

LOCAL_ADMIN = Principal(key_id="local", role="admin")
"""Who uses the command line: whoever can open the database and the secret may do everything."""


class Stores(Protocol):
    """Where it is all kept: a database's repositories."""

    @property
    def people(self) -> PeopleStore: ...
    @property
    def rules(self) -> RulesStore: ...
    @property
    def ledger(self) -> BalanceStore: ...
    @property
    def contents(self) -> ContentStore: ...
    @property
    def audit(self) -> AuditStore: ...
    @property
    def learning(self) -> LearningStore: ...
    @property
    def settings(self) -> SettingsStore: ...


class People:
    """Courses with all that belongs to them, from rosters and keys to budgets and calibrations, what admins change of
    the gateway's settings, and the audit log of it all.

    ``changed`` is called after every change of what a key may do.
    """

    def __init__(
        self,
        stores: Stores,
        secret: Secret,
        *,
        unknown_models: Callable[[Iterable[str]], tuple[str, ...]] = lambda _: (),
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        store, rules, self.audit = stores.people, stores.rules, Audit(stores.audit, now, changed)
        self.courses = Courses(store, secret, now, unknown_models, self.audit)
        self.students = Students(store, secret, now, self.audit)
        self.keys = Keys(store, rules, now, self.audit)
        self.enrolments = Enrolments(store, self.students, now, self.audit)
        self.claims = Claims(store, self.courses, Attempts(clock), now, self.audit)
        self.assignments = Assignments(rules, self.courses, now, unknown_models, self.audit)
        self.exams = Exams(rules, self.courses, now, unknown_models, self.audit)
        self.budgets = BudgetDesk(rules, stores.ledger, self.courses, now, self.audit)
        self.calibrations = Calibrations(rules, stores.learning, self.courses, now, self.audit)
        self.settings = SettingsDesk(stores.settings, now, unknown_models, self.audit)
        self.privacy = PrivacyDesk(stores.contents, store, stores.ledger, self.students, self.audit)
