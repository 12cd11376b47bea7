"""Names of symbols and coins: how people write them, and how an exchange does.

The one grammar for settings, the list of coins, STREAMS, topics, outputs and the client. Pure. Does not decide what is
listed: the exchange does.
"""

import functools
import unicodedata

NAME_CHARACTERS_MOST = 40  # Bybit's longest, of options, have 26
NAMES_REMEMBERED = 10_000  # an exchange lists some 3,000
CATEGORIES = frozenset("LMN")  # of Unicode: letters, the marks on them, and numbers, for a few coins have Chinese names
INNER = "-_"  # BTC-26DEC25
INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"  # what a web page leaves around a copied name
PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {ord("、"): ","}  # full-width, of Chinese keyboards
PAIR_MARKS = str.maketrans("/:", "--")  # BTC/USDT, and BTC/USDT:USDT of ccxt; no exchange has them in a symbol


@functools.lru_cache(NAMES_REMEMBERED)
def canonical(text: str) -> str:
    """Write a name as exchanges do: in capitals, composed (NFC), in plain letters, nothing around it; BTC/USDT dashed.

    What is no name stays none: see `is_symbol`.
    """
    name = plain(text).strip().strip(INVISIBLE).strip().upper().translate(PAIR_MARKS)
    return unicodedata.normalize("NFC", name)


def split_names(text: str) -> tuple[str, ...]:
    """Read names with commas between them; what is no name stays among them, to be refused later."""
    return tuple(canonical(name) for name in plain(text).split(",") if name.strip())


def plain(text: str) -> str:
    """Write full-width letters, digits and commas as plain ones."""
    return text.translate(PLAIN)


def is_symbol(name: str) -> bool:
    """Return whether a text is the name of a symbol or coin as the exchange writes it."""
    return (
        0 < len(name) <= NAME_CHARACTERS_MOST
        and name[0] not in INNER
        and all(map(is_name_character, name))
        and canonical(name) == name
    )


def is_name_character(character: str) -> bool:
    """Return whether a character may be part of a name."""
    return character in INNER or unicodedata.category(character)[0] in CATEGORIES


def read_symbol(text: object) -> str:
    """Read a name as a person writes it; ValueError where it is none."""
    name = canonical(text) if isinstance(text, str) else ""
    if not is_symbol(name):
        raise ValueError(f"symbol is {text!r}, must be letters, digits and dashes, e.g. BTCUSDT")
    return name
