"""Messages of the dead-letter queue."""

from imagepipe.operations import messages
from imagepipe.operations.dead_letters import Letter

from .conftest import ID, OLD, record


def test_letter_knows_which_queue_it_is_of() -> None:
    bodies = [messages.reprocess_request(record()), messages.original_event(record())]
    assert [Letter("m", body, OLD, (ID,), ("k",), None).of_backfill for body in bodies] == [True, False]
