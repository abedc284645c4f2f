"""The classifier's trained weights: what ``lumni train`` writes and every process reads once."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lumni.intelligence.memory import Bounded
from lumni.intelligence.ngrams import BUCKETS, Ngrams
from lumni.intelligence.signs import NAMES

if TYPE_CHECKING:
    from lumni.intelligence.classify import Heard

FORMAT = 1
LARGEST = 128 * 1024
"""Bytes that the file may have."""
ID_LENGTH = 12
REMEMBERED = 4096
"""Turns whose verdicts are kept, by a hash and without their words: a class asks the same, a thread grows by a turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A sum over signs and n-grams. An n-gram's weight is its integer in [-127, 127] times ``scale``.

    ``wording`` is what the n-grams of an average prompt add, and counts as part of ``bias`` where factors are told.
    """

    bias: float
    signs: NDArray[np.float32]
    ngrams: NDArray[np.int8]
    scale: float
    wording: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """``exam`` and ``classroom`` give the log-odds that the weak tier fails, each for its own way of asking.

    ``style`` gives the log-odds that a turn is asked like a benchmark's question, rather than the way students write,
    and so how much each of them counts. ``gain`` is the share of right answers that the strong tier adds at exam
    questions. The tables hold the weights of all side by side, since a turn asks all of them for the same places:
    ``signs`` has the shape (signs, 4), and ``ngrams`` has the four bytes of a bucket as one integer, small enough to
    stay in a core's cache. ``verdicts`` is ``lumni.intelligence.classify``'s memory of what they said, ``id`` the
    beginning of their file's SHA-256.
    """

    exam: Linear
    classroom: Linear
    gain: Linear
    style: Linear
    id: str = ""
    signs: NDArray[np.float32] = field(init=False)
    ngrams: NDArray[np.uint32] = field(init=False)
    verdicts: "Bounded[int, Heard]" = field(
        init=False, repr=False, compare=False, default_factory=lambda: Bounded(REMEMBERED)
    )

    def __post_init__(self) -> None:
        signs = np.stack([linear.signs for linear in self.linears], axis=1)
        ngrams = np.stack([linear.ngrams for linear in self.linears], axis=1)
        object.__setattr__(self, "signs", signs)
        object.__setattr__(self, "ngrams", ngrams.view(np.uint32).ravel())

    @property
    def linears(self) -> tuple[Linear, Linear, Linear, Linear]:
        """The models in the order of ``LINEARS``."""
        return self.exam, self.classroom, self.gain, self.style

    def words(self, found: Ngrams) -> list[float]:
        """What the n-grams add to each of ``linears``, beyond those of an average prompt."""
        four = self.ngrams[found.places].view(np.int8).reshape(-1, 4)
        sums = (found.values @ four.astype(np.float32)).tolist()
        return [total * linear.scale - linear.wording for total, linear in zip(sums, self.linears, strict=True)]


LINEARS = ("exam", "classroom", "gain", "style")


def dump(weights: Weights) -> bytes:
    """The weights as a file. The same weights give the same bytes."""
    meta: dict[str, Any] = {"format": FORMAT, "signs": list(NAMES)}
    arrays: dict[str, NDArray[Any]] = {}
    for name, linear in zip(LINEARS, weights.linears, strict=True):
        meta[name] = {"bias": linear.bias, "scale": linear.scale, "wording": linear.wording}
        arrays |= {f"{name}_signs": linear.signs, f"{name}_ngrams": linear.ngrams}
    text = json.dumps(meta, sort_keys=True).encode()
    written = io.BytesIO()
    np.savez(written, allow_pickle=False, meta=np.frombuffer(text, np.uint8), **arrays)
    return written.getvalue()


def parse(content: bytes) -> Weights:
    """Weights from a file's bytes. Raises ``ValueError`` if they were trained for other features."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        meta = json.loads(archive["meta"].tobytes())
        if meta["format"] != FORMAT or meta["signs"] != list(NAMES):
            message = "The weights were trained for other features. Train them again: lumni train --help"
            raise ValueError(message)
        found = [
            Linear(signs=archive[f"{name}_signs"], ngrams=archive[f"{name}_ngrams"], **meta[name]) for name in LINEARS
        ]
    for linear in found:
        if linear.ngrams.shape != (BUCKETS,) or linear.signs.shape != (len(NAMES),):
            message = f"The weights must be {BUCKETS} for n-grams and {len(NAMES)} for signs."
            raise ValueError(message)
    exam, classroom, gain, style = found
    return Weights(exam, classroom, gain, style, id=hashlib.sha256(content).hexdigest()[:ID_LENGTH])


@cache
def shipped() -> Weights:
    """The weights that come with Lumni. Read once: nothing ever changes them."""
    return parse((files("lumni.intelligence") / "data" / "weights.npz").read_bytes())
