"""Checks before an apply that the image which a release names can be run: functions without it would not start."""

from botocore.exceptions import ClientError

from imagepipe.container import REPOSITORY, source_tree
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import ROOT, WORKTREE
from imagepipe.localcloud import functions_from, image_store
from imagepipe.localcloud.folder import Folder
from imagepipe.terragrunt.target import Cloud, Target


def require_image(target: Target) -> None:
    """Check that the image of an environment's release is where its functions are run from.

    Raises:
        PipelineError: it is not there.
    """
    release, name = target.environment.release, target.environment.name
    if release is None:
        return
    if target.cloud is Cloud.AWS:
        if release.image == WORKTREE and source_tree.stands_in():
            raise PipelineError(
                f"live/{name}/release.json has no image that AWS could run: make build-push ENV={name} CLOUD=aws, "
                "with credentials of the registry's account (docs/own-accounts.md)"
            )
        digest = source_tree.recorded_digest() if release.image == WORKTREE else release.image
        require_in_registry(target, digest, name)
    elif release.image != WORKTREE and functions_from.chosen() is functions_from.Functions.IMAGE:
        try:
            image_store.find(Folder(ROOT), release.image, REPOSITORY)
        except PipelineError as error:
            raise PipelineError(f"live/{name}/release.json: {error}") from None


def require_in_registry(target: Target, digest: str, name: str) -> None:
    """Check that the registry has an image.

    Args:
        target: its credentials are used.
        name: of the environment whose release names the image.

    Raises:
        PipelineError: the registry does not have the image, or does not answer.
    """
    registry = environments.load(environments.SHARED)
    try:
        answer = target.client("ecr").batch_get_image(
            registryId=registry.account_id, repositoryName=REPOSITORY, imageIds=[{"imageDigest": digest}]
        )
    except ClientError as error:
        raise PipelineError(
            f"the registry in account {registry.account_id} cannot be asked for the image of {name}: {error}; "
            "make apply ENV=shared makes the registry, and lets every environment's account read it"
        ) from None
    if not answer["images"]:
        raise PipelineError(
            f"the registry in account {registry.account_id} has no {digest}, which live/{name}/release.json names: "
            f"make build-push ENV={name} CLOUD={target.cloud}, or name an image that is there"
        )
