"""Entry point of the emulator's process: applies the mends, then runs the emulator's own main."""

import os

from ministack import app

from imagepipe.localcloud import compat


def main() -> None:
    """Apply the mends and run the emulator until it is stopped."""
    compat.mend(function_host=os.environ["FUNCTION_HOST"])
    app.main()


if __name__ == "__main__":
    main()
