"""The error that users see: one sentence that says what is wrong and what to do."""


class PipelineError(Exception):
    """An error that is shown as one line, without a traceback. The command exits with 1."""


class LocalCloudError(PipelineError):
    """The local cloud cannot start. The message says what to do."""
