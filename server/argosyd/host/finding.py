"""What a look at the host finds, and how it is told: a table for people, JSON for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `needed` says whether argosyd cannot do without."""

    subject: str
    present: bool
    detail: str
    """What was found, or what was found instead."""
    needed: bool = True
    remedy: str = ""
    """The command that mends it."""
    cost: str = ""
    """What does not work without it."""
    version: str = ""

    @property
    def state(self) -> str:
        """ "ok", "MISS" (argosyd cannot run) or "warn" (something does not work)."""
        return "ok" if self.present else "MISS" if self.needed else "warn"

    def line(self) -> str:
        """As it is printed."""
        told = f"{self.state:<4}  {self.subject:<18} {self.detail}"
        if self.present:
            return told
        return told + (f": {self.cost}" if self.cost else "") + (f" — {self.remedy}" if self.remedy else "")


def summary(found: Sequence[Finding]) -> str:
    """The last line."""
    missing = [f for f in found if f.state == "MISS"]
    if missing:
        return f"argosyd cannot run here: {', '.join(f.subject for f in missing)}"
    return "argosyd can run here"


def table(found: Sequence[Finding]) -> str:
    """For people."""
    return "\n".join([*(f.line() for f in found), summary(found)])


def document(found: Sequence[Finding]) -> str:
    """For programs: an object with `usable` and the list `findings`, each with `state` and a finding's own fields."""
    told = [{"state": f.state.lower(), **asdict(f)} for f in found]
    return json.dumps({"usable": all(f.state != "MISS" for f in found), "findings": told}, indent=2)


def version_in(text: str) -> str:
    """The first version in what a program says of itself, else ""."""
    found = re.search(r"(?<![0-9A-Za-z.])v?([0-9]{1,6}(?:\.[0-9]{1,6}){1,3})", text[:4096])
    return found[1] if found else ""


def is_at_least(version: str, least: str) -> bool:
    """Whether a version is not older than another; one that is not known is taken for new enough."""
    if not version:
        return True
    return [int(n) for n in version.split(".")] >= [int(n) for n in least.split(".")]
