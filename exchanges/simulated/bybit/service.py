"""Bybit's answers: control frames of the public sockets, the private side, REST."""

from ..hub import Session
from ..service import Usual, World
from .control import Control
from .private import PrivateSide


class BybitService(Usual):
    """Routes to the handler of a session's path."""

    def __init__(self, world: World) -> None:
        self._control = Control(world.hub, world.find, world.first, world.market.now_ms)
        self._private = private = PrivateSide(world.options, world.hub, world.market)
        self.commands, self.questions = private.commands.commands, private.commands.questions
        self.faults, self.answer = private.gateway.faults, private.gateway.answer
        self.refuse_rest = private.gateway.limit_for

    def opened(self, session: Session, target: str) -> None:
        """Bybit's URLs name no topics."""

    def tick(self) -> None:
        """Match orders with the market."""
        self._private.matching.run()

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer a client's message."""
        if session.category == "private":
            self._private.stream.handle(session, message)
        elif session.category == "trade":
            self._private.trade.handle(session, message)
        else:
            self._control.handle(session, message)


def open_service(world: World) -> BybitService:
    """The service of a simulated Bybit."""
    return BybitService(world)
