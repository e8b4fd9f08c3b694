"""Where the programs of this clone are, and the environment variables that they need."""

import os

from imagepipe.live.environments import ROOT

TOOLS = ROOT / ".tools"

#: Units of one environment that run at the same time. More of them only compete for two cores.
PARALLELISM = 4


def tool_variables() -> dict[str, str]:
    """Return what Terragrunt and Terraform need besides credentials. The caller's own CLI configuration is kept."""
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
