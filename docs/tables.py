"""Write the tables of docs/ that follow from data: `make docs`. With --check, only say which are out of date.

A table stands between `<!-- table: <name> -->` and `<!-- /table -->`. Prices come from
src/imagepipe/operations/prices.json, measurements from docs/figures.json, everything else from the code.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from imagepipe.localcloud import compat

ROOT = Path(__file__).resolve().parents[1]
FIGURES: dict[str, Any] = json.loads((ROOT / "docs/figures.json").read_text())
PRICES: dict[str, Any] = json.loads((ROOT / "src/imagepipe/operations/prices.json").read_text())
BLOCK = re.compile(r"(?P<begin><!-- table: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- /table -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write or check every page; the exit code is 1 when a check finds an old table."""
    stale = [page for page in pages() if (text := page.read_text()) != with_tables(text)]
    if "--check" in arguments:
        for page in stale:
            print(f"{page.relative_to(ROOT)}: a table is out of date; run make docs")
        return 1 if stale else 0
    for page in stale:
        page.write_text(with_tables(page.read_text()))
        print(f"{page.relative_to(ROOT)} is up to date now")
    return 0


def pages() -> list[Path]:
    """List the pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def with_tables(text: str) -> str:
    """Return a page's text with every table made anew."""
    return BLOCK.sub(lambda block: f"{block['begin']}{TABLES[block['name']]()}{block['end']}", text)


