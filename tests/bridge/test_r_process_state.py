"""The process and R's own state are left as they were, and what R says arrives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_r_process import python

from geneml_bio.bridge import r
from geneml_bio.bridge import r_limma as rl
from geneml_bio.core.design import contrast_matrix, design_matrix
from geneml_bio.core.errors import InputError, RError, RWarning


@pytest.fixture
def live(fresh_r):
    """R functions of the test, beside ours for as long as it lasts."""
    env = r._start().env
    names = []

    def define(name: str, code: str) -> None:
        names.append(name)
        env[name] = fresh_r(code)

    yield define
    for name in names:
        del env[name]


# -- the process and R's own state -------------------------------------------------------------------------------------

STATE = """
def state():
    signals = {n: signal.getsignal(n) for n in signal.valid_signals()}
    held = []
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status") as file:
            # of the C level: blocked, ignored, caught; those from 32 on are the C library's own
            held = [int(line.split()[1], 16) & 0x7fffffff for line in file if line.startswith(("SigB", "SigI", "SigC"))]
    places = {n: locale.setlocale(getattr(locale, n)) for n in dir(locale) if n.startswith("LC_") and n != "LC_ALL"}
    return signals, held, places, os.getcwd(), os.environ.get("LD_LIBRARY_PATH"), sys.path[:]
"""


@pytest.mark.r
@pytest.mark.parametrize("place", ["C", "C.UTF-8", "en_US.UTF-8"])  # no UTF-8; UTF-8; one that may be missing
def test_the_process_is_left_as_it_was_whatever_the_locale(place, r_limma):
    """Names that are not ASCII survive too."""
    code = (
        STATE
        + """
before = state()
frame, about = r_limma.limma_fit(X, design, weights, genes)
assert state() == before, (before, state())
assert set(frame.index) == set(genes)
word = "\\u65e5\\u672c \\u00e9 \\U0001f9ec"
assert r.call("text", [word]) == [word]
fit = r_limma.fit_object(X, "~ g", "gb", obs, obs.index, genes)
assert set(r_limma.toptable(fit)[0].index) == set(genes)
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        r.call("dataset", "limma", "\\u00e9\\u65e5", "\\u00e9\\u65e5")
    except r.RError as error:
        assert str(error) == "R: package limma has no data set \\u00e9\\u65e5", ascii(error)
