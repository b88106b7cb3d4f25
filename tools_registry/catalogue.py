"""The prices that Holdfast ships, in credits; rows that staff replace by newer ones.

Local work is cheap: half a credit a second of standard video, one credit a square picture, half a credit for 1,000
tokens of text. Until an account's first payment free credits pay only for what costs us nothing at a provider.

A studio tool is paid by what the kernel counted: 2 credits, 1 for 2 s of processor time, 1 for 4 s of a GB of memory,
at least 3, at most what its declaration says.
"""

from typing import Any

from .registry import TOOLS
from .studio import Tool


def _measured(tool: Tool) -> dict[str, Any]:
    rates = {"base": "2", "per_cpu_second": "0.5", "per_gb_second": "0.25", "minimum": "3"}
    return {
        "tool": tool.slug,
        "model": "measured",
        "rates": rates | {"maximum": str(tool.credits_max)},
        "note": "Shipped price",
    }


SHIPPED_COSTS: list[dict[str, Any]] = [
    {
        "tool": "ai/video",
        "model": "per_second",
        "rates": {
            "per_second": {"draft": "0.25", "standard": "0.5", "high": "1"},
            "size_factor": {
                "640x360": "0.5",
                "854x480": "0.75",
                "1280x720": "1",
                "720x1280": "1",
                "1920x1080": "2",
            },
        },
        "takes_free_credits": False,
        "note": "Shipped price",
    },
    {
        "tool": "ai/image",
        "model": "per_piece",
        "rates": {
            "per_piece": {"draft": "0.5", "standard": "1", "high": "2"},
            "size_factor": {"1024x1024": "1", "1536x1024": "1.5", "1024x1536": "1.5"},
        },
        "takes_free_credits": False,
        "note": "Shipped price",
    },
    {
        "tool": "ai/script",
        "model": "per_token",
        "rates": {"per_1000_input": "0.1", "per_1000_output": "0.5", "minimum": "0.1"},
        "takes_free_credits": False,
        "note": "Shipped price",
    },
    {
        "tool": "ai/threads",
        "model": "per_token",
        "rates": {"per_1000_input": "0.1", "per_1000_output": "0.5", "minimum": "0.1"},
        "takes_free_credits": False,
        "note": "Shipped price",
    },
    *(_measured(tool) for tool in TOOLS.values() if tool.function is not None),
]
