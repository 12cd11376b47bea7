"""Wrong arguments are refused with a sentence."""

import pytest

from exchanges.simulated.bybit.dialect import DIALECT
from exchanges.simulated.options import parse_options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "-1"], "not a number from 0"),
        (["--symbols", "x"], "not a number from 1"),
        (["--categories", "linear,moon"], "allowed are linear"),
        (["--mix", "trades=1,news=2"], "kinds are trades"),
        (["--mix", "trades"], "does not look like"),
        (["--symbols", "2", "--illiquid", "2"], "somebody has to trade"),
        (["--replay-path", "moon"], "allowed are linear"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And name what is allowed."""
    with pytest.raises(SystemExit) as ended:
        parse_options(arguments, DIALECT)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_rate_is_shared_by_the_mix() -> None:
    """Kinds that the mix leaves out are silent."""
    options = parse_options(["--rate", "100", "--mix", "trades=3,ticker=1"], DIALECT)
    assert options.rates() == {"trades": 75.0, "orderbook": 0.0, "ticker": 25.0, "liquidation": 0.0}