assert "\\u00e9\\u65e5" in str(caught[0].message), ascii(caught[0].message)
print("well")
"""
    )
    assert python(code, LC_ALL=place, PYTHONUTF8="1") == "well"


SNAPSHOT = """function() list(
    everything = ls(globalenv(), all.names = TRUE), search = search(), options = options()[OPTIONS], place = Sys.getlocale(),
    folder = getwd(), seed = get0(".Random.seed", globalenv(), inherits = FALSE), devices = grDevices::dev.list(),
    sinks = sink.number(), connections = nrow(showConnections()), kind = RNGkind())"""


@pytest.mark.r
@pytest.mark.parametrize("seeded", [True, False])
def test_r_keeps_its_own_state(seeded, fresh_r):
    """Global environment, search path, options, random numbers, folder, locale, devices, sinks."""
    fresh_r("if (exists('.Random.seed', globalenv(), inherits = FALSE)) rm('.Random.seed', envir = globalenv())")
    if seeded:
        fresh_r("set.seed(11)")
    # packages may add options of their own when they are loaded; those that were there stay
    fresh_r("OPTIONS <- names(options())")
    fresh_r("snapshot <- " + SNAPSHOT)
    fresh_r("before <- snapshot()")
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"g": list("ab") * 6, "d": np.repeat(list("uvw"), 4)}, index=[f"s{i}" for i in range(12)])
    design = design_matrix("~ g", obs)
    weights = contrast_matrix("gb", design)
    genes = [f"g{i}" for i in range(60)]
    X = rng.normal(size=(12, 60))
    for how in ({"robust": True}, {"block": obs["d"], "quality_weights": True}, {"trend": True, "treat_lfc": 0.1}):
        rl.limma_fit(X, design, weights, genes, **how)
    rl.limma_fit(rng.poisson(50, (12, 60)), design, weights, genes, voom=True, quality_weights=True, block=obs["d"])
    rl.fit_object(X, "~ g", "gb", obs, obs.index, genes)
    with pytest.raises(RError):
        r.call("frame", [1])
    same = fresh_r("after <- snapshot(); vapply(names(before), function(n) identical(before[[n]], after[[n]]), NA)")
    assert all(same), [name for name, kept in zip(same.names, same, strict=True) if not kept]
    assert bool(fresh_r("is.null(before$seed)")[0]) is not seeded


@pytest.mark.r
def test_random_numbers_go_on_as_if_we_had_not_called(live, fresh_r):
    live("draw", "function(n) stats::runif(n)")
    fresh_r("set.seed(5)")
    expected = fresh_r.numbers("runif(3)")
    fresh_r("set.seed(5)")
    mine = [r.call("draw", 2)[0] for _ in range(2)]
    np.testing.assert_array_equal(fresh_r.numbers("runif(3)"), expected)
    assert mine[0] == mine[1] == expected[0]


# -- what R says -------------------------------------------------------------------------------------------------------


@pytest.mark.r
def test_warnings_errors_and_messages_arrive_with_rs_text(live, caplog):
    live(
        "talk",
        """function(x) { message("a m\u00e9ssage"); warning("w\u00e4rning: ", x); warning("twice"); warning("twice"); x }""",
    )
    live("stopped", "function(x) stop(x)")
    live(
        "custom",
        'function() stop(structure(class = c("odd", "error", "condition"), list(message = "own", call = NULL)))',
    )
    with caplog.at_level("INFO", "geneml_bio.r"), pytest.warns(RWarning) as said:
        assert r.call("talk", "%s {x} é 日") == ["%s {x} é 日"]
    assert [str(w.message) for w in said] == ["R: wärning: %s {x} é 日", "R: twice"]
    assert [record.getMessage() for record in caplog.records] == ["R: a méssage"]
    for text in ("plain", "é 日 🧬", "%d %s %n", "{0}", "a\nb", 'quo"te\\', "x" * 5000):
        with pytest.raises(RError) as error:
            r.call("stopped", text)
        assert str(error.value) == f"R: {text}"
    with pytest.raises(RError, match="R: own"):
        r.call("custom")
    with pytest.raises(RError, match=r"^R: x{8000}"):  # R itself cuts at 8191 bytes
        r.call("stopped", "x" * 100_000)
    assert r.call("versions", ["limma"])["R"]


@pytest.mark.r
def test_a_warning_made_an_error_by_the_user_is_an_error_of_ours_only(live, fresh_r):
    live("talk", 'function() { warning("careful"); 1 }')
    fresh_r("old <- options(warn = 2)")
    try:
        with pytest.warns(RWarning, match="R: careful"):
            assert r.call("talk")[0] == 1
    finally:
        fresh_r("options(old)")


@pytest.mark.r
@pytest.mark.parametrize(
    ("sent", "kind", "back"),
    [
        (np.array([1.5, np.nan, np.inf, -np.inf, -0.0]), "double", [1.5, np.nan, np.inf, -np.inf, -0.0]),
        (["a", None, "NA", ""], "character", ["a", None, "NA", ""]),
        ([True, None, False], "logical", [True, None, False]),
        ([1, None, -(2**31) + 1], "integer", [1, np.nan, -(2**31) + 1]),
        ([1.5, None, 2], "double", [1.5, np.nan, 2]),
        (None, "NULL", None),
        ([], "logical", []),
        ("one", "character", ["one"]),
        (np.empty(0), "double", []),
    ],
)
def test_missing_and_infinite_values_go_and_come(sent, kind, back, live):
    live("same", "function(x) list(x, typeof(x))")
    got, type_ = r.call("same", sent)
    assert type_ == [kind]
    if isinstance(back, list) and kind in ("double", "integer"):
        np.testing.assert_array_equal(got, np.array(back, dtype=float))
        assert kind != "double" or np.signbit(got).tolist() == np.signbit(np.array(back, dtype=float)).tolist()
    else:
        assert got == back


@pytest.mark.r
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\0", "x" * 100 + "\udfff"])
def test_a_text_that_r_would_cut_is_refused(text, r_limma):
    for value in (text, ["fine", text], pd.Index([text], dtype=object)):
        with pytest.raises(InputError, match="R cannot hold the text"):
            r.call("text", value)


def test_the_processs_side_imports_no_r():
    source = Path(r.__file__).with_name("r_process.py").read_text(encoding="utf-8")
    assert "import rpy2" not in source
