"""app.documents: the files in the tree are made of the declarations of now, those of settings and of exchanges."""

import pytest

from app import documents
from exchanges.conformance.table import BEGIN, END
from exchanges.registry import VENUES


@pytest.mark.parametrize("path", documents.documents(), ids=lambda path: path.name)
def test_no_document_is_stale(path):
    """A declaration that changed is in .env.example and in the documents."""
    text = path.read_text(encoding="utf-8")
    is_current = documents.documents()[path](text) == text
    assert is_current, f"{path.name} is stale: run `make settings`, which makes it of the declarations"


def test_the_table_of_exchanges_has_a_row_for_each_exchange_and_nothing_of_one_that_is_gone():
    """What stood between the markers is made anew; the rest of the document stays."""
    text = documents.EXCHANGES.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = documents.with_exchanges(f"{before}{BEGIN}\n| `gone` | spot |\n{END}{after}")
    rows = [
        line.split("`")[1] for line in made.partition(BEGIN)[2].partition(END)[0].splitlines() if line.startswith("| ")
    ]
    assert rows == ["EXCHANGE", *VENUES]
    assert made.endswith(after)
