"""A card: what was found of an estimator, a line a law, for people, for programs and for continuous integration."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What one law found."""

    law: str
    said: str
    """A sentence."""
    passed: bool | None
    """None where it is reported only, and not judged."""


@dataclass(frozen=True)
class Card:
    """All findings of one estimator."""

    estimator: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether every law that is judged holds."""
        return all(finding.passed in (True, None) for finding in self.findings)

    def lines(self) -> list[str]:
        """The card, a line each."""
        marks = {True: "holds", False: "FAILS", None: "     "}
        width = max(len(finding.law) for finding in self.findings)
        rows = [f"{marks[each.passed]}  {each.law:{width}}  {each.said}" for each in self.findings]
        verdict = "every judged law holds" if self.passed else "not every judged law holds"
        return [self.estimator, *rows, verdict]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self) | {"findings": [asdict(each) for each in self.findings], "passed": self.passed}
