"""`make chaos [EVENTS=2000] [SEED=n]`: the pipeline under faults; build/chaos.json has the figures."""

import argparse
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from chaos.cloud import ChaosCloud, Deployment
from chaos.run import Report, run
from imagepipe.live.environments import ROOT
from imagepipe.tools import tool_variables

RESULT = ROOT / "build/chaos.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--events", type=int, default=2000, help="of S3, in each seed")
    parser.add_argument("--seed", type=int, help="the first seed; without it, any")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after another")
    arguments = parser.parse_args()
    os.environ.update(tool_variables())
    first = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    console, reports = Console(), []
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, Progress(console=console) as progress:
        bar = progress.add_task("starting", total=arguments.seeds)
        cloud = ChaosCloud(Path(folder) / "clone")
        try:
            deployment = Deployment(cloud, Path(folder) / "modules")
            for seed in range(first, first + arguments.seeds):
                progress.update(bar, description=f"seed {seed}")
                reports.append(run(deployment, seed, arguments.events))
                progress.advance(bar)
                _tell(console, reports[-1], arguments.events)
                _save(reports)
        finally:
            cloud.close()
    return 1 if any(report.violations for report in reports) else 0


def _tell(console: Console, report: Report, events: int) -> None:
    console.print(
        f"seed {report.seed}: {report.events} events in {report.seconds:.0f} s, {sum(report.faults.values())} faults, "
        f"{report.redriven} redriven, {report.swept} swept, {len(report.violations)} violations",
        soft_wrap=True,
    )
    for violation in report.violations[:20]:
        console.print(f"  {violation.kind}: {violation.key}: {violation.what}", markup=False, soft_wrap=True)
        for line in report.history.get(violation.key, []):
            console.print(f"      {line}", markup=False, soft_wrap=True)
    if report.violations:
        console.print(f"  again: make chaos EVENTS={events} SEED={report.seed}", soft_wrap=True)


def _save(reports: list[Report]) -> None:
    RESULT.parent.mkdir(exist_ok=True)
    summary = {
        "events": sum(report.events for report in reports),
        "seeds": [report.seed for report in reports],
        "seconds": round(sum(report.seconds for report in reports)),
        "operations": sum((report.operations for report in reports), Counter()),
        "faults": sum((report.faults for report in reports), Counter()),
        "redriven": sum(report.redriven for report in reports),
        "swept": sum(report.swept for report in reports),
        "violations": Counter(violation.kind for report in reports for violation in report.violations),
    }
    RESULT.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
