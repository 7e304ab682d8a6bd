"""PURE  How hard a password is to guess, in bits, for one that somebody thought up.

Not entropy, which depends on how it was made, but what a guesser pays who knows how people make them: known words,
years, names with a capital and a number, neighbours on the keyboard, the same again. What nobody thought up (16 random
letters and digits, 24 random bytes) costs it 4 bits and more for each character.
"""

from __future__ import annotations

import re

ENOUGH_BITS = 45
_WORD_BITS = 14.0
_KNOWN_BITS = 7.0
_EXPECTED_BITS = 1.5

# Words that come to mind here, and what many take; `_LETTERS` reads p@ssw0rd.
_KNOWN = re.compile(
    "(?:19|20)[0-9]{2}"
    "|password|passw|passwd|pass|change|redis|sentinel|valkey|secret|default|admin|foobar|letmein|welcome|qwerty|master"
    "|replica|operator|monitor|example|test|staging|production|prod|canary|cache|database|server|cluster|company|login|user"
    "|root|spring|summer|autumn|winter|january|february|march|april|june|july|august|september|october|november|december"
    "|monday|tuesday|wednesday|thursday|friday|saturday|sunday|dragon|monkey|football|baseball|princess|sunshine|hello"
    "|shadow|superman|batman|trustno|love|this|that|the|your|our|and|for|very|long|strong|secure|much|new|old|my"
)
_LETTERS = str.maketrans("013457@$!", "oleastasi")
# A name or a word as people write it: lower case, a capital first, or capitals.
_WORD = re.compile(
    r"(?:(?<![A-Za-z])[A-Za-z]|(?<=[a-z])[A-Z])[a-z]{3,11}(?![a-z])|(?<![A-Za-z])[A-Z]{4,12}(?![A-Za-z])"
)
# The pairs of letters that three quarters of European texts consist of.
_USUAL_PAIRS = (
    " th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri"
    " ro ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut"
    " ss so rs un lo wa ge ie wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi"
    " ci vi pl ig tu ev ld ry mp fe bl ab gh ty op wo sa ay ex ke ui tt ap ag ck br gr cl fr do sp mm um pi bo au"
    " ga up dr nn rd cr rm lu ef by "
)
_KEYBOARD = "qwertyuiop asdfghjkl zxcvbnm 1234567890 1q2w3e4r5t6y7u8i9o0p 1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol"


def guessing_bits(password: str) -> float:
    """The binary logarithm of the guesses that it takes."""
    seen: set[str] = set()
    plain = password.lower().translate(_LETTERS)
    bits, at = 0.0, 0
    while at < len(password):
        if known := _KNOWN.match(password, at) or _KNOWN.match(plain, at):
            bits, at = bits + _KNOWN_BITS, known.end()
            continue
        word = _WORD.match(password, at)
        end = word.end() if word else at + 1
        each = sum(_bits_of(password, index, seen) for index in range(at, end))
        bits, at = bits + (min(each, _WORD_BITS) if word and _pronounceable(word[0]) else each), end
    return bits


def _bits_of(password: str, index: int, seen: set[str]) -> float:
    """What one character adds for a guesser who knows those before it. `seen`: the pairs up to here."""
    before, this = password[:index][-1:].lower(), password[index].lower()
    pair = before + this
    if before and (pair in seen or _adjacent(before, this)):
        return _EXPECTED_BITS
    seen.add(pair)
    capital = float(password[index].isupper() and not password[:index][-1:].isupper())
    if f" {pair} " in _USUAL_PAIRS:
        return _EXPECTED_BITS + capital
    if this.isdigit():
        return 3.3
    if this.isalpha():
        return 4.7 + capital
    return 3.0 if this in "!-_.?@" else 5.0


def _adjacent(one: str, other: str) -> bool:
    """The same, the next in the alphabet or on the keyboard, in either direction."""
    near = one.isalnum() and other.isalnum() and abs(ord(one) - ord(other)) < 2
    return near or one == other or one + other in _KEYBOARD or other + one in _KEYBOARD


def _pronounceable(word: str) -> bool:
    pairs = [word[index : index + 2].lower() for index in range(len(word) - 1)]
    return 2 * sum(f" {pair} " in _USUAL_PAIRS for pair in pairs) >= len(pairs)
