"""Names for containers that were given none, and what a name may look like."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from argosy.errors import InvalidArgument
from argosyd.containers.words import words

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")

ADJECTIVES = words("""
agile amber ample ardent azure balmy bold brave breezy bright brisk calm candid cheery civil clear clever cosmic
crisp curious daring deft eager earnest fair fleet fond frosty gentle glad golden grand happy hardy honest
humble jolly jovial keen kind lively lucid lucky lunar mellow merry mighty modest nimble noble placid plucky
polite proud quick quiet radiant rapid rosy sage serene sharp silent silver sincere sleek snug solar steady
sunny swift tidy tranquil upbeat valiant vivid warm wise witty young zesty
""")
SURNAMES = words("""
abel agnesi al_biruni anning archimedes banach bernoulli bessel boole borlaug bose braille brahe carson
cavendish celsius chandrasekhar clairaut cori coulomb cuvier daubechies dijkstra dirac doppler eratosthenes
euclid euler faraday fermat feynman fibonacci fourier galois gauss germain godel haber halley hamilton hertz
hilbert hubble hypatia jacobi joule kepler khwarizmi knuth kovalevskaya lagrange laplace lavoisier leavitt
leibniz linnaeus lovelace maxwell meitner mendel mirzakhani mobius napier noether ohm pascal planck poincare
ptolemy ramanujan riemann rubin somerville tesla thales turing volta wallace weyl wu yalow
""")


def check(name: str) -> str:
    """Returns the name without Docker's leading slash. InvalidArgument."""
    bare = name.removeprefix("/")
    if not _NAME.fullmatch(bare):
        raise InvalidArgument(
            f"Invalid container name ({name[:255]!r}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, 255 of them",
            kind="container",
            id=name[:255],
            reason="INVALID_NAME",
        )
    return bare


def generate(taken: Callable[[str], bool], rng: random.Random | None = None) -> str:
    """A name that is not taken."""
    source = rng or random.SystemRandom()
    for attempt in range(1000):
        name = f"{source.choice(ADJECTIVES)}_{source.choice(SURNAMES)}"
        if attempt >= 5:
            name += str(source.randrange(10 ** (1 + attempt // 100)))
        if not taken(name):
            return name
    raise InvalidArgument("no free name was found: give one with --name", kind="container", reason="INVALID_NAME")
