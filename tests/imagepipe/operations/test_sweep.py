"""Which objects of the processed bucket a sweep may take, and which it must leave."""

from datetime import UTC, datetime, timedelta

from imagepipe.operations.sweep import GRACE, Version, orphans

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OLD, YOUNG = NOW - GRACE - timedelta(seconds=1), NOW - GRACE + timedelta(seconds=1)


def version(key: str, modified: datetime = OLD, identity: str = "v1", *, marker: bool = False) -> Version:
    return Version(key, identity, modified, size=7, latest=True, marker=marker)


def swept(*versions: Version, shown: set[str] | None = None) -> list[str]:
    return [orphan.key for orphan in orphans(versions, lambda _: shown or set(), NOW)]


def test_what_no_record_shows_is_an_orphan() -> None:
    assert swept(version("image/1/a.jpg"), version("image/2/a.jpg"), shown={"image/2/a.jpg"}) == ["image/1/a.jpg"]


def test_single_keys_under_a_shown_revision_can_be_orphans() -> None:
    """A process that was killed under one recipe leaves names that the next try, under another, does not write."""
    assert swept(version("image/1/a.jpg"), version("image/1/b.jpg"), shown={"image/1/a.jpg"}) == ["image/1/b.jpg"]


def test_what_running_work_may_have_written_is_left() -> None:
    assert swept(version("image/1/a.jpg", YOUNG)) == []


def test_no_caller_may_ask_for_less_than_the_grace() -> None:
    for less in (timedelta(0), timedelta(seconds=1), timedelta(hours=-1)):
        assert list(orphans([version("image/1/a.jpg", YOUNG)], lambda _: set(), NOW, less)) == []
    assert list(orphans([version("image/1/a.jpg", OLD)], lambda _: set(), NOW, timedelta(hours=2))) == []


def test_key_that_was_just_written_again_is_left_with_all_its_versions() -> None:
    assert swept(version("image/1/a.jpg", YOUNG, "v2"), version("image/1/a.jpg", OLD, "v1")) == []


def test_all_versions_of_an_orphan_go_by_their_ids() -> None:
    versions = [version("image/1/a.jpg", OLD, "v2"), version("image/1/a.jpg", OLD, "v1")]
    [orphan] = orphans(versions, lambda _: set(), NOW)
    assert [one.id for one in orphan.versions] == ["v2", "v1"]
    assert orphan.size == 14


def test_what_is_deleted_already_is_left_to_the_lifecycle() -> None:
    assert swept(version("image/1/a.jpg", OLD, "v2", marker=True)) == []


def test_the_record_is_read_after_the_object_was_seen() -> None:
    ids = []

    def shown(image_id: str) -> set[str]:
        ids.append(image_id)
        return {"image/1/a.jpg"}

    assert list(orphans([version("image/1/a.jpg")], shown, NOW)) == []
    assert ids == ["image"]
