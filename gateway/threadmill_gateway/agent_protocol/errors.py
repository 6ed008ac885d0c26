"""Error bodies of the protocol: `{code, message, metadata}`."""

from functools import wraps
from http import HTTPStatus

import grpc
import structlog
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from threadmill_chassis.grpc_errors import reason_of

from threadmill_gateway import encode
from threadmill_gateway.context import Gateway
from threadmill_gateway.errors import RETRY_AFTER, describe, http_of
from threadmill_gateway.routes.endpoint import Handler

log = structlog.get_logger(__name__)


def with_problems(handler: Handler) -> Handler:
    """The handler, with its failures in the protocol's shape."""

    @wraps(handler)
    async def guarded(request: Request, gateway: Gateway) -> Response:
        try:
            return await handler(request, gateway)
        except ValidationError as error:
            return refusal(422, describe(error))
        except grpc.aio.AioRpcError as error:
            status, text = http_of(error)
            if status >= 500:
                log.warning("call_failed", code=error.code().name, details=error.details(), status=status)
            return _problem(status, _code(error, status), text)
        except HTTPException as error:
            if error.status_code == 405:  # a path of the other API
                raise
            return _problem(error.status_code, _code(error.__cause__, error.status_code), error.detail)

    return guarded


def refusal(status: int, message: str) -> Response:
    """The error body of a request that no service was asked about."""
    return _problem(status, _name(status), message)


def _code(cause: BaseException | None, status: int) -> str:
    """The service's reason, such as `run_not_found`; else the name of the status."""
    reason = reason_of(cause) if isinstance(cause, grpc.aio.AioRpcError) else ""
    return reason.lower() or _name(status)


def _name(status: int) -> str:
    return HTTPStatus(status).name.lower()


def _problem(status: int, code: str, message: str) -> Response:
    status = 422 if status == 400 else status  # the protocol has no 400
    headers = RETRY_AFTER if status == 503 else None
    return encode.document_response({"code": code, "message": message, "metadata": {}}, headers, status)
