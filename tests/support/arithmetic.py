"""Arithmetics of markets for tests of klines."""

from aggregation.klines.arithmetic import Arithmetic

FIRST_TRADE = Arithmetic("first_trade")  # asked for of an exchange that opens at the previous close
INVERSE = Arithmetic(is_inverse=True)
