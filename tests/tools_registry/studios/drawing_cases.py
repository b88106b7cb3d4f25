"""Pictures to draw in both languages: the function's name and its arguments as the browser's half takes them."""

from __future__ import annotations

import re
from typing import Any

from tools_registry.studios import drawing
from tools_registry.studios.drawing import Bar, Edge, Node, Point, Series, Span, Stack, Zone

HOSTILE = '<script>alert("x")</script> & <b onload=x> \x00 ‮ 🏴‍☠️ ' + "long " * 60
OF_ONE = {
    "bars": [Bar],
    "stacked": [None, Stack],
    "donut": [Bar],
    "columns": [Bar],
    "lines": [None, Series],
    "scatter": [Point],
    "heatMap": [None, None, None],
    "timeline": [Span],
    "flame": [None],
    "diagram": [Node, Edge, Zone],
}


def draw(function: str, title: str, *positional: Any, **named: Any) -> bytes:
    """The picture that Python draws of arguments that are JavaScript's."""
    given = [
        [made(**{snake(name): value for name, value in one.items()}) for one in argument] if made else argument
        for made, argument in zip(OF_ONE[function], positional, strict=False)
    ]
    picture = getattr(drawing, snake(function))(title, *given, **{snake(name): value for name, value in named.items()})
    assert isinstance(picture, bytes)
    return picture


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: "_" + letter.group().lower(), name)


