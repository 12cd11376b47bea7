"""Which connections deliver which symbols, and how far each has come. Pure; rows of the table, exchange time in ms."""

from collections.abc import Mapping

from model.records import Delivery

Watermarks = Mapping[Delivery, int]
"""Until when each connection has delivered all that was sent."""


class Deliveries:
    """The connections of one market. A row without one is not judged here."""

    def __init__(self) -> None:
        self._rows: dict[Delivery, set[int]] = {}

    def up(self, row: int, delivery: Delivery | None) -> None:
        """`delivery` brings `row` from now on; None is not known by how far it has come."""
        if delivery is not None:
            self._rows.setdefault(delivery, set()).add(row)

    def down(self, row: int, delivery: Delivery | None) -> None:
        """It does not any more."""
        rows = self._rows.get(delivery) if delivery is not None else None
        if rows is not None and delivery is not None:
            rows.discard(row)
            if not rows:
                del self._rows[delivery]

    def watermarks(self, now_ms: int) -> Watermarks:
        """Of every connection."""
        return {delivery: delivery.watermark_ms(now_ms) for delivery in self._rows}

    def behind(self, marks: Watermarks, until_ms: int) -> dict[int, int]:
        """Rows that no connection has delivered until then, and how far they are."""
        behind = [delivery for delivery in self._rows if marks.get(delivery, 0) < until_ms]
        found: dict[int, int] = {}
        for delivery in behind:
            mark = marks.get(delivery, 0)
            for row in self._rows[delivery]:
                found[row] = max(found.get(row, 0), mark)
        if found and len(behind) < len(self._rows):
            for delivery in self._rows.keys() - behind:
                for row in self._rows[delivery] & found.keys():
                    del found[row]
        return found

    def of(self, rows: set[int]) -> list[Delivery]:
        """The connections that bring any of these rows."""
        return [delivery for delivery, its in self._rows.items() if not rows.isdisjoint(its)]
