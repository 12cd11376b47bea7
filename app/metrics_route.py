"""The route of the metrics, whose text is made by a module that the first scrape imports."""

import functools
from typing import TYPE_CHECKING

from consumers.web.http import Route

if TYPE_CHECKING:
    from app.metrics import Collecting, Metrics, Watched


def metrics_routes(service: "Watched", collector: "Collecting | None" = None) -> dict[str, Route]:
    """Return /metrics of a service, and of what it has besides where it is a collector."""

    @functools.cache
    def metrics() -> "Metrics":
        from app.metrics import Metrics

        return Metrics(service, collector)

    return {"/metrics": Route(lambda request: metrics().answer(request))}
