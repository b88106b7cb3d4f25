"""The base score of a CVSS 3 vector, and the word for it.

Formula, weights, rounding and ratings: FIRST, "Common Vulnerability Scoring System v3.1: Specification Document",
sections 5, 7.1, 7.4 and appendix A. A vector of version 3.0 is scored by the same formula; only its rounding differed.
Version 4.0 is scored by a table of 270 groups and version 2 otherwise: their vectors are shown, not scored.
"""

from __future__ import annotations

from collections.abc import Sequence

WEIGHTS: dict[str, dict[str, float]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
PRIVILEGES_CHANGED = {"N": 0.85, "L": 0.68, "H": 0.5}
RATINGS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"), (0.0, "none"))


def base_score(vector: str) -> float | None:
    """The base score of a vector of version 3.0 or 3.1; None for any other or an incomplete one."""
    head, _, rest = vector.partition("/")
    if head not in ("CVSS:3.0", "CVSS:3.1"):
        return None
    metrics = dict(part.partition(":")[::2] for part in rest.split("/"))
    scope = metrics.get("S")
    try:
        weight = {name: values[metrics[name]] for name, values in WEIGHTS.items()}
    except KeyError:
        return None
    if scope not in ("U", "C"):
        return None
    if scope == "C":
        weight["PR"] = PRIVILEGES_CHANGED[metrics["PR"]]
    lost = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    impact = 6.42 * lost if scope == "U" else 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * weight["PR"] * weight["UI"]
    total = impact + exploitability
    return round_up(min(total if scope == "U" else 1.08 * total, 10))


def round_up(value: float) -> float:
    """The least tenth that is not below, without the noise of binary fractions."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10


def rating_of(score: float) -> str:
    return next(word for least, word in RATINGS if score >= least)


def best(vectors: Sequence[str]) -> tuple[str, float | None]:
    """The vector to show and its score: one that can be scored, the highest; else the first."""
    scored = [(score, one) for one in vectors if (score := base_score(one)) is not None]
    if scored:
        score, vector = max(scored)
        return vector, score
    return (vectors[0] if vectors else ""), None
