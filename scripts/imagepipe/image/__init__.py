"""The one artefact that every environment runs: built, described, pushed by digest, recorded in release.json."""

#: The repository's name in every registry; live/_units/context.hcl has the same.
REPOSITORY = "image-pipeline/processor"
