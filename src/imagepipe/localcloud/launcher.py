"""What runs in the emulator's process: the mends first, then the emulator's own main."""

import os

from ministack import app

from imagepipe.localcloud import compat


def main() -> None:
    compat.mend(function_host=os.environ["FUNCTION_HOST"])
    app.main()


if __name__ == "__main__":
    main()
