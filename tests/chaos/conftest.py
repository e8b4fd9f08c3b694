"""One cloud for all seeds: a run wipes it first."""

from collections.abc import Iterator

import pytest

from chaos.cloud import ChaosCloud, Deployment


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    cloud = ChaosCloud(tmp_path_factory.mktemp("chaos"))
    try:
        yield Deployment(cloud, tmp_path_factory.mktemp("chaos-modules"))
    finally:
        cloud.close()
