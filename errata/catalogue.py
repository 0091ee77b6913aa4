"""The checks and the defects that prove them, as the command line shows them."""

import dataclasses
from typing import Any

from rich.table import Table

from errata import defects
from errata.checks import Check, all_checks


def check_records() -> list[dict[str, Any]]:
    """Every check as JSON."""
    return [
        {
            "id": check.id,
            "component": check.component,
            "statement": check.statement,
            "level": check.level,
            "source": {**dataclasses.asdict(check.spec.work), "section": check.spec.section, "quote": check.spec.quote},
            "hint": check.hint,
            "domain": {name: list(values) for name, values in check.domain.items()},
            "needs": sorted(check.needs),
            "unless": sorted(check.unless),
            "builds_on": list(check.builds_on),
        }
        for check in all_checks()
    ]


def check_table() -> Table:
    """Every check as a table."""
    shown = Table("id", "level", "statement", "source", title="Checks")
    for check in all_checks():
        shown.add_row(check.id, check.level, check.statement, f"{check.spec.work.name}, {check.spec.section}")
    return shown


def defect_records() -> list[dict[str, Any]]:
    """Every defect as JSON."""
    return [
        {"id": f"{name}.{defect.name}", "component": name, **defect.model_dump(mode="json")}
        for name, component in defects.components().items()
        for defect in component.defect
    ]


def defect_table() -> Table:
    """Every defect as a table."""
    shown = Table("id", "module", "killed by", title="Defects")
    for record in defect_records():
        shown.add_row(record["id"], f"reference/{defects.module_path(record['module'])}", ", ".join(record["kills"]))
    return shown


def pages() -> dict[str, str]:
    """Every check as Markdown, by id."""
    return {check.id: _page(check) for check in all_checks()}


def _page(check: Check) -> str:
    domain = "\n".join(f"- {name}: {', '.join(map(str, values))}" for name, values in check.domain.items())
    return (
        f"# {check.id}\n\n{check.statement}\n\n> {check.spec.quote}\n>\n> — {check.spec.work.name}, "
        f"{check.spec.section}\n\nLevel: {check.level}.\n\nWhen it fails: {check.hint}\n\nSearched:\n\n{domain}\n"
    )
