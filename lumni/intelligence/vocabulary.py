"""Words that tell what a student asks for. Whole words in lower case; ``*_PHRASES`` are found anywhere in the text."""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROOF = _words(
    "prove proof proofs proves proving derive derivation disprove lemma theorem corollary contradiction induction qed "
    "beweise beweis beweisen herleiten prouve prouver démontre démontrer demuestra demostrar dimostra prova bewijs"
)
PROOF_PHRASES = ("show that", "if and only if", "zeige, dass", "montrer que", "证明", "証明", "докажи")

PLAN = _words(
    "plan planning roadmap design architect architecture strategy compare comparison contrast tradeoff tradeoffs "
    "evaluate analyze analyse analysis critique justify assess recommend optimize optimise simulate schedule "
    "entwirf vergleiche analysiere plane compare comparez analysez concevoir compara analiza diseña confronta"
)
PLAN_PHRASES = ("trade-off", "pros and cons", "advantages and disadvantages", "step by step", "step-by-step", "比较")

DEBUG = _words(
    "debug bug bugs buggy traceback stacktrace segfault crash crashes deadlock typeerror valueerror keyerror "
    "indexerror nullpointerexception exception fehler undefined nan diverges overflow"
)
DEBUG_PHRASES = ("doesn't work", "does not work", "not working", "wrong output", "memory leak", "race condition")

MAKE = _words(
    "write implement create build code refactor rewrite complete develop program generate schreibe écris escribe"
)
CODE_NOUNS = _words(
    "function class script program algorithm query sql regex api endpoint test tests unittest decorator python java "
    "javascript typescript rust golang kotlin haskell bash html css pytorch numpy pandas dataframe loop recursion "
    "parser queue stack tree graph server compiler interpreter database cache scheduler funktion fonction función"
)
INTRICATE_CODE = _words(
    "concurrent concurrency lock locks atomic mutex thread threads distributed compiler interpreter scheduler "
    "asynchronous parallel cuda kernel optimal complexity invariant transactional consensus backpropagation"
)

MATHS = _words(
    "integral integrate derivative differentiate matrix matrices eigenvalue eigenvalues eigenvector probability "
    "polynomial equation equations inequality limit converge converges convergence variance covariance expectation "
    "modulo prime primes integer integers triangle circle radius angle perpendicular vector vectors tangent logarithm "
    "gradient hessian entropy bayes posterior likelihood remainder factorial permutation permutations combinations "
    "coefficient coefficients quadratic sqrt sine cosine sum product maximum minimum calculate compute determine "
    "velocity acceleration torque momentum pressure voltage current resistance temperature enthalpy molar moles "
    "equilibrium wavelength frequency density friction mass volume energy charge "
    "wahrscheinlichkeit ableitung gleichung probabilité équation dérivée probabilidad ecuación derivada"
)

CONSTRAINTS = _words(
    "must exactly ensure without only constraint constraints requirement requirements assume assuming suppose "
    "given satisfying satisfy satisfies unless"
)
CONSTRAINT_PHRASES = ("at least", "at most", "no more than", "such that", "subject to", "should not", "must not")

SEQUENCE = _words("first second third then next finally afterwards lastly")

GREETING = _words(
    "hi hello hey thanks thank bye goodbye morning cheers welcome hallo danke bonjour salut merci hola gracias ciao "
    "grazie olá obrigado privet привет hoi dank"
)
GREETING_PHRASES = ("how are you", "good morning", "who are you", "你好", "谢谢", "こんにちは", "ありがとう", "مرحبا")

SIMPLE = _words(
    "define definition meaning synonym synonyms translate translation summarize summarise summary tldr shorten "
    "rephrase paraphrase reword proofread spelling grammar spell sentiment headline "
    "übersetze fasse zusammenfassung erkläre traduis traduire résume résumer traduce resume traduci riassumi vertaal"
)
SIMPLE_START = _words("list name classify extract format correct convert give tell")
SIMPLE_PHRASES = (
    *("what is a", "what is the capital", "what does", "what are", "who is", "who was", "who wrote", "when was"),
    *("when did", "where is", "stand for", "was ist", "qu'est-ce", "qué es", "翻译", "什么是"),
)

ENGLISH = _words(
    "the is of to and in that it for what how with are this be as on you i a an can do does please my me from by or "
    "if which why when who where write explain hi hello thanks"
)
FOREIGN = _words(
    "der die das und ist ein eine nicht wie ich mit für auf den von zu wir bitte mir "
    "le la les un une est et des du que qui je vous pour dans pas comment pourquoi "
    "el los las es y por qué cómo para una con del se "
    "il lo gli che di è per non sono della como não os uma do em "
    "het een en van dat niet hoe wat ik voor jest nie się czy och att som det är bir ve bu nedir için"
)


PHRASES: Mapping[str, tuple[str, ...]] = {
    "proof": PROOF_PHRASES,
    "plan": PLAN_PHRASES,
    "debug": DEBUG_PHRASES,
    "constraints": CONSTRAINT_PHRASES,
    "greeting": GREETING_PHRASES,
    "simple": SIMPLE_PHRASES,
}
_LETTERS = re.compile(r"[^\W\d_]+")
_UNSPACED = re.compile(r"[\u0400-\ud7ff]")
"""Scripts whose phrases are found inside words too."""


class _Index(NamedTuple):
    """Phrases with what they tell, by their first word, with the second; and those of other scripts."""

    spaced: Mapping[str, tuple[tuple[str, str, str], ...]]
    unspaced: tuple[tuple[str, str], ...]


@cache
def _index() -> _Index:
    spaced: dict[str, tuple[tuple[str, str, str], ...]] = {}
    unspaced = []
    for kind, phrases in PHRASES.items():
        for phrase in phrases:
            if _UNSPACED.search(phrase):
                unspaced.append((phrase, kind))
                continue
            first, second, *_ = _LETTERS.findall(phrase)
            spaced[first] = (*spaced.get(first, ()), (second, phrase, kind))
    return _Index(spaced, tuple(unspaced))


def phrases_in(distinct: frozenset[str], lower: str, beyond: str) -> list[str]:
    """What each phrase in a text tells: a key of ``PHRASES`` for every phrase.

    ``lower`` is the text in lower case, with the ``distinct`` words; ``beyond`` what of it isn't ASCII.
    """
    index = _index()
    found = [
        kind
        for first in index.spaced.keys() & distinct
        for second, phrase, kind in index.spaced[first]
        if second in distinct and phrase in lower
    ]
    if beyond:
        found += [kind for phrase, kind in index.unspaced if phrase in beyond]
    return found
