"""R beside everything else in a process: threads, event loops, forks, Ctrl-C, locales; and what R itself keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from geneml_bio.bridge import r
from geneml_bio.bridge import r_limma as rl
from geneml_bio.core.errors import RError

HEAD = """
import asyncio, locale, os, signal, sys, threading
import numpy as np, pandas as pd
from geneml_bio.bridge import r, r_limma
from geneml_bio.core.design import contrast_matrix, design_matrix
rng = np.random.default_rng(0)
obs = pd.DataFrame({"g": list("ab") * 6, "d": np.repeat(list("uvw"), 4)}, index=[f"s{i}" for i in range(12)])
design = design_matrix("~ g", obs); weights = contrast_matrix("gb", design)
X = rng.normal(size=(12, 50)); genes = [f"g\\u00e9{i}\\u65e5" for i in range(50)]
def t(**how):
    return r_limma.limma_fit(X, design, weights, genes, **how)[0]["t"].round(10).to_dict()
"""


def python(code: str, **env: str) -> str:
    """Run in a process of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", HEAD + code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.strip()


# What each of a session's processes would import is imported once; R is not, so that each fork may be the first to start it.
FORKS = (
    HEAD
    + """
import json
for line in sys.stdin:
    code, said, wrong = json.loads(line)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(wrong, os.O_WRONLY | os.O_CREAT), 2)
        exec(code)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """Run in a process of its own that has imported us and has not started R; what it printed."""
    if not hasattr(os, "fork"):
        yield python
        return
    folder = tmp_path_factory.mktemp("forks")
    command = [sys.executable, "-X", "utf8", "-c", FORKS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, **pipes) as parent:

        def run(code: str) -> str:
            said, wrong = (folder / f"{len(os.listdir(folder))}{name}" for name in ("said", "wrong"))
            parent.stdin.write(json.dumps([code, str(said), str(wrong)]) + "\n")
            parent.stdin.flush()
            ended, complaint = parent.stdout.readline().strip(), wrong.read_text(encoding="utf-8")
            assert ended == "0", complaint
            assert "Traceback" not in complaint, complaint
            return said.read_text(encoding="utf-8").strip()

        yield run
        parent.stdin.close()


# -- threads and loops -------------------------------------------------------------------------------------------------


@pytest.mark.r
def test_eight_threads_with_five_hundred_calls_each_get_their_own_answers(r_limma):
    wrong: list[object] = []
    right: list[int] = []
    design = pd.DataFrame({"a": 1.0, "b": np.arange(8) % 2})
    data = (np.random.default_rng(0).normal(size=(8, 30)), design, pd.DataFrame({"b": [0.0, 1.0]}, index=["a", "b"]))
    fitted = rl.limma_fit(*data, range(30))[0]

    def work(k: int) -> None:
        for i in range(500):
            words = [f"é{k}", None, f"x{i}" * (i % 7 + 1)]
            if i % 25 == 5:
                (right if rl.limma_fit(*data, range(30))[0].equals(fitted) else wrong).append(i)
                continue
            if i % 50:
                (right if r.call("text", words) == words else wrong).append(i)
                continue
            try:
                r.call("frame", [k, i])
            except RError as error:
                (right if str(error) == "R: not a data.frame: integer" else wrong).append(i)

    before = threading.active_count()
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(right) == sorted([*range(500)] * 8)
    assert threading.active_count() == before


@pytest.mark.r
@pytest.mark.parametrize("first", ["in the loop", "in eight threads of it"])
def test_an_event_loop_may_be_the_first_to_start_r(first, r_limma, forked):
    said = forked(f"""
async def main():
    if {first!r} == "in the loop":
        found = [t()]
    else:
        found = await asyncio.gather(*(asyncio.to_thread(t) for _ in range(8)))
    ticks = []
    async def tick():
        while True:
            ticks.append(1); await asyncio.sleep(0)
    ticking = asyncio.create_task(tick())
    found += [await asyncio.to_thread(t, block=obs["d"]), t(block=obs["d"])]
    ticking.cancel()
    return found, len(ticks)
found, ticks = asyncio.run(main())
assert all(f == found[0] for f in found[:-2]) and found[-1] == found[-2] != found[0]
assert ticks > 1
print(t() == found[0])
""")
    assert said == "True"


@pytest.mark.r
def test_in_a_notebook(r_limma, tmp_path):
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    import nbformat

    cells = [HEAD, "import threading; a = t()", "b = await asyncio.to_thread(t)", "print(a == b, len(a))"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata["kernelspec"] = {"name": "here", "display_name": "here", "language": "python"}
    spec = tmp_path / "kernels" / "here"
    spec.mkdir(parents=True)
    command = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (spec / "kernel.json").write_text(f'{{"argv": {command}, "display_name": "here", "language": "python"}}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(tmp_path))
        done = nbclient.NotebookClient(notebook, timeout=120, kernel_name="here").execute()
    assert done.cells[-1].outputs[0]["text"].strip() == "True 50"


@pytest.mark.r
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_workers_have_an_r_of_their_own_or_the_copy(r_limma, tmp_path):
    """After R was started in the parent: forks, while other threads of it are in R, and loky's fresh interpreters."""
    script = tmp_path / "workers.py"
    script.write_text(
        HEAD
        + """
def work(k):
    return t() | {"pid": os.getpid()}
if __name__ == "__main__":
    first = t()
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            r.call("text", ["x"] * 100)
    threads = [threading.Thread(target=busy) for _ in range(3)]
    [thread.start() for thread in threads]
    import multiprocessing, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(work, range(6), chunksize=1)
    stop.set()
    [thread.join() for thread in threads]
    from joblib import Parallel, delayed
    found += Parallel(n_jobs=2)(delayed(work)(k) for k in range(4))
    pids = {f.pop("pid") for f in found}
    assert os.getpid() not in pids
    print(len(found), all(f == first for f in found), t() == first)
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=True
    )  # fmt: skip
    assert done.stdout.split() == ["10", "True", "True"], done.stderr


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------

STOPPED = """
import geneml_bio as gb, anndata as ad
many = ad.AnnData(rng.normal(size=(12, 60_000)), obs=obs)
plain = t(block=obs["d"])
asked = r_limma.call
def interrupt(after):
    threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
def call(name, **given):
    if len(given["x"].ravel()) > 10_000:
        interrupt(0.3)  # R is at work by then, and for minutes
    return asked(name, **given)
r_limma.call = lambda name, *args, **given: call(name, **given) if name == "fit" else asked(name, *args, **given)
def leave(*a):
    sys.exit("enough")
for handler in (signal.default_int_handler, leave):
    signal.signal(signal.SIGINT, handler)
    try:
        gb.tl.limma(many, "~ g", contrast="gb", block="d")
    except (KeyboardInterrupt, SystemExit) as error:
        print(repr(error))
    else:
        print("came to its end")
    assert signal.getsignal(signal.SIGINT) is handler
    assert "limma" not in many.uns
    for _ in range(3):
        r.call("versions", ["limma"])
    assert t(block=obs["d"]) == plain
seen = []
mine = lambda *a: seen.append(1)
signal.signal(signal.SIGINT, mine)
interrupt(0.01)
while not seen:
    assert t(block=obs["d"]) == plain
assert signal.getsignal(signal.SIGINT) is mine
print(len(seen), t(block=obs["d"]) == plain)
"""


@pytest.mark.r
@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process")
def test_an_interrupt_ends_the_call_and_r_goes_on(r_limma, forked):
    """Ctrl-C, a handler that leaves, and one that raises nothing, which lets the call come to its end."""
    assert forked(STOPPED).splitlines() == ["KeyboardInterrupt()", "SystemExit('enough')", "1 True"]
