"""The judgment of a result: good, to be checked, or failed, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Level = Literal["good", "check", "failed"]
_SEVERITY: Mapping[Level, int] = {"good": 0, "check": 1, "failed": 2}


@dataclass(frozen=True)
class Finding:
    """One reason why a result is not good, as a clause without a full stop."""

    level: Level
    reason: str


@dataclass(frozen=True)
class Assessment:
    """Whether a result can be used.

    Attributes
    ----------
    level : {"good", "check", "failed"}
        Good: nothing speaks against it. Check: look at the reasons before you use it. Failed: do not
        use it.
    reasons : tuple of str
        Why it is not good, the gravest first.

    Examples
    --------
    >>> print(Assessment("check", ("the noise is given as 20, but measured as 9.8",)))
    check: the noise is given as 20, but measured as 9.8
    """

    level: Level
    reasons: tuple[str, ...] = ()

    @classmethod
    def from_findings(cls, findings: Iterable[Finding]) -> Self:
        """Return the worst level of `findings`, with each reason once."""
        ordered = sorted(findings, key=lambda finding: -_SEVERITY[finding.level])
        reasons = dict.fromkeys(finding.reason for finding in ordered)
        return cls(ordered[0].level if ordered else "good", tuple(reasons))

    def with_findings(self, findings: Iterable[Finding]) -> Self:
        """Return the assessment with more findings."""
        own = (Finding(self.level, reason) for reason in self.reasons)
        return self.from_findings([*own, *findings])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Self:
        """Return the assessment that a file remembers; None is that of a file without one."""
        if values is None:
            return cls("check", ("the file was written before results were assessed",))
        return cls(values["level"], tuple(values["reasons"]))

    def __str__(self) -> str:
        return f"{self.level}: {'; '.join(self.reasons)}" if self.reasons else self.level
