"""The harness itself: does it measure, notice faults, and leave nothing behind?"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import loads, overhead, processes, tools
from bench.loads import Kind, Load
from bench.targets import NotStarted, start_provider, wait_until

pytestmark = pytest.mark.skipif(tools.compiler() is None, reason="no C compiler on PATH")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tools.Tools:
    """The compiled programs."""
    return tools.build(tmp_path_factory.mktemp("bench") / "programs")


def test_the_harness_measures_lumni_next_to_the_provider(tmp_path: Path) -> None:
    """Show 6: one run gives figures, ratios and versions, without a faulty answer."""
    command = [sys.executable, "-m", "bench.overhead", "--smoke", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.json")
    result = json.loads(path.read_text())
    assert set(result["figures"]) == set(result["versions"]) == {"direct", "lumni"}
    assert result["figures"]["lumni"]["errors"] == result["figures"]["direct"]["errors"] == 0
    assert result["ratios"]["lumni/direct"]["requests_per_second"] < 1
    assert result["figures"]["lumni"]["added_latency_p50"] > 0
    assert "lumni/direct" in done.stdout


@pytest.mark.parametrize("kind", list(Kind))
def test_whole_answers_count_as_right(programs: tools.Tools, tmp_path: Path, kind: Kind) -> None:
    """Show 6: the provider's own answers of each kind pass the load generator's checks."""
    provider = start_provider(programs.provider, 0.1, tmp_path / "provider")
    with provider.process:
        run = loads.run(programs.loadgen, provider, Load("whole", kind, 0.2, rate=20.0), tmp_path)
    assert run.requests == len(run.latency_ms) == 4
    assert run.errors == run.reconnects == 0
    assert all(first <= whole for first, whole in zip(run.first_ms, run.latency_ms, strict=True))


def test_what_is_no_whole_answer_counts_as_an_error(programs: tools.Tools, tmp_path: Path) -> None:
    """Show 6: a stream that was not asked for as one has no events and no [DONE]; all such answers are errors."""
    provider = start_provider(programs.provider, 0.1, tmp_path / "provider")
    body = tmp_path / "plain.json"
    body.write_bytes(Load("plain", Kind.PLAIN, 0.1).body())
    command = [str(programs.loadgen), "-p", str(provider.port), "-b", str(body), "-n", "5", "-z", loads.LAST_WORD]
    with provider.process:
        printed = subprocess.run([*command, "-e", "98"], capture_output=True, check=True, text=True).stdout
    counted = json.loads(printed)
    assert (counted["requests"], counted["errors"]) == (5, 5)
    assert "[DONE]" in counted["error"]


def test_a_stopped_process_leaves_no_child_behind(tmp_path: Path) -> None:
    """Show 6: a gateway's workers end with it, also those that it does not end itself."""
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    with processes.Process([sys.executable, "-c", script], tmp_path, {}) as process:
        while not process.output().strip():
            assert process.running
        child = int(process.output())
        assert Path(f"/proc/{child}").exists()
    assert not process.running
    assert not _alive(child)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_all_that_it_started(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Show 6: after Ctrl-C, also an impatient one, neither processes nor files are left."""
    log = tmp_path / "log"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-u", "-m", "bench.overhead", "--smoke", "--results", str(tmp_path)]
    with log.open("wb") as out:
        bench = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(scratch)}, stdout=out)
    try:
        while not list(scratch.glob("*/lumni/.lumni")):
            assert bench.poll() is None, log.read_text()
            time.sleep(0.02)
        assert _working_in(scratch)
        bench.send_signal(number)
        time.sleep(0.05)
        bench.send_signal(number)
        assert bench.wait(120) == code
    finally:
        bench.kill()
        bench.wait()
    assert not _working_in(scratch)
    assert not list(scratch.iterdir())


def test_without_a_compiler_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Show 6: no figures are better than wrong ones."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert overhead.main(["--smoke", "--results", str(tmp_path)]) == 1
    assert "apt-get install gcc" in capsys.readouterr().out.replace("\n", " ")


def _working_in(directory: Path) -> list[str]:
    """The processes whose working directory is in ``directory``."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(directory):
                found.append(link.parent.name)
    return found


def _alive(pid: int) -> bool:
    """Not gone, and not merely waiting for its parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_gateway_that_does_not_start_is_reported_with_its_words(tmp_path: Path) -> None:
    """Show 6: whoever adds a gateway sees why it did not start."""
    process = processes.Process([sys.executable, "-c", "print('no such model list')"], tmp_path, {})
    with pytest.raises(NotStarted, match="no such model list"):
        wait_until(process, lambda: False)


def test_streams_are_hung_up_on_if_that_is_asked_for(programs: tools.Tools, tmp_path: Path) -> None:
    """Show 4: every so many of them, after their first word; those are no faulty answers.

    One whose end was there as soon as its first word, as on a machine that stood still, counts as whole.
    """
    provider = start_provider(programs.provider, 20.0, tmp_path / "provider")
    load = Load("left", Kind.PACED, 0.5, connections=20, rate=40.0, abort_every=4)
    with provider.process:
        run = loads.run(programs.loadgen, provider, load, tmp_path)
    assert run.requests + run.aborted == 20
    assert 1 <= run.aborted <= 5
    assert run.errors == 0


def test_a_gateway_that_cannot_be_had_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Show 1: a machine without Node measures all others."""
    monkeypatch.setattr("shutil.which", lambda name: None if name in ("node", "npm") else f"/usr/bin/{name}")
    assert overhead.main(["--smoke", "--gateways", "portkey", "--results", str(tmp_path)]) == 0
    assert "without portkey: it needs Node.js" in capsys.readouterr().out
    (path,) = tmp_path.glob("*.json")
    assert set(json.loads(path.read_text())["figures"]) == {"direct"}
