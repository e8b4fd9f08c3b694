"""`python -m imagepipe`: the command where no virtual environment put it on PATH."""

from imagepipe.cli import main

main()
