"""What counts as guessable: what people think up. What is made by chance must not."""

from __future__ import annotations

import random
import secrets
import string

import pytest

from infra.password_strength import ENOUGH_BITS, guessing_bits
from infra.setting_rules import Password, Refused

THOUGHT_UP = (
    "1111222233334444",
    "Summer2026!Autumn",
    "Winter2025!Spring",
    "Monday!Tuesday!1",
    "RedisSentinel2026!",
    "Company-Redis-2026",
    "december-2026-prod-redis",
    "Frankfurt2026!Berlin",
    "Elizabeth1Victoria2",
    "Blackbird-Nightingale",
    "Liverpool1892!!!!",
    "ThisIsMyRedisPassword1!",
    "iamthebestadmin2026",
    "ilovemydogverymuch",
    "P@ssw0rdP@ssw0rd1",
    "S3cr3t-P4ssw0rd-1",
    "aaaabbbbccccdddd",
    "1a1a1a1a2b2b2b2b",
    "abab1212cdcd3434",
    "1q2w3e4r5t6y7u8i",
    "1qaz2wsx3edc4rfv",
    "qwertyuiopasdfgh",
    "20261129-20261130",
    "letmein-letmein-letmein1",
)


@pytest.mark.parametrize("password", THOUGHT_UP)
def test_what_people_think_up_is_refused(password: str) -> None:
    with pytest.raises(Refused, match="nobody guesses"):
        Password().read(password)


def test_what_make_generates_is_far_above_the_bound() -> None:
    assert min(guessing_bits(secrets.token_urlsafe(24)) for _ in range(2000)) > 1.4 * ENOUGH_BITS


@pytest.mark.parametrize(
    ("characters", "length", "most_refused"),
    [
        (string.ascii_letters + string.digits, 16, 0.02),
        (string.ascii_letters + string.digits, 20, 0),
        ("0123456789abcdef", 32, 0),
    ],
)
def test_what_other_generators_make_passes(characters: str, length: int, most_refused: float) -> None:
    chance = random.Random(6)  # noqa: S311
    made = ["".join(chance.choices(characters, k=length)) for _ in range(1000)]
    assert sum(guessing_bits(each) < ENOUGH_BITS for each in made) <= most_refused * len(made)


def test_words_that_dice_chose_pass() -> None:
    assert Password().read("correct-horse-battery-staple").get_secret_value()
