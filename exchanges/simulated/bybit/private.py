"""The private side joined with the REST gateway: keys, accounts, orders, limits, faults, the two private sockets.

Event loop thread only.
"""

from ..hub import Hub
from ..market import Market
from ..options import Options
from .accounts import Accounts
from .auth import Keys
from .gateway import Gateway
from .market_api import MarketApi
from .matching import Matching
from .orders import OrderDesk
from .positions import Positions
from .private_api import PrivateApi
from .private_commands import Clock, PrivateCommands
from .private_lists import PrivateLists
from .private_ws import AuthFaults, PrivateStream
from .rest_faults import BybitFaults
from .rest_limits import IP_BAN_S, IP_LIMIT, IpLimit, OrderCounts, UidLimits
from .trade_ws import TradeStream


class PrivateSide:
    """All parts that work on accounts."""

    def __init__(self, options: Options, hub: Hub, market: Market) -> None:
        clock = Clock(market.now_ms)
        keys, accounts, counts = Keys(options.api_key), Accounts(), OrderCounts()
        auth_faults, faults = AuthFaults(), BybitFaults(clock.now_ms, "/v5/")
        ban_s = IP_BAN_S if options.ban_s is None else options.ban_s
        limits, ip = UidLimits(options.uid_limit), IpLimit(options.rest_limit or IP_LIMIT, ban_s)
        self.stream = PrivateStream(hub, keys, auth_faults, clock.now_ms)
        self.matching = Matching(market, clock.now_ms, self.stream.push)
        desk = OrderDesk(self.matching, clock.now_ms, options.active_orders)
        lists = PrivateLists(desk, self.matching, clock.now_ms)
        positions = Positions(desk, self.matching, clock.now_ms)
        api = PrivateApi(keys, accounts, desk, lists, positions, limits, clock.now_ms)
        self.trade = TradeStream(hub, keys, api, counts, auth_faults, clock.now_ms)
        self.gateway = Gateway(MarketApi(market, clock.now_ms), api, ip, faults, counts, clock.now_ms)
        self.commands = PrivateCommands(
            self.gateway, keys, accounts, self.matching, auth_faults, self.trade, clock, self.stream
        )
