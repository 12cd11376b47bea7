"""conf.env_file: which file is read, and what it holds."""

import os

import pytest

from conf.env_file import NOTHING, find_env_file, read_env_file
from conf.settings import SettingsError, load_settings


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The folder of main.py, and another one that is the working directory."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    return home, here


def read(path, **environ):
    return read_env_file(path, environ)


def line(tmp_path, text, **environ):
    """The value of one line, and what is warned of."""
    path = tmp_path / ".env"
    path.write_text(text)
    values, wrong, warned = read(path, **environ)
    assert wrong == []
    return next(iter(values.values())), [warning.name for warning in warned]


# -- which file -------------------------------------------------------------------------------------------------


def test_the_file_beside_main_counts_from_any_folder(folders):
    """As cron starts it."""
    home, _ = folders
    assert find_env_file({}, home) == (None, NOTHING)
    (home / ".env").touch()
    assert find_env_file({}, home) == (home / ".env", NOTHING)


def test_the_file_of_the_working_directory_comes_first_and_the_other_is_named(folders):
    """A script of the user's own has its settings beside it."""
    home, here = folders
    (here / ".env").touch()
    assert find_env_file({}, home)[1] == NOTHING
    (home / ".env").touch()
    path, choice = find_env_file({}, home)
    (warning,) = choice.warnings
    assert path
    assert path.samefile(here / ".env")
    assert (warning.name, str(home) in warning.advice) == (".env", True)


def test_one_file_is_not_two(folders, monkeypatch):
    """The usual start, from the folder of main.py."""
    home, _ = folders
    (home / ".env").touch()
    monkeypatch.chdir(home)
    assert find_env_file({}, home)[1] == NOTHING


def test_a_named_file_is_the_only_one(folders):
    """ENV_FILE=.env.bybit: in the working directory, else beside main.py; it must be there."""
    home, here = folders
    (here / ".env").touch()
    (home / ".env.bybit").touch()
    assert find_env_file({"ENV_FILE": ".env.bybit"}, home) == (home / ".env.bybit", NOTHING)
    (here / ".env.bybit").touch()
    path, _ = find_env_file({"ENV_FILE": ".env.bybit"}, home)
    assert path
    assert path.samefile(here / ".env.bybit")
    path, choice = find_env_file({"ENV_FILE": "bybit.env"}, home)
    (wrong,) = choice.errors
    assert path is None
    assert wrong.startswith("ENV_FILE='bybit.env': no such file")
    assert str(home) in wrong
    assert find_env_file({"ENV_FILE": "none"}, home) == (None, NOTHING)


def test_a_named_file_that_is_not_there_is_one_error_of_all(folders):
    """And not quietly the defaults."""
    with pytest.raises(SettingsError) as caught:
        load_settings({"ENV_FILE": "no.env", "REDIS_PORT": "x"})
    assert [text.partition("=")[0] for text in str(caught.value).splitlines()] == ["ENV_FILE", "REDIS_PORT"]


def test_settings_of_a_named_file_hold(folders):
    """The environment wins over it, as over .env; the settings hold where they are from."""
    _, here = folders
    (here / ".env.bybit").write_text("SYMBOLS=XRPUSDT\nREDIS_PORT=1\n")
    settings = load_settings({"ENV_FILE": ".env.bybit", "REDIS_PORT": "2"})
    assert (settings.symbols, settings.redis_port) == (("XRPUSDT",), 2)
    assert settings.env_file
    assert settings.env_file.name == ".env.bybit"


# -- what stands in it ------------------------------------------------------------------------------------------


def test_env_file_is_read_as_dotenv_does(tmp_path):
    """Comments, quotes, export, a byte order mark and Windows line ends."""
    file = tmp_path / ".env"
    file.write_bytes(
        b"\xef\xbb\xbfEXCHANGE=bybit  # or another\r\nexport REDIS_PASSWORD='a # b'\r\n"
        b"\r\n# note\r\nLOG_FILE=\r\nLONE\r\n"
    )
    assert read(file) == (
        {"EXCHANGE": "bybit", "REDIS_PASSWORD": "a # b", "LOG_FILE": "", "LONE": ""},
        [],
        [],
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("P='pa${X}w'", "pa${X}w"),
        ("P='${X}'", "${X}"),
        ("\n# note\n\nexport P = '${X}' # more", "${X}"),
        ("P='$$ab#c\\n'", "$$ab#c\\n"),
        ('P="a$b$${"', "a$b$${"),
        ("P=a$b", "a$b"),
        ("P=a${X}b", "a-1-b"),
        ('P="a${X}b"', "a-1-b"),
        ("P=a${Y:-2}b", "a2b"),
    ],
)
def test_dollars_stand_as_they_are_but_for_the_names_of_variables(tmp_path, text, value):
    """In single quotes those too."""
    assert line(tmp_path, text, X="-1-") == (value, [])


