"""The one error that reaches people: a sentence that says what is wrong and names the fix."""


class PipelineError(Exception):
    """Shown as one line, without a traceback; the command exits with 1."""


class LocalCloudError(PipelineError):
    """The local cloud cannot start; the message names the fix."""
