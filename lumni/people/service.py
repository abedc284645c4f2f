"""Everything about people, put together over one store."""

import time
from collections.abc import Callable, Iterable
from datetime import datetime

from lumni.people.claims import Attempts, Claims
from lumni.people.courses import Courses
from lumni.people.enrolment import Enrolments
from lumni.people.keyring import utc_now
from lumni.people.keys import Keys
from lumni.people.secret import Secret
from lumni.people.store import PeopleStore
from lumni.people.students import Students
from lumni.types import Principal

LOCAL_ADMIN = Principal(key_id="local", role="admin")
"""Who uses the command line: whoever can open the database and the secret may do everything."""


class People:
    """Courses, students, keys, rosters and claims. ``changed`` is called after every change of what a key may do."""

    def __init__(
        self,
        store: PeopleStore,
        secret: Secret,
        *,
        unknown_models: Callable[[Iterable[str]], tuple[str, ...]] = lambda _: (),
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.courses = Courses(store, secret, now, unknown_models, changed)
        self.students = Students(store, secret, now, changed)
        self.keys = Keys(store, now, changed)
        self.enrolments = Enrolments(store, self.students, now, changed)
        self.claims = Claims(store, self.courses, Attempts(clock), now, changed)
