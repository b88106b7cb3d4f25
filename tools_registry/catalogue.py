"""The prices that Holdfast ships, in credits; rows that staff replace by newer ones.

Local work is cheap: half a credit a second of standard video.
"""

SHIPPED_COSTS = [
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
        "note": "Shipped price",
    },
]
