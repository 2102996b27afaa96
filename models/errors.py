"""What can go wrong when a model is asked.

::

    GreenroomError
    └── ModelError              model
        ├── ModelFileError      model_file        a GGUF that is missing, damaged or unsupported
        ├── ModelDoesNotFit     model_fit         the machine's memory can't hold it as asked
        ├── ModelUnavailable    model_unavailable no engine is up, or it died; a rung down may answer
        ├── RequestRefused      model_refused     queue full, prompt too long, schema unfit: asked wrongly
        ├── BackendRefused      backend_refused   the backend that was named may not be asked for this
        ├── DeadlineExceeded    deadline          late work is cancelled, not queued
        ├── Cancelled           cancelled         the asker, or an abandoned epoch, withdrew it
        ├── BudgetExceeded      budget            the limit of the ledger named in the message is reached
        ├── RateLimited         rate_limited      the provider asked us to slow down (429, 529)
        ├── SafetyRefusal       safety            the model declined to answer
        └── PromptError         prompt            a template that is unknown, unreadable or fails
"""

from __future__ import annotations

from foundation.errors import GreenroomError


class ModelError(GreenroomError):
    """A model could not answer."""

    code = "model"


class ModelFileError(ModelError):
    """A model file is missing, damaged or of an unsupported kind; the message names the file."""

    code = "model_file"


class ModelDoesNotFit(ModelError):
    """The measured memory can't hold the model as asked; `named` lists the wishes that are why.

    Without any, not even one sequence with the least context fits.
    """

    code = "model_fit"

    def __init__(self, message: str, hint: str = "", named: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.named = named


class ModelUnavailable(ModelError):
    """No engine can take the request now."""

    code = "model_unavailable"
    retryable = True


class RequestRefused(ModelError):
    """The request can't be served as asked: a full queue, too long a prompt, an unfit schema."""

    code = "model_refused"


class BackendRefused(ModelError):
    """A request names a backend that is unknown, switched off, or not asked for its purpose.

    The message names those that may be.
    """

    code = "backend_refused"


class DeadlineExceeded(ModelError):
    """The answer would have come too late and was cancelled."""

    code = "deadline"


class Cancelled(ModelError):
    """The request was withdrawn."""

    code = "cancelled"


class BudgetExceeded(ModelError):
    """Answering would pass a spending limit."""

    code = "budget"


class RateLimited(ModelError):
    """The provider asked for less; `retry_after_s` says for how long, when it did."""

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class SafetyRefusal(ModelError):
    """The model declined to answer."""

    code = "safety"


class PromptError(ModelError):
    """A prompt's template has no known name, can't be read or can't be filled in."""

    code = "prompt"