def markdown(head: Iterable[Any], rows: Iterable[Iterable[Any]], right: int = 1) -> str:
    """Return a Markdown table; columns from `right` on are numbers. None is an empty cell."""
    head = list(head)
    rule = ["---"] * right + ["---:"] * (len(head) - right)
    lines = [head, rule, *rows]
    return "".join(f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |\n" for line in lines)


def engine() -> str:
    """Tabulate speed, memory and quality beside the peers; ratios of CPU are computed here."""
    data = FIGURES["engine"]
    sharp, pillow = data["cpu_ms"][:2]
    rows = [
        ["CPU per image, ms", *data["cpu_ms"]],
        ["… by sharp's", *(f"{value / sharp:.2f}" for value in data["cpu_ms"])],
        ["… by Pillow's", *(f"{value / pillow:.2f}" for value in data["cpu_ms"])],
        ["images per second, two cores", *data["images_per_second"]],
        ["peak memory, MB", *data["peak_rss_mb"]],
        ["bytes that a current browser loads, by sharp's", *data["bytes_vs_sharp"]],
        *([f"SSIMULACRA2 at {width}", *scores] for width, scores in data["ssimulacra2"].items()),
    ]
    return markdown(["", *data["columns"]], rows)


def memory() -> str:
    """Tabulate the peak memory of dear images."""
    return markdown(["image", "peak memory, MB", "seconds"], FIGURES["memory"]["rows"])


def shrinking() -> str:
    """Tabulate ways to shrink: CPU in ms, and the score of the resize alone at each width."""
    head = ["way to shrink", "CPU ms, decode and resizes", "1920", "1280", "640", "256"]
    return markdown(head, FIGURES["shrinking"]["ways"])


def cold() -> str:
    """Tabulate the start of a function beside one written by hand; ratios are computed here."""
    rows = [
        [f"{name}, {unit}" if unit else name, f"{by_hand:,}", f"{ours:,}", f"{ours / by_hand:.2f}", goal]
        for name, unit, by_hand, ours, goal in FIGURES["cold"]["rows"]
    ]
    return markdown(["", "by hand", "ours", "ratio", "goal"], rows)


def clients() -> str:
    """Tabulate the cost of another S3 client on top of botocore."""
    rows = [[name, f"{cpu:.2f} ×", f"{memory:.2f} ×", size] for name, cpu, memory, size in FIGURES["clients"]["rows"]]
    return markdown(["client", "CPU", "memory", "MB more in the image"], rows)


def requests() -> str:
    """Tabulate requests per image."""
    data = FIGURES["requests"]
    return markdown(["", *data["columns"]], ([name, *counts] for name, counts in data["rows"].items()))


def rest() -> str:
    """Tabulate what an environment costs in a month without traffic, beyond the free allowances of its account."""
    items = list(rest_items())
    rows: list[list[Any]] = [[name, arithmetic, f"{dollars:,.2f}"] for name, arithmetic, dollars in items]
    rows.append(["**together, a month**", "", f"**{sum(dollars for *_, dollars in items):,.2f}**"])
    return markdown(["item", "arithmetic", PRICES["currency"]], rows, right=2)


def rest_items() -> Iterable[tuple[str, str, float]]:
    """Yield item, arithmetic in words, and dollars a month."""
    load, price, free = FIGURES["rest"], PRICES, PRICES["free"]
    for name, kind in (("metrics of alarms", "alarm_metric"), ("custom metrics", "custom_metric")):
        count, allowed, unit = load[f"{kind}s"], free[f"{kind}s"], price[f"{kind}_month"]
        beyond = max(0, count - allowed)
        yield name, f"{count}, of which {allowed} are free: {beyond} × {unit}", beyond * unit
    polls = load["mappings"] * load["pollers"] * 30 * 86_400 / load["poll_seconds"]
    beyond = max(0, polls - free["sqs_requests"])
    yield (
        "SQS",
        f"{load['mappings']} queues × {load['pollers']} pollers, every {load['poll_seconds']} s: {millions(polls)}, "
        f"of which {millions(free['sqs_requests'])} are free: {millions(beyond)} × {million(price['sqs_request'])}",
        beyond * price["sqs_request"],
    )


def costs() -> str:
    """Tabulate the cost of a million photographs, item by item, with the arithmetic."""
    items = list(cost_items())
    rows: list[list[Any]] = [[name, arithmetic, f"{dollars:,.2f}"] for name, arithmetic, dollars in items]
    rows.append(["**together, in the first month**", "", f"**{sum(dollars for *_, dollars in items):,.2f}**"])
    return markdown(["item", "arithmetic", PRICES["currency"]], rows, right=2)


def cost_items() -> Iterable[tuple[str, str, float]]:
    """Yield item, arithmetic in words, and dollars."""
    load, price = FIGURES["costs"], PRICES
    images = load["images"]
    gigabytes = images * (load["megabytes_in"] + load["megabytes_out"]) / 1000
    yield (
        "S3 storage, a month",
        f"{gigabytes:,.0f} GB × {price['s3_gb_month']}",
        gigabytes * price["s3_gb_month"],
    )
    puts = images * (1 + load["variants"])
    yield (
        "S3 requests",
        f"{millions(puts)} PUT × {thousand(price['s3_put'])} + {millions(images)} GET × {thousand(price['s3_get'])}",
        puts * price["s3_put"] + images * price["s3_get"],
    )
    memory, second = load["memory_mb"] / 1024, price["lambda_gb_second"][load["architecture"]]
    yield (
        f"Lambda, {load['architecture']}, {load['memory_mb']:,} MB (one vCPU)",
        f"{millions(images)} × {load['seconds']} s × {memory:.3f} GB × {second:.10f} + "
        f"{millions(images)} calls × {million(price['lambda_request'])}",
        images * (load["seconds"] * memory * second + price["lambda_request"]),
    )
    units = images * load["write_units"]
    yield (
        "DynamoDB",
        f"{millions(units)} write units × {million(price['dynamodb_write_unit'])}",
        units * price["dynamodb_write_unit"],
    )
    yield (
        "EventBridge",
        f"{millions(images)} events × {million(price['eventbridge_event'])}",
        images * price["eventbridge_event"],
    )
    calls = images * load["sqs_requests"]
    yield "SQS", f"{millions(calls)} requests × {million(price['sqs_request'])}", calls * price["sqs_request"]
    logs = images * load["log_kilobytes"] / 1e6
    yield (
        "CloudWatch Logs",
        f"{millions(images)} × {load['log_kilobytes']} KB × {price['logs_gb']} per GB",
        logs * price["logs_gb"],
    )


def views() -> str:
    """Tabulate the cost of a million pictures that are looked at: a request to the API, then one to S3."""
    items = list(view_items())
    rows: list[list[Any]] = [[name, arithmetic, f"{dollars:,.2f}"] for name, arithmetic, dollars in items]
    rows.append(["**together**", "", f"**{sum(dollars for *_, dollars in items):,.2f}**"])
    return markdown(["item", "arithmetic", PRICES["currency"]], rows, right=2)


def view_items() -> Iterable[tuple[str, str, float]]:
    """Yield item, arithmetic in words, and dollars."""
    load, price = FIGURES["views"], PRICES
    count, memory, second = load["pictures"], load["memory_mb"] / 1024, price["lambda_gb_second"][load["architecture"]]
    gigabytes, logs, units = (count * load[name] for name in ("kilobytes", "log_kilobytes", "read_units"))
    yield (
        "transfer to the internet",
        f"{gigabytes / 1e6:g} GB × {price['transfer_gb']}",
        gigabytes / 1e6 * price["transfer_gb"],
    )
    yield (
        "API Gateway",
        f"{millions(count)} requests × {million(price['http_api_request'])}",
        count * price["http_api_request"],
    )
    yield "CloudWatch Logs", f"{logs / 1e6:g} GB × {price['logs_gb']}", logs / 1e6 * price["logs_gb"]
    yield "S3 requests", f"{millions(count)} GET × {thousand(price['s3_get'])}", count * price["s3_get"]
    yield (
        f"Lambda, {load['architecture']}, {load['memory_mb']} MB",
        f"{millions(count)} × {load['seconds']} s × {memory:g} GB × {second:.10f} + "
        f"{millions(count)} calls × {million(price['lambda_request'])}",
        count * (load["seconds"] * memory * second + price["lambda_request"]),
    )
    yield (
        "DynamoDB",
        f"{millions(units)} read units × {million(price['dynamodb_read_unit'])}",
        units * price["dynamodb_read_unit"],
    )


def millions(count: float) -> str:
    """Write a count in millions: 11 M."""
    return f"{count / 1e6:g} M"


def million(price: float) -> str:
    """Write a price per million: 0.4 per M."""
    return f"{price * 1e6:.4g} per M"


def thousand(price: float) -> str:
    """Write a price per thousand: 0.005 per 1,000."""
    return f"{price * 1e3:.4g} per 1,000"


def mends() -> str:
    """Tabulate the mends of the emulator in the order of their application, in the words of their docstrings."""
    names = re.findall(r"^    (\w+)\(", inspect.getsource(compat.mend), re.MULTILINE)
    rows = []
    for name in names:
        summary, _, rest = inspect.cleandoc(getattr(compat, name).__doc__).partition("\n\n")
        rows.append([f"`{name}`", " ".join(summary.split()), " ".join(rest.split()).replace("|", "\\|")])
    return markdown(["mend", "the local cloud", "the emulator as it comes"], rows, right=3)


TABLES: dict[str, Callable[[], str]] = {
    "engine": engine,
    "memory": memory,
    "shrinking": shrinking,
    "cold": cold,
    "clients": clients,
    "requests": requests,
    "rest": rest,
    "costs": costs,
    "views": views,
    "mends": mends,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
