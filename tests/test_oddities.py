"""docs/oddities.md promises that each decision is held somewhere: all 21 are listed, and every file and test it names
exists.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "oddities.md"
if not PAGE.is_file():
    pytest.skip("the documentation is not part of this distribution", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:src|tests)/[\w/.]+(?:::\w+)?)`", TEXT)))


def test_all_21_oddities_are_listed_once():
    assert sorted(int(number) for number in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)) == list(range(1, 22))


@pytest.mark.parametrize("named", NAMED)
def test_what_is_said_to_hold_a_decision_exists(named):
    path, _, test = named.partition("::")
    assert (ROOT / path).is_file()
    if test:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8")
