"""Headers of paged searches."""

from threadmill_gateway.routes.endpoint import Header

PAGE_HEADERS = (
    Header("X-Pagination-Total", "How far rows are known to reach: not how many match"),
    Header("X-Pagination-Next", "Offset of the next page; absent on the last one", always=False),
)


def page_headers(offset: int, count: int, has_more: bool) -> dict[str, str]:
    """`X-Pagination-Next` only when more rows exist; `Total` says how far we know rows to reach, not how many match."""
    reached = offset + count
    if has_more:
        return {"X-Pagination-Next": str(reached), "X-Pagination-Total": str(reached + 1)}
    return {"X-Pagination-Total": str(reached)}
