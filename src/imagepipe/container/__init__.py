"""The one artefact that every environment runs: built, described, pushed by digest, recorded in release.json."""

from imagepipe.live.environments import project

#: The repository's name in every registry.
REPOSITORY = f"{project()}/processor"
