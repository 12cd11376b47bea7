"""Envelopes: names, order and exact numbers."""

import json
from decimal import Decimal

import msgspec
import pytest

from consumers.redis.channels import klines_channel, raw_channel
from model.records import Kline
from tests.support.klines import klines, price


def test_json_is_the_seeds_envelope_with_exact_numbers():
    """Field names and order are the contract; 33.404285 is never 33.40428499999953."""
    assert klines().json == (
        b'{"exchange":"bybit","channel":"linear","data_type":"klines","data":[{"symbol":"BTCUSDT","interval":60000,'
        b'"timestamp":1767716940000,"open":92967.8,"high":92970.8,"low":92815.5,"close":92846.1,'
        b'"volume":33.404285,"trade_count":3664,"turnover":3104285.99121,"complete":true,"source":"trades",'
        b'"revision":0}]}'
    )


@pytest.mark.parametrize(
    ("number", "plain"),
    [
        ("1E+2", "100"),
        ("1.2345E-6", "0.0000012345"),
        ("1.2E-7", "0.00000012"),
        ("0E-8", "0.00000000"),
        ("5", "5"),
        ("1E+22", "1" + 22 * "0"),
    ],
)
def test_json_is_in_plain_notation(number, plain):
    """Subscribers that compare text see 100, not 1E+2, whatever form the decimal came in."""
    envelope = klines(volume=Decimal(number))
    assert f'"volume":{plain},'.encode() in envelope.json
    assert json.loads(envelope.json)["data"][0]["volume"] == float(number)


@pytest.mark.parametrize("number", ["1E+999999999", "-1E-999999999", "0E-999999999"])
def test_a_number_of_a_gigabyte_keeps_its_exponent(number):
    """A ticker's field may be anything; it costs itself."""
    assert f'"price":{number}}}'.encode() in price(number).json


def test_a_symbol_that_looks_like_an_exponent_is_kept():
    """The check for exponents reads the whole text; a name may hold E+ or E-."""
    assert b'"symbol":"CORE-PERP"' in klines(symbol="CORE-PERP").json


def test_json_is_encoded_once():
    """Every output sends the very same bytes."""
    envelope = klines()
    assert envelope.json is envelope.json


def test_dict_has_the_same_fields_in_the_same_order():
    """A user's consumer sees what a subscriber sees."""
    envelope = klines()
    assert list(envelope.to_dict()) == list(json.loads(envelope.json))
    assert list(envelope.to_dict()["data"][0]) == [field.name for field in msgspec.structs.fields(Kline)]


def test_dict_has_floats_only_where_they_are_exact():
    """A decimal that no float writes the same way stays a decimal."""
    long = Decimal("12345678901.123456789")
    data = klines(volume=long, open=Decimal("0.1"), close=Decimal("1E+2")).to_dict()["data"][0]
    assert (data["open"], type(data["open"])) == (0.1, float)
    assert (data["close"], type(data["close"])) == (100.0, float)
    assert (data["volume"], type(data["volume"])) == (long, Decimal)
    assert type(data["trade_count"]) is int


def test_dict_is_the_callers_own():
    """A consumer that changes its dict changes nobody else's."""
    envelope = price()
    envelope.to_dict()["data"][0]["price"] = 0
    assert envelope.to_dict()["data"][0]["price"] == 67250.5


def test_channel_names():
    """Subscribers depend on these names."""
    assert raw_channel("bybit", "trades") == "stream:bybit_trades"
    assert raw_channel("bybit", "trades", "spot") == "stream:bybit_spot_trades"
    assert klines_channel("bybit") == "stream:bybit_klines"
