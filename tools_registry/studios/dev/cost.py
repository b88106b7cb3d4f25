"""Adds up what infrastructure costs, month by month. All of it happens in the browser:
static/holdfast/studio/dev/cost.js, which has the same example rates; a test holds both together.

The rates are Amazon's list prices for US East (N. Virginia), on demand, before tax, as they were on RATES_DATE:
aws.amazon.com/pricing, by the pages of each service.
"""

from __future__ import annotations

from tools_registry.fields import Choice, Flag, Number, Rows, Text, Whole
from tools_registry.studio import Tool

RATES_DATE = "2025-10-01"
RATES = {
    "t3.small": "Server, 2 vCPU, 2 GB (EC2 t3.small): $0.0208 an hour",
    "t3.medium": "Server, 2 vCPU, 4 GB (EC2 t3.medium): $0.0416 an hour",
    "t3.large": "Server, 2 vCPU, 8 GB (EC2 t3.large): $0.0832 an hour",
    "m6i.large": "Server, 2 vCPU, 8 GB, steady (EC2 m6i.large): $0.096 an hour",
    "m6i.xlarge": "Server, 4 vCPU, 16 GB, steady (EC2 m6i.xlarge): $0.192 an hour",
    "c5.large": "Server, 2 vCPU, 4 GB, for computing (EC2 c5.large): $0.085 an hour",
    "r5.large": "Server, 2 vCPU, 16 GB, for memory (EC2 r5.large): $0.126 an hour",
    "aurora.acu": "Database, one capacity unit (Aurora Serverless v2): $0.12 an hour",
    "alb": "Load balancer (ALB, without its capacity units): $0.0225 an hour",
    "nat": "NAT gateway: $0.045 an hour",
    "gp3": "Disk (EBS gp3): $0.08 a GB and month",
    "s3": "Object storage (S3 Standard): $0.023 a GB and month",
    "aurora.storage": "Database storage (Aurora): $0.10 a GB and month",
    "transfer": "Transfer out to the internet (first 10 TB): $0.09 a GB",
    "nat.data": "Through the NAT gateway: $0.045 a GB",
    "logs": "Logs taken in (CloudWatch): $0.50 a GB",
    "lambda": "Function calls (Lambda, without their time): $0.20 a million",
    "s3.get": "Reads of objects (S3 GET): $0.40 a million",
}
UNITS = {
    "hour": "an hour, each",
    "month": "a month, each",
    "gb": "a GB",
    "million": "a million",
    "percent": "% of all other lines",
}
KINDS = {
    "compute": "Computing",
    "storage": "Storage",
    "transfer": "Transfer",
    "requests": "Requests",
    "support": "Support",
    "other": "Other",
}


def _line(name: str, kind: str, rate: str, count: float, **more: object) -> dict[str, object]:
    plain: dict[str, object] = {"name": name, "kind": kind, "rate": rate, "count": count, "unit": "month"}
    return plain | {"hours": 730.0, "free": 0.0, "least": 0.0, "reserved": 0.0, "grows": True} | more


TOOL = Tool(
    slug="dev-studio/cost",
    title="Infrastructure cost",
    noun="calculation",
    summary="What servers, storage and traffic cost by month and year, with growth, reservations and what moves it.",
    mode="client",
    icon="coins",
    fields=(
        Rows(
            name="lines",
            title="What you use",
            help=f"The example prices are Amazon’s list prices of {RATES_DATE} for US East, before tax.",
            noun="line",
            count_max=80,
            fields=(
                Text(name="name", title="Name", length_max=80, is_short=True, is_required=True),
                Choice(name="kind", title="Kind", choices=KINDS, default="compute"),
                Choice(name="rate", title="Price", choices={"own": "My own price"} | RATES, default="own"),
                Number(name="price", title="My own price", min=0, max=10_000_000),
                Choice(name="unit", title="My price is for", choices=UNITS, default="month"),
                Number(name="count", title="How many a month", min=0, max=1_000_000_000, default=1.0, is_required=True),
                Number(
                    name="hours",
                    title="Hours a month",
                    help="For prices by the hour; 730 is always on.",
                    min=0,
                    max=744,
                    default=730.0,
                ),
                Number(
                    name="free",
                    title="Free each month",
                    help="Of that many: hours, GB or millions.",
                    min=0,
                    max=1_000_000_000,
                    default=0.0,
                ),
                Number(name="least", title="At least a month", min=0, max=10_000_000, default=0.0),
                Number(
                    name="reserved",
                    title="Reserved",
                    help="How much of it is reserved, for prices by the hour.",
                    unit="%",
                    min=0,
                    max=100,
                    default=0.0,
                ),
                Flag(name="grows", title="Grows", default=True),
            ),
        ),
        Choice(
            name="currency",
            title="Currency",
            choices={"$": "US dollar", "£": "Pound", "€": "Euro"},
            default="$",
        ),
        Number(
            name="dollar",
            title="What a dollar costs in it",
            help="For the example prices, which are in dollars.",
            min=0.0001,
            max=10_000,
            default=1.0,
        ),
        Number(name="growth", title="Growth a month", unit="%", min=-50, max=100, default=0.0),
        Whole(name="months", title="Months to look ahead", min=1, max=60, default=12),
        Number(
            name="discount",
            title="Discount for reserving",
            help="What your provider takes off the hourly price.",
            unit="%",
            min=0,
            max=95,
            default=30.0,
        ),
        Choice(name="term", title="Reserved for", choices={"12": "One year", "36": "Three years"}, default="12"),
        Number(
            name="upfront",
            title="Paid at its beginning",
            help="The part of the term’s price that is paid at once.",
            unit="%",
            min=0,
            max=100,
            default=0.0,
        ),
        Number(name="budget", title="Budget a month", min=0, max=1_000_000_000),
    ),
    example={
        "lines": [
            _line("Web servers", "compute", "m6i.large", 3.0, reserved=67.0),
            _line("Database", "compute", "aurora.acu", 4.0, reserved=100.0),
            _line("Night jobs", "compute", "c5.large", 2.0, hours=120.0, grows=False),
            _line("Load balancer", "compute", "alb", 1.0, grows=False),
            _line("Uploads", "storage", "s3", 500.0),
            _line("Disks", "storage", "gp3", 300.0),
            _line("Traffic", "transfer", "transfer", 1100.0, free=100.0),
            _line("Calls", "requests", "lambda", 12.0, free=1.0),
            _line("Monitoring", "other", "own", 5.0, price=15.0, grows=False),
            _line("Support", "support", "own", 1.0, price=10.0, unit="percent", least=100.0),
        ],
        "currency": "$",
        "dollar": 1.0,
        "growth": 4.0,
        "months": 24,
        "discount": 30.0,
        "term": "12",
        "upfront": 50.0,
        "budget": 1500.0,
    },
)
