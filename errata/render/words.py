"""Counterexamples in words, the same in every format."""

import json
import re
from typing import Any

from errata.findings import Counterexample, Erratum, Influence, Place

NOT_SIZES = ("values", "dtype", "seed", "scale")
"""Fields that every case has; they are worth a word only where they are unusual."""


def sizes(counterexample: Counterexample) -> str:
    """The sizes and choices of the case."""
    case = counterexample.case
    named = {name: value for name, value in case.items() if name not in NOT_SIZES and value is not None}
    if case["scale"] != 1.0:
        named["scale"] = case["scale"]
    if case["dtype"] != "float64":
        named["dtype"] = case["dtype"]
    return ", ".join(f"{name} = {shown(value)}" for name, value in named.items()) or "any"


def lines(span: tuple[int, int]) -> str:
    """One line, or several."""
    first, last = span
    return f"line {first}" if first == last else f"lines {first}–{last}"


def influence(influence: Influence) -> str:
    """What varying one field does."""
    fails, passes = (", ".join(map(shown, values)) for values in (influence.fails, influence.passes))
    return f"{influence.field}: fails with {fails}, passes with {passes}"


def matters(counterexample: Counterexample) -> str:
    """Which fields the failure depends on."""
    return "; ".join(map(influence, counterexample.matters)) or "no size or choice: it fails on every case tried"


def shown(value: Any) -> str:
    """A value as people write it: whole numbers without a point, text without quotes."""
    if isinstance(value, str):
        return value
    text = re.sub(r"(?<=\d)\.0(?!\d)", "", json.dumps(value, ensure_ascii=False))
    return text.replace('"', "").replace("true", "True").replace("false", "False").replace("null", "None")


def original_fails(erratum: Erratum, place: Place) -> str:
    """How the original fails in one of its places, readable on its own."""
    occurrence = erratum.occurrence_in(place.snippet or erratum.snippet)
    counterexample, source = occurrence.counterexample, occurrence.source
    rows = {
        "does": erratum.what,
        "check": f"{occurrence.check}: {occurrence.statement}",
        "source": f"{source.name}, {source.section}: “{source.quote}”",
        "case": sizes(counterexample),
        **{name: shown(value) for name, value in counterexample.case["values"].items()},
        "expected": shown(counterexample.expected),
        "actual": shown(counterexample.actual),
        "depends on": matters(counterexample),
        "alone": "every other erratum of this snippet is repaired here, so that this one shows",
    }
    width = max(map(len, rows))
    return "\n".join(
        [
            f"{place.document}, {lines(place.lines)} (question {place.question}, {place.snippet})",
            f"{erratum.id}: {erratum.title}",
            "",
            *(f"  > {line}" for line in occurrence.excerpt.splitlines()),
            "",
            *(f"  {name:<{width}}  {text}" for name, text in rows.items()),
        ]
    )
