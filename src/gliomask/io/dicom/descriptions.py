"""What a series' description says, read as phrases: a negation belongs to the word after it, and so do `pre` and
`post`.

`AX T1 POST W/O FS` is a T1 after contrast agent, without fat saturation; `AX T1 POST GAD PRE-OP` was made after
contrast agent and before an operation.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum

from gliomask.io.dicom.headers import MAX_LETTERS


class Agent(Enum):
    """What a description says about contrast agent."""

    WITH = "with"
    WITHOUT = "without"
    BOTH = "both"
    SILENT = "nothing"


@dataclass(frozen=True)
class Description:
    """A description as it is searched for words.

    Args:
        words: lower case, words parted by single marks as they were written, what was negated left out.
        agent: what it says about contrast agent.
    """

    words: str
    agent: Agent


WITH_WORDS = frozenset(("with", "mit", "avec", "con", "met", "med", "com"))
"""These mean contrast agent where no other word follows: `AX T1 WITH`. `T1 W` is T1-weighted."""

WITHOUT_WORDS = frozenset(("without", "ohne", "sans", "senza", "zonder", "bez", "uden", "utan", "без"))
"""Negations that speak of contrast agent where no other word follows: `AX T1 W/O`."""

NO_WORDS = frozenset(("no", "non", "not", "sin", "sem", "kein", "keine"))
"""Negations that mean nothing alone."""

BEFORE = frozenset(("pre", "vor", "avant", "antes", "before", "prima", "voor", "przed", "fore", "innan", "inden", "до"))
AFTER = frozenset(("post", "after", "nach", "apres", "dopo", "despues", "после"))
NATIVE = re.compile(r"nativ\w*|plain|unenhanced|noncontrast|uncontrasted|нативн\w*")
AGENT = re.compile(
    r"gd|gad\w*|gd\w*dtpa|km|kmiv|kontras\w*|contrast\w*|контраст\w*|con|ce|mdc|enh|enhanced|enhancement|inj\w*|"
    r"dotarem|magnevist|prohance|multihance|clariscan|omniscan|primovist|elucirem|vueway"
)
"""Words for a contrast agent in European languages, and names of products; `con` is short for it in English."""

EAST_ASIAN = {
    # Chinese, Japanese, Korean: no blanks between words.
    r"(?:非|无|無|不|未|没)(?:增强|增強|强化|強化|造影|조영)": " without gd ",
    r"(?:增强|增強|强化|強化|造影|조영)\s*(?:前|전)": " without gd ",
    r"平扫|平掃|单纯|単純|비조영": " without gd ",
    r"增强|增強|强化|強化|造影|조영": " gd ",
}
"""How East Asian hospitals write "without" and "with contrast agent". `T1強調` is T1-weighted."""

VISIT = re.compile(
    r"op|oper\w*|surg\w*|rad\w*|rt|xrt|treat\w*|tx|therap\w*|resect\w*|biops\w*|bx|chemo\w*|crani\w*|stealth|nav\w*|embol\w*|proc\w*|ictal|stim\w*|fall"
)
"""What an examination may come before or after, other than contrast agent."""

PLACE = re.compile(r"ax\w*|tra\w*|sag\w*|cor\w*|obl\w*|[23]d|\d+|iso|and|und|et|or|t[12]w?|se|tse|fse|mprage|flair")
"""Words that no negation means: `W/O AX T1`."""

SATURATION = re.compile(r"sat\w*|supp\w*|fs")
FILLER = frozenset(("iv", "any", "the"))

REWRITTEN = (
    *((unicodedata.normalize("NFKD", pattern), words) for pattern, words in EAST_ASIAN.items()),
    # What is called both before and after contrast agent is no single series; `pre op post` is one.
    (
        r"(?<![a-z])(?:pre|vor|avant|antes|before|prima|voor) ?(?:/|&|\+|,|-|and|und|et|y|e|en)? ?"
        r"(?:post|nach|apres|dopo|despues|after|na)(?![a-z])",
        " bothways ",
    ),
    (
        r"(?<![a-z])(?:post|nach|apres|dopo|despues|after) ?(?:/|&|\+|,|and|und|et|y|e) ?"
        r"(?:pre|vor|avant|antes|before|prima|voor)(?! ?(?:op|surg|rad|treat|rt))(?![a-z])",
        " bothways ",
    ),
    # Spanish and Italian `with`, of fat saturation.
    (r"(?<![a-z0-9])con (?=(?:fs|fat|sat|supr|sopp|grasa)[a-z]*)", " "),
    # Each way of writing is brought to the words above. Underscores and carets are blanks by now.
    (
        r"(?<![a-z0-9])w ?/? ?(?:/|&|\+|and) ?w ?/? ?o(?![a-z0-9])|(?<![a-z0-9])w ?/? ?o ?(?:/|&|\+|and) "
        r"?w(?![a-z0-9/])",
        " bothways ",
    ),
    (r"(?<![a-z0-9])w w ?/?o(?![a-z0-9])|(?<![a-z0-9])wo w(?![a-z0-9/])", " bothways "),
    (
        r"(?<![a-z])(?:with|mit|avec|con|met) ?(?:and|und|et|en|y|e|or|&|\+|/)? "
        r"?(?:without|ohne|sans|senza|sin|zonder)(?![a-z])",
        " bothways ",
    ),
    (r"(?<![a-z0-9])(?:w ?/ ?o|w\.o\.?|wo)(?![a-z0-9])", " without "),
    (r"(?<![a-z0-9])w/", " with "),
    (r"(?<![a-z0-9])s/ ?c(?![a-z0-9])", " without gd "),
    (r"(?<= )- ?c(?![a-z0-9])|(?<![a-z0-9])c ?-(?![a-z0-9])(?! ?spine)", " without gd "),
    (r"\+ ?c(?![a-z0-9])|(?<![a-z0-9])c ?\+", " gd "),
    (r"(?<![a-z0-9])(s?t1w?) ?c(?![a-z0-9])", r"\1 gd "),
    (r"(t1w?) ?\+ *$", r"\1 gd "),
    (
        r"(?<![a-z0-9])(s?t1w?|mprage|bravo|vibe|tse|se|fs)(ce|gd|gado?|km|kontrast|post|pre)(?=gd|gad|km|con|kon|[^a-z0-9]|$)",
        r"\1 \2",
    ),
    (r"(?<![a-z0-9])(pre|post|non)(gd|gad\w*|contrast\w*|kontrast\w*|km|op\w*|surg\w*|rad\w*)(?![a-z0-9])", r"\1 \2"),
    (r"(?<![a-z0-9])(pre|post)[ -]?c(?![a-z0-9])", r"\1 gd"),
)


def read_description(text: str) -> Description:
    """Reads a description; of one longer than `headers.MAX_LETTERS` only the beginning."""
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", text[:MAX_LETTERS].lower())
        if not unicodedata.combining(letter)
    )
    plain = " ".join(re.sub(r"[_^]+", " ", plain).split())
    for pattern, replacement in REWRITTEN:
        plain = re.sub(pattern, replacement, plain)
    marks = [(word.group(), *word.span()) for word in re.finditer(r"[^\W_]+", plain)]
    tokens = [token for token, _, _ in marks]
    dropped, said = _phrases(tokens)
    kept = plain
    for index in sorted(dropped, reverse=True):
        kept = kept[: marks[index][1]] + kept[marks[index][2] :]
    return Description(" ".join(kept.split()), _agent(said))


def _phrases(tokens: list[str]) -> tuple[set[int], list[str]]:
    """The places of words that do not count, and what is said about contrast agent: `with`, `without`, `pre` (weaker),
    `both`.
    """
    dropped: set[int] = set()
    said: list[str] = []
    at = 0
    while at < len(tokens):
        token, following = tokens[at], _next(tokens, at)
        word = tokens[following] if following < len(tokens) else ""
        if token in WITHOUT_WORDS or token in NO_WORDS:
            dropped.add(at)
            if AGENT.fullmatch(word):
                said.append("without")
            elif not word or PLACE.fullmatch(word):
                said += ["without"] if token in WITHOUT_WORDS else []
                at += 1
                continue
            dropped.add(following)
            at = following + 1
            if at < len(tokens) and word in ("fat", "water") and SATURATION.fullmatch(tokens[at]):
                dropped.add(at)
                at += 1
            continue
        if (token in BEFORE or token in AFTER) and VISIT.fullmatch(word):
            dropped |= {at, following}
            at = following + 1
            continue
        if token in BEFORE and AGENT.fullmatch(word):
            said.append("without")
            dropped |= {at, following}
            at = following + 1
            continue
        if token in WITH_WORDS and (not word or PLACE.fullmatch(word)):
            said.append("with")
        said += _alone(token)
        at += 1
    return dropped, said


def _next(tokens: list[str], at: int) -> int:
    following = at + 1
    while following < len(tokens) and tokens[following] in FILLER:
        following += 1
    return following


def _alone(token: str) -> list[str]:
    if token == "bothways":
        return ["both"]
    if token == "pre":
        return ["pre"]
    if token in AFTER or AGENT.fullmatch(token):
        return ["with"]
    return ["without"] if NATIVE.fullmatch(token) else []


def _agent(said: list[str]) -> Agent:
    """A bare `pre` gives way to `post` and to an agent's name; `with` and `without` of an agent contradict."""
    if "both" in said or ("with" in said and "without" in said):
        return Agent.BOTH
    if "with" in said:
        return Agent.WITH
    return Agent.WITHOUT if said else Agent.SILENT
