"""Deploy the image pipeline, and work with its images, in any environment. The Makefile calls this command."""

import errno
import sys

import typer
from botocore.exceptions import BotoCoreError, ClientError

from imagepipe.cli import ci, container, deliver, doctor, images, local, operate
from imagepipe.errors import PipelineError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for group in (local, container, deliver, doctor, images, operate):
    app.add_typer(group.app)
app.add_typer(ci.app, name="ci", rich_help_panel="Workflows")


def main() -> None:
    """Run the command. An error that the user can act on becomes one line and exit code 1."""
    try:
        app()
    except PipelineError as error:
        sys.exit(f"imagepipe: {error}")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"imagepipe: AWS: {error}")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(f"imagepipe: the disk is full: free some space and run it again ({error.filename or 'unknown file'})")
