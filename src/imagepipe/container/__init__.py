"""The container image that every environment runs: its base, build, bill of materials and registry."""

from imagepipe.live.environments import project

#: The repository's name in every registry.
REPOSITORY = f"{project()}/processor"