def tree(count: int) -> list[list[dict[str, Any]]]:
    """Nodes, and edges that make a tree of them with a few links back and across; no chance in it."""
    nodes = [
        {"id": str(one), "label": f"Service number {one}"[: 9 + one % 12], "kind": "service"} for one in range(count)
    ]
    edges = [
        {"source": str((one * 7) % one), "target": str(one), "label": "calls"[: one % 6]} for one in range(1, count)
    ]
    edges += [
        {"source": str(one * 13 % count), "target": str(one * 5 % count), "label": "x"} for one in range(count // 3)
    ]
    return [nodes, edges]


SHOP = [
    [
        {"id": "u", "label": "Customer", "kind": "external", "shape": "square", "zone": "net"},
        {"id": "w", "label": "Web server", "kind": "process", "zone": "dmz"},
        {
            "id": "api",
            "label": "Order service with a rather long name",
            "kind": "process",
            "zone": "app",
            "tone": "sea",
        },
        {"id": "pay", "label": "Payment provider", "kind": "external", "shape": "square", "zone": "net"},
        {
            "id": "db",
            "label": "Orders",
            "kind": "store",
            "shape": "store",
            "zone": "rest",
            "lines": ["AES-256 at rest"],
        },
        {"id": "q", "label": "Queue", "kind": "store", "shape": "store", "zone": "rest"},
        {"id": "wk", "label": "Worker", "kind": "process", "zone": "app", "shape": "pill"},
        {"id": "log", "label": "Logs", "kind": "store", "shape": "store"},
        {"id": "t", "label": "order", "kind": "table", "shape": "table", "lines": ["id", "placed_at"]},
    ],
    [
        {"source": "u", "target": "w", "label": "HTTPS"},
        {"source": "w", "target": "api", "label": "JSON over mTLS"},
        {"source": "api", "target": "db", "label": "SQL"},
        {"source": "api", "target": "q", "label": "enqueue"},
        {"source": "q", "target": "wk", "label": "jobs"},
        {"source": "wk", "target": "pay", "label": "charge", "tone": "coral"},
        {"source": "pay", "target": "w", "label": "webhook", "isDashed": True},
        {"source": "wk", "target": "db", "label": "SQL"},
        {"source": "api", "target": "log"},
        {"source": "wk", "target": "log"},
        {"source": "wk", "target": "wk", "label": "retry"},
        {"source": "wk", "target": "nowhere", "label": "left out"},
    ],
    [
        {"id": "net", "label": "Internet (untrusted)", "tone": "coral"},
        {"id": "dmz", "label": "DMZ", "tone": "brass"},
        {"id": "corp", "label": "Private network"},
        {"id": "app", "label": "Application", "inside": "corp"},
        {"id": "rest", "label": "Stores", "inside": "corp", "tone": "sea"},
        {"id": "bare", "label": "Empty zone"},
        {"id": "loop", "label": "Inside itself", "inside": "loop"},
    ],
]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
RISE = [100.0, 105.0, 110.25, 115.7625, 121.5506, 127.6282, 134.0096, 140.71, 147.7455, 155.1328, 162.8895, 171.0339]

CASES: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "bars": (
        "bars",
        [
            [
                {"label": "Critical", "value": 3, "tone": "coral"},
                {"label": "High", "value": 12.345, "tone": "brass", "note": "of 40"},
                {"label": "Below", "value": -4.25},
                {"label": "Missing", "value": None},
                {"label": "No such tone", "value": 0, "tone": "pink"},
                {"label": HOSTILE, "value": 1234567.891},
            ]
        ],
        {"unit": "items", "limit": 900000, "limitLabel": "Budget"},
    ),
    "one bar": ("bars", [[{"label": "Only", "value": 0.00042}]], {"unit": "s"}),
    "no bars": ("bars", [[]], {}),
    "many bars": ("bars", [[{"label": f"Row {one}", "value": one * 1.7} for one in range(75)]], {}),
    "large figures": ("bars", [[{"label": str(one), "value": 3.21 * 10**one} for one in range(-9, 24)]], {"unit": "£"}),
    "stacked": (
        "stacked",
        [
            ["Compute", "Storage", "Transfer"],
            [{"label": "January", "values": [4, 3, 2]}, {"label": "February", "values": [5.5, 0, -1]}],
        ],
        {"unit": "$"},
    ),
    "stacked of too many": (
        "stacked",
        [
            [f"Part {one}" for one in range(11)],
            [{"label": HOSTILE, "values": [1] * 11}, {"label": "None", "values": []}],
        ],
        {},
    ),
    "nothing stacked": ("stacked", [[], []], {}),
    "donut": ("donut", [[{"label": f"Part {one}", "value": 41 - one * 4} for one in range(11)]], {"unit": "GB"}),
    "whole donut": ("donut", [[{"label": "All of it", "value": 7}, {"label": "None", "value": 0}]], {}),
    "no donut": ("donut", [[{"label": "None", "value": -1}]], {"described": "Nothing is left."}),
    "columns": (
        "columns",
        [
            [
                {"label": month, "value": value}
                for month, value in zip(MONTHS, [3, 5, 8, 2, 9, 11, -3, 4, 0, None, 7.5, 8], strict=True)
            ]
        ],
        {"unit": "£"},
    ),
    "many columns": ("columns", [[{"label": f"{one}–{one + 1}", "value": one % 7} for one in range(80)]], {}),
    "lines": (
        "lines",
        [
            MONTHS,
            [
                {"label": "On demand", "values": RISE},
                {"label": "Reserved", "values": [130] * 12},
                {"label": "Gap", "values": [50, 53, None, 59, 62]},
                {"label": "Nothing", "values": []},
            ],
        ],
        {"unit": "£", "limit": 150},
    ),
    "one point": ("lines", [["Now"], [{"label": "Only", "values": [5]}]], {}),
    "no lines": ("lines", [MONTHS, []], {}),
    "too many lines": (
        "lines",
        [MONTHS, [{"label": f"Line {one}", "values": [one, one + 1, one * 2]} for one in range(12)]],
        {},
    ),
    "scatter": (
        "scatter",
        [[{"x": one * 3 % 17, "y": one * one % 23, "label": f"Point {one}"} for one in range(60)]],
        {"xTitle": "Weight", "yTitle": "Height"},
    ),
    "risk": (
        "heatMap",
        [
            ["Rare", "Unlikely", "Possible", "Likely", "Almost certain"],
            ["Severe", "Major", "Moderate", "Minor", "Negligible"],
            [[(5 - down) * (across + 1) for across in range(5)] for down in range(5)],
        ],
        {"scale": "risk", "xTitle": "Likelihood", "yTitle": "Impact", "least": 1, "most": 25},
    ),
    "correlation": (
        "heatMap",
        [
            [f"column_number_{one}" for one in range(9)],
            [f"column_number_{one}" for one in range(9)],
            [
                [1 if down == across else ((down * 7 + across * 7) % 19 - 9) / 10 for across in range(9)]
                for down in range(9)
            ],
        ],
        {"scale": "both"},
    ),
    "ragged grid": ("heatMap", [["a", "b"], ["c", HOSTILE], [[1], [None, 2, 3]]], {"words": [["one"]]}),
    "large grid": ("heatMap", [[str(one) for one in range(50)], [str(one) for one in range(50)], []], {}),
    "no grid": ("heatMap", [[], [], []], {}),
    "timeline": (
        "timeline",
        [
            [
                {"label": "index.html", "start": 0, "end": 120},
                {"label": "app.js", "start": 100, "end": 420, "tone": "brass", "note": "1.2 MB"},
                {"label": "first paint", "start": 410},
                {"label": "Backwards", "start": 430, "end": 0, "tone": "coral"},
            ]
        ],
        {"unit": "ms"},
    ),
    "phases": (
        "timeline",
        [[{"label": "Plan", "start": 0, "end": 14}, {"label": HOSTILE, "start": 14, "end": 30}]],
        {"ticks": [[0, "1 March"], [14, "15 March"], [30, "31 March"]]},
    ),
    "no timeline": ("timeline", [[]], {}),
    "flame": (
        "flame",
        [
            [
                [["main", "run", ["parse", "load", "emit"][one % 3], str(one % 5), HOSTILE[: one % 9]], 1 + one % 11]
                for one in range(80)
            ]
            + [[["main", "tiny"], 0.001], [["below"], -1]]
        ],
        {"unit": "ms"},
    ),
    "no flame": ("flame", [[]], {}),
    "shop": ("diagram", SHOP, {}),
    "shop downwards": ("diagram", SHOP, {"direction": "down"}),
    "one box": ("diagram", [[{"id": "a", "label": "Alone"}], [], []], {}),
    "no boxes": ("diagram", [[], [], []], {}),
    "unjoined boxes": ("diagram", [[{"id": str(one), "label": f"Box {one}"} for one in range(23)], [], []], {}),
    "hostile boxes": (
        "diagram",
        [
            [
                {"id": "a", "label": HOSTILE, "kind": HOSTILE, "lines": [HOSTILE] * 12},
                {"id": "b", "label": "", "tone": "?"},
            ],
            [{"source": "a", "target": "b", "label": HOSTILE}, {"source": "b", "target": "a", "label": "back"}],
            [],
        ],
        {},
    ),
    "sixty boxes": ("diagram", [*tree(60), []], {}),
    "too many boxes": ("diagram", [*tree(130), []], {"direction": "down"}),
}