def test_a_variable_that_is_not_set_takes_nothing_out_of_a_password(tmp_path):
    """It stays there, and the warning has the name of the line, not its value."""
    assert line(tmp_path, "REDIS_PASSWORD=pa${X}w") == ("pa${X}w", ["REDIS_PASSWORD"])


def test_a_line_may_expand_what_kubernetes_sets_about_a_service(tmp_path):
    """Its links are no settings of themselves, and still variables."""
    path = tmp_path / ".env"
    path.write_text("REDIS_URL=redis://${REDIS_SERVICE_HOST}:${REDIS_SERVICE_PORT}/0\n")
    environ = {"REDIS_SERVICE_HOST": "10.0.0.1", "REDIS_SERVICE_PORT": "7000", "REDIS_PORT": "tcp://10.0.0.1:7000"}
    assert load_settings(environ, path).redis_url == "redis://10.0.0.1:7000/0"


def test_a_line_above_fills_in_what_a_line_below_names(tmp_path):
    """As a shell does."""
    path = tmp_path / ".env"
    path.write_text("HOST=cache\nREDIS_URL=redis://${HOST}:1/0\n")
    assert read(path, HOST="elsewhere").values["REDIS_URL"] == "redis://cache:1/0"


def test_only_dot_env_may_be_missing(tmp_path):
    """A file that was named must be there."""
    assert read(tmp_path / ".env") == NOTHING
    assert read(None) == NOTHING
    values, (wrong,), _ = read(tmp_path / "bybit.env")
    assert values == {}
    assert "bybit.env: cannot be read: No such file" in wrong


def test_broken_line_is_named_by_number_and_the_rest_is_read(tmp_path):
    """The text has the place, not the value: the line may hold a secret."""
    file = tmp_path / ".env"
    file.write_text("EXCHANGE=bybit\nREDIS_PASSWORD='hunter2\nLOG_LEVEL=debug\n")
    values, (wrong,), _ = read(file)
    assert "line 2: write NAME=value" in wrong
    assert "hunter2" not in wrong
    assert values == {"EXCHANGE": "bybit", "LOG_LEVEL": "debug"}


def test_file_that_is_no_text_is_an_error(tmp_path):
    """Saved as UTF-16 by an editor."""
    file = tmp_path / ".env"
    file.write_bytes("EXCHANGE=bybit".encode("utf-16"))
    assert "save it as UTF-8" in read(file).errors[0]


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    """A folder that a container made, or a pipe that nobody writes to."""
    (tmp_path / ".env").mkdir()
    os.mkfifo(tmp_path / "pipe.env")
    assert "no regular file" in read(tmp_path / ".env").errors[0]
    assert "no regular file" in read(tmp_path / "pipe.env").errors[0]


def test_the_file_cannot_name_another(tmp_path):
    """ENV_FILE in a file would be read too late."""
    assert line(tmp_path, "ENV_FILE=.env.bybit") == (".env.bybit", ["ENV_FILE"])


def test_proxies_and_certificates_of_the_file_reach_the_environment(tmp_path, monkeypatch):
    """Libraries read them there; what the environment has, under either name and be it empty, counts first."""
    file = tmp_path / "one.env"
    file.write_text(
        "HTTPS_PROXY=http://file:1\nALL_PROXY=http://file:2\nNO_PROXY=file\nhttp_proxy=\nSSL_CERT_FILE=ca.pem\nHOME=x\n"
    )
    for name in ("HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "http_proxy", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "before")  # so that what is set below is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("all_proxy", "http://environment:1")
    monkeypatch.setenv("NO_PROXY", "")
    home = os.environ["HOME"]
    load_settings(env_file=file)

    found = {name: os.environ.get(name) for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "HOME")}
    assert found == {
        "HTTPS_PROXY": "http://file:1",
        "ALL_PROXY": None,
        "NO_PROXY": "",
        "SSL_CERT_FILE": "ca.pem",
        "HOME": home,
    }
