"""conf.document: what is made of the declarations."""

import pytest

from conf import document
from conf.declarations import SETTINGS


def test_a_readme_keeps_what_is_around_its_table():
    """Only the lines between the markers are made anew."""
    made = document.with_table(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")
    assert made.startswith(f"before\n{document.BEGIN}\n| setting |")
    assert made.endswith(f"|\n{document.END}\nafter\n")
    assert "old" not in made


@pytest.mark.parametrize("text", ["", document.BEGIN, document.END, f"{document.END}{document.BEGIN}"])
def test_a_readme_without_the_markers_is_refused(text):
    """Nothing is lost by an edit that removed one."""
    with pytest.raises(ValueError, match="markers"):
        document.with_table(text)


def test_help_lists_the_essential_settings_with_their_defaults():
    """And no other."""
    names = [line.partition("=")[0] for line in document.help_list().splitlines() if not line.startswith("   ")]
    assert names == [f"  {setting.name}" for setting in SETTINGS.values() if setting.is_essential]


def test_no_line_of_the_example_is_wider_than_a_terminal():
    """Long help is wrapped."""
    assert max(map(len, document.env_example().splitlines())) <= document.WIDTH
