"""One file a parser, each with ``fuzz(data)``: it returns, whatever ``data`` is, or the parser has a fault.

What a parser may raise is caught there; all else that is raised, and each failed assertion, is a finding.
"""

from __future__ import annotations

from pathlib import Path

NAMES = tuple(sorted(each.stem for each in Path(__file__).parent.glob("*.py") if each.stem != "__init__"))
