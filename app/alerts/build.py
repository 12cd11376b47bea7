"""The alerts of a collector, made of its settings. What they need is imported where they are asked for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from aggregation.service import KlineService
from app.outages import Outages
from conf.settings import Settings
from conf.values import split_alert_urls
from streams import StreamService

if TYPE_CHECKING:
    from app.alerts.service import AlertService
    from app.alerts.services import ServiceOptions


class Verdict(Protocol):
    """What says why a collector is not ready: app/health.py."""

    def reasons(self) -> Sequence[Mapping[str, Any]]: ...


class Told(Protocol):
    """What is told of: a Collector."""

    streams: StreamService
    klines: KlineService | None
    outages: Outages

    @property
    def health(self) -> Verdict: ...


def build_alerts(settings: Settings, collector: Told) -> "AlertService | None":
    """Return the alerts, None where no setting asks for any; ValueError for services that cannot be.

    Reads nothing of `collector` yet, which is about to be built.
    """
    if not (settings.has_alerts or settings.alert_heartbeat_url):
        return None
    from app.alerts.planner import PlannerOptions
    from app.alerts.service import AlertOptions, AlertService, Sources

    name = " ".join([settings.exchange, "+".join(settings.markets), settings.shard_name]).rstrip()
    options = AlertOptions(
        PlannerOptions(
            settings.exchange,
            name,
            after_s=settings.alert_after,
            most_per_hour=settings.alert_max_per_hour,
            listings=settings.alert_listings,
            has_klines=settings.enable_klines_stream,
        ),
        service_options(settings),
        heartbeat_url=_secret(settings.alert_heartbeat_url),
        folders=settings.written_folders,
    )

    def audit() -> Any:
        klines = collector.klines
        return klines.auditor.stats()["intervals"] if klines and klines.auditor else {}

    def streams() -> dict[str, str]:
        names = [stream.name for stream in collector.streams.supervisor.status()]
        problems = {name: collector.outages.problem_of(name) for name in names}
        # Of what was lost only the event says why; of what cannot be reached, what that means.
        return {name: "" if each is None or each.is_of_stream else each.meaning for name, each in problems.items()}

    return AlertService(options, Sources(streams, audit, collector.health.reasons))


def service_options(settings: Settings) -> "ServiceOptions":
    """Where alerts go."""
    from app.alerts.services import ServiceOptions

    urls = split_alert_urls(_secret(settings.alert_urls) or "")
    return ServiceOptions(settings.exchange, urls, _secret(settings.alert_webhook))


def _secret(value: Any) -> str | None:
    return value.get_secret_value() if value is not None else None
