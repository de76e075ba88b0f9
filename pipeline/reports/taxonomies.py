"""Taxonomies of attacks on machine learning in SARIF: MITRE ATLAS and NIST AI 100-2, for gates that attacks decide.

Sources: https://atlas.mitre.org/techniques and https://doi.org/10.6028/NIST.AI.100-2e2025 (evasion, section 2.2)
"""

from __future__ import annotations

from typing import Any

_TAXONOMIES = (
    {
        "name": "MITRE ATLAS",
        "organization": "MITRE",
        "informationUri": "https://atlas.mitre.org",
        "shortDescription": {"text": "Adversary tactics and techniques against systems of artificial intelligence."},
        "taxa": (
            ("AML.T0015", "Evade AI Model"),
            ("AML.T0043.000", "Craft Adversarial Data: White-Box Optimization"),
            ("AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization"),
            ("AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer"),
        ),
    },
    {
        "name": "NIST AI 100-2e2025",
        "organization": "NIST",
        "informationUri": "https://doi.org/10.6028/NIST.AI.100-2e2025",
        "shortDescription": {"text": "Adversarial machine learning: taxonomy and terminology."},
        "taxa": (("NISTAML.022", "Evasion"), ("NISTAML.025", "Black-box Evasion")),
    },
)


def taxonomies() -> list[dict[str, Any]]:
    """The taxonomies as a SARIF run lists them, with the taxa that are used."""
    return [
        {**each, "taxa": [{"id": identity, "name": name} for identity, name in each["taxa"]]} for each in _TAXONOMIES
    ]


def supported() -> list[dict[str, Any]]:
    """References to them, as SARIF's tool lists what it knows."""
    return [{"name": each["name"], "index": place} for place, each in enumerate(_TAXONOMIES)]


def taxa() -> list[dict[str, Any]]:
    """References to all that a robustness gate is about: the attacks are white boxes, black boxes and transfers."""
    return [
        {"id": identity, "index": number, "toolComponent": component}
        for component, each in zip(supported(), _TAXONOMIES, strict=True)
        for number, (identity, _) in enumerate(each["taxa"])
    ]
