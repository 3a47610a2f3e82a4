"""What can go wrong between the bytes of a request and its detections. Knows nothing of HTTP.

    start      InvalidSettings, InvalidModel: the process does not start; WrongAnswers: it does not become ready
    key        Unauthorized, QuotaExceeded
    body       InvalidRequest, InvalidBody, UnsupportedMediaType, TooLarge, UploadTooSlow, ClientGone
    image      InvalidImage, InvalidRegions, UnsupportedMediaType, TooLarge: the others are answered
    anywhere   DeadlineExceeded
    decoding   DecodingFailed: only for the image that causes it
    queue      Overloaded, Unavailable
    engine     InferenceFailed: only for the image that causes it

Every message says what was expected, what came and what to do. All but those at the start reach the
caller, so none of them may hold a path, an address or the text of an inner exception. `problems.py`
gives each its status.
"""


class ServiceError(Exception):
    """Something that the caller or the operator is told about.

    Attributes:
        detail: one sentence for the person who reads the answer.
        reason: a short word for metrics and logs, from a fixed set.
        retry_after_s: when trying again makes sense, in seconds; None when it makes none.
    """

    reason = "error"

    def __init__(
        self, detail: str, *, reason: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason or self.reason
        self.retry_after_s = retry_after_s


class InvalidSettings(ServiceError):
    """An environment variable is unknown or has a value that cannot be used."""

    reason = "settings"


class InvalidModel(ServiceError):
    """The model file cannot be served, or not on the device that was asked for."""

    reason = "model"


class WrongAnswers(ServiceError):
    """The model gives other answers here than were seen of it at export."""

    reason = "wrong_answers"


class Unauthorized(ServiceError):
    """There are keys, and the caller has none of them."""

    reason = "key"


class QuotaExceeded(ServiceError):
    """The caller's key has asked for as much as it may for now."""

    reason = "quota"


class InvalidRequest(ServiceError):
    """A parameter, or the shape of the body, is not what the interface takes."""

    reason = "invalid_request"


class InvalidBody(ServiceError):
    """The body is damaged, or ends before its end: it cannot be known what was meant."""

    reason = "invalid_body"


class UnsupportedMediaType(ServiceError):
    """The body or the image is of a kind that is not read."""

    reason = "media_type"


class TooLarge(ServiceError):
    """More bytes, pixels, images, parts or values than the limits allow; `reason` says which."""

    reason = "bytes"


class InvalidImage(ServiceError):
    """The bytes are not an image, or a damaged one."""

    reason = "invalid_image"


class InvalidRegions(ServiceError):
    """A box of the caller's own that is no box, or not one inside its image."""

    reason = "invalid_regions"


class UploadTooSlow(ServiceError):
    """The body came slower than the least rate of uploads."""

    reason = "slow"


class ClientGone(ServiceError):
    """The caller closed the connection; nobody reads the answer."""

    reason = "client_gone"


class Overloaded(ServiceError):
    """As many images as the server holds are already inside."""

    reason = "full"


class Unavailable(ServiceError):
    """The server is warming up, draining, or its batch loop has ended."""

    reason = "not_ready"


class DeadlineExceeded(ServiceError):
    """The answer was not there in time; the work was dropped where it stood."""

    reason = "deadline"


class DecodingFailed(ServiceError):
    """The process that decoded this image ended of it."""

    reason = "decoding"


class InferenceFailed(ServiceError):
    """The model failed on this image, also when it ran alone."""

    reason = "inference"
