"""Where the programs of this clone are, and what they need in their environment."""

import os

from imagepipe.live.environments import ROOT

TOOLS = ROOT / ".tools"

#: Units of one environment that run at a time; more only makes two cores swap places.
PARALLELISM = 4


def tool_variables() -> dict[str, str]:
    """What Terragrunt and Terraform need beside credentials; the caller's own CLI configuration is kept."""
    own = os.environ.get("TF_CLI_CONFIG_FILE", "")
    return {
        # Starting the AWS provider is mostly allocating: a lazier collector saves a fifth of every plan's CPU.
        "GOGC": os.environ.get("GOGC", "400"),
        "PATH": os.pathsep.join([str(TOOLS / "bin"), str(ROOT / ".venv/bin"), os.environ.get("PATH", "")]),
        "TF_CLI_CONFIG_FILE": own if os.path.isfile(own) else str(TOOLS / "terraform.rc"),
        "TF_IN_AUTOMATION": "1",
        "TG_NO_TIPS": "true",
        "TG_NON_INTERACTIVE": "true",
        "TG_PARALLELISM": str(PARALLELISM),
    }
