"""The one door into a provider: nothing goes in that the disk does not know of."""

from __future__ import annotations

from relay_runner.providers.base import Held, Process, Submission, SubmitResult
from relay_runner.runner.journal import Journal

DISK_FULL = "disk full"
RETRY_S = 2.0


async def submit(journal: Journal, process: Process, submission: Submission) -> SubmitResult:
    """Put a message in, as `Process.submit` does.

    Where the journal could not be written, it is held instead: a successor of a runner that dies now would know nothing
    of it, and put it in once more.
    """
    if journal.held_in_memory:
        return Held(DISK_FULL, RETRY_S)
    return await process.submit(submission)
