"""Hashed n-grams of a text: which buckets of two small tables it falls into, and how much each counts.

The hashing trick (Weinberger et al. 2009, arXiv:0902.2206): no vocabulary is stored, collisions are accepted. All is
arithmetic modulo 2³² on whole arrays, because a loop over 2,000 characters in Python costs as much as the rest.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]

WORD_BITS = 13
CHAR_BITS = 14
WORD_ORDER = 2
CHAR_ORDERS = (2, 3, 4, 5)
BUCKETS = (1 << WORD_BITS) + (1 << CHAR_BITS)
"""Buckets of words and pairs of words first, then those of runs of characters."""

_MULTIPLIER = np.uint32(0x01000193)  # FNV's prime for 32 bits
_SPREAD = np.uint32(0x9E3779B1)  # 2³² / golden ratio, prime
_MIX = np.uint32(0x85EBCA6B)  # MurmurHash3's finaliser
_SPACE, _LETTER, _SIGN = 0, 1, 2
_SIGNS = ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0xBF), (0x2000, 0x2BFF), (0x3000, 0x303F), (0xFF00, 0xFF0F))
_LIMIT = 0xFFFF


class Ngrams(NamedTuple):
    """``places`` in the table of ``BUCKETS`` weights, ascending and distinct, and ``values`` that multiply them."""

    places: NDArray[np.int64]
    values: NDArray[np.float32]


class _Constants(NamedTuple):
    kinds: NDArray[np.uint8]
    powers: Codes
    inverses: Codes


@cache
def _constants(length: int) -> _Constants:
    """What doesn't depend on the text: the kind of each character, and powers of the multiplier and its inverse."""
    kinds = np.full(_LIMIT + 1, _LETTER, np.uint8)
    kinds[:0x21] = _SPACE
    for first, last in _SIGNS:
        kinds[first : last + 1] = _SIGN
    inverse = np.uint32(pow(int(_MULTIPLIER), -1, 1 << 32))
    powers, inverses = np.ones((2, length), np.uint32)
    np.multiply.accumulate(np.full(length - 1, _MULTIPLIER), out=powers[1:])
    np.multiply.accumulate(np.full(length - 1, inverse), out=inverses[1:])
    return _Constants(kinds, powers, inverses)


def ngrams(text: str) -> Ngrams:
    """The n-grams of ``text``, without regard to case, digits (all count as 0) and the width of spaces.

    Each count *c* becomes 1 + ln *c*; words and characters are scaled to Euclidean length 1 each, so that a long text
    doesn't shout.
    """
    plain = f" {' '.join(text.lower().split())} "
    codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = np.where((codes >= 0x30) & (codes <= 0x39), np.uint32(0x30), codes)
    words, runs = _words(codes), _runs(codes)
    hashes = np.concatenate((words, runs))
    hashes ^= hashes >> np.uint32(15)
    hashes *= _MIX
    hashes[: len(words)] >>= np.uint32(32 - WORD_BITS)
    others = hashes[len(words) :]
    others >>= np.uint32(32 - CHAR_BITS)
    others += np.uint32(1 << WORD_BITS)
    counts = np.bincount(hashes.astype(np.intp), minlength=BUCKETS)
    places = np.flatnonzero(counts != 0)  # ten times faster on booleans
    values = _values(1 << max(14, len(hashes).bit_length()))[counts[places]]
    border = int(np.searchsorted(places, 1 << WORD_BITS))
    for half in (slice(border), slice(border, None)):
        values[half] /= np.float32(math.sqrt(float(values[half] @ values[half])) or 1.0)
    return Ngrams(places, values)


@cache
def _values(length: int) -> NDArray[np.float32]:
    """The value of each count below ``length``; of 0, which nobody asks for, too."""
    return 1 + np.log(np.maximum(1, np.arange(length, dtype=np.float32)))


def _words(codes: Codes) -> Codes:
    """Hashes of words, single signs, and pairs of neighbours."""
    constants = _constants(1 << max(14, len(codes).bit_length()))
    kinds = constants.kinds[np.minimum(codes, _LIMIT)]
    before, after = kinds[:-1], kinds[1:]
    edge = (before != after) | (before == _SIGN)
    starts = np.flatnonzero(edge & (after != _SPACE)) + 1
    ends = np.flatnonzero(edge & (before != _SPACE)) + 1
    # The sum of codes · powers up to each character: a difference of two, brought back to power 0, is a word's hash.
    sums = np.cumsum(codes * _SPREAD * constants.powers[: len(codes)], dtype=np.uint32)
    ones = (sums[ends - 1] - sums[starts - 1]) * constants.inverses[starts]
    pairs = (ones[:-1] * _MULTIPLIER) ^ ones[1:]
    return np.concatenate((ones, pairs))


def _runs(codes: Codes) -> Codes:
    """Hashes of all runs of 2 to 5 characters."""
    single = codes * _SPREAD
    run, found = single, []
    for order in range(2, max(CHAR_ORDERS) + 1):
        run = (run[:-1] * _MULTIPLIER) ^ single[order - 1 :]
        found.append(run)
    return np.concatenate(found)
