"""Reports that the libraries below would send to their makers: switched off before any of them is imported.

Each looks at its variable when it is first imported; what the user has set stands. `docs/safety.md` lists them.
"""

from __future__ import annotations

import os

__all__ = ["SWITCHES", "switch_reports_off"]

#: Variable and value, by who would report.
SWITCHES: dict[str, dict[str, str]] = {
    "onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"},
    "daft": {"DAFT_ANALYTICS_ENABLED": "0", "SCARF_NO_ANALYTICS": "true"},
    "ray": {"RAY_USAGE_STATS_ENABLED": "0"},
    "huggingface_hub, transformers, datasets": {"HF_HUB_DISABLE_TELEMETRY": "1"},
    "vllm": {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"},
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true"},
    "others that keep to the convention": {"DO_NOT_TRACK": "1"},
}


def switch_reports_off() -> None:
    """Set every switch that the user has not set.

    >>> switch_reports_off(); os.environ["ORT_DISABLE_TELEMETRY"]
    '1'
    """
    for variables in SWITCHES.values():
        for name, value in variables.items():
            os.environ.setdefault(name, value)
