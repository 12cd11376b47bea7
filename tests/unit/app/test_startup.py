"""app.startup, in programs of their own: it is about descriptors, signals and the end of a process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 30.0  # far below what the programs sleep for
SLEEP = "import os, sys, threading, time\nfrom app.startup import begin, end_after, interpreter_end, leave\n"


def ended(program, *redirections, **options):
    """What the program left: its code and what it wrote; the shell closes descriptors before it."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {" ".join(redirections)}', sys.executable, program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False, **options)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path, closed):
    """A socket on descriptor 1 would be sent what the console prints; a child inherits what it expects."""
    program = (
        "import os, subprocess, sys\n"
        "from app.startup import hold_standard_streams\n"
        "hold_standard_streams()\n"
        f"with open({str(tmp_path / 'seen')!r}, 'w') as file:\n"
        "    print(file.fileno() > 2, sys.stdin.readable(), sys.stdout.isatty(), sys.stderr.encoding, file=file)\n"
        "    print('x', flush=True); print('y', file=sys.stderr)\n"
        "    child = subprocess.run(['sh', '-c', 'echo x && echo y >&2 && read -r _; true'])\n"
        "    print(child.returncode, file=file)\n"
    )
    assert ended(program, closed).returncode == 0
    assert (tmp_path / "seen").read_text().lower() == "true true false utf-8\n0\n"


def test_streams_that_are_open_stay_as_they_are():
    """Nothing is opened, nothing replaced."""
    program = (
        "import sys\nfrom app.startup import hold_standard_streams\n"
        "before = sys.stdin, sys.stdout, sys.stderr\nhold_standard_streams()\n"
        "assert before == (sys.stdin, sys.stdout, sys.stderr)"
    )
    assert ended(program).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("arguments", "code"), [([], 0), (["relay"], 0), (["audit"], None), (["--env-file", "x", "doctor"], None)]
)
def test_a_signal_during_the_imports_ends_without_a_traceback(tmp_path, number, arguments, code):
    """Nothing has begun yet: it was asked to stop, and did. An audit cut off is none without differences, nor is a
    checklist that was cut off a green one."""
    (tmp_path / "structlog.py").write_text(f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(60)\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + number if code is None else code, b"", b"")


def test_nohup_goes_on_having_its_effect():
    """What was started to outlive its terminal does."""
    program = (
        "import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from app.startup import begin\nbegin()\nos.kill(os.getpid(), signal.SIGHUP)\nprint('lives')"
    )
    assert ended(program).stdout == "lives\n"


@pytest.mark.parametrize(
    "held_up",
    [
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor().submit(time.sleep, 60)",
        "import atexit; atexit.register(time.sleep, 60)",
    ],
)
@pytest.mark.parametrize("end", ["leave(5)", "end_after(0.2, 5, since=interpreter_end()); sys.exit(5)"])
def test_the_end_is_not_held_up(held_up, end):
    """Not by a thread of the user's, nor by a pool that the interpreter waits for, nor by an exit handler."""
    begun = time.monotonic()
    assert ended(f"{SLEEP}{held_up}\n{end}").returncode == 5
    assert time.monotonic() - begun < LIMIT_S


def test_a_full_pipe_does_not_end_the_interpreter_with_a_fatal_error():
    """A daemon thread hangs in print: Python would abort where it cannot flush."""
    program = (
        f"{SLEEP}os.set_blocking(1, False)\n"
        "try:\n"
        "    while os.write(1, b'x' * 65_536): pass\n"
        "except BlockingIOError:\n"
        "    os.set_blocking(1, True)\n"
        "thread = threading.Thread(target=print, args=('x' * 100_000,), daemon=True)\n"
        "thread.start()\n"
        "thread.join(0.3)\n"  # long enough to be inside write(); where it is not, the test proves less, and passes
        "leave(0)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()


def test_a_reader_that_has_gone_changes_no_code():
    """`main.py --dry-run | head -1`: what could not be written is not what went wrong."""
    program = f"{SLEEP}print('x' * 1_000)\nleave(3)"
    reading, writing = os.pipe()
    os.close(reading)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdout=writing, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.parametrize(("code", "left"), [(0, 3), (5, 5)])
def test_what_is_not_written_at_the_end_is_a_failure(code, left):
    """The last lines of a file on a full disk; why the program failed otherwise is more to the point."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = ended(f"{SLEEP}print('x')\nleave({code})", ">/dev/full", env=env)
    assert done.returncode == left
    assert done.stderr == "What was printed last is not written: No space left on device.\n"


@pytest.mark.parametrize("closing", ["sys.stdout.close()", "sys.stdout = None", "os.close(1)"])
def test_a_stdout_that_the_program_closed_changes_no_code(closing):
    """Nothing is left to be written, and nothing to be logged."""
    done = ended(f"{SLEEP}{closing}\nleave(3)")
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize(("command", "output"), [("doctor", "stdout"), ("run", "stderr"), ("", "stderr")])
def test_missing_packages_are_named_instead_of_a_traceback(command, output):
    """Who starts it with another Python than the project's reads which ones, and what to do."""
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "main.py"), *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    text = getattr(done, output)
    assert done.returncode == 2
    assert "The collector cannot start without its packages:" in text
    assert "not installed: pybit " in text
    assert "Traceback" not in done.stdout + done.stderr


def test_a_module_of_the_users_own_that_is_missing_is_a_traceback():
    """No package of the project's would help."""
    done = ended(f"{SLEEP}begin()\nimport no_such_module")
    assert done.returncode == 1
    assert "No module named 'no_such_module'" in done.stderr


def test_an_older_python_is_refused_in_one_sentence():
    """Before anything that it could not read."""
    done = ended(f"{SLEEP}sys.version_info = (3, 9, 1)\nbegin()")
    assert done.returncode == 2
    assert done.stderr.startswith("Python 3.11 or later is needed, this is ")
