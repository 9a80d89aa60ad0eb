"""Names full of quotes, backslashes and code do nothing: they come back as they were, or are refused. Both engines."""

from __future__ import annotations

import functools
import os
import threading
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio.bridge import r_limma as rl
from geneml_bio.core.design import contrast_matrix, design_matrix
from geneml_bio.core.errors import ColumnNotFoundError, DesignError, FormulaError, InputError, RError

# each would make a file called "touched" in the working directory, or end the process, if anything evaluated it
PAYLOADS = [
    'system("touch touched")',
    '"); system("touch touched"); #',
    "'); system('touch touched'); #",
    '`); system("touch touched"); #',
    '`system("touch touched")`',
    'a\\"); file.create("touched"); ("',
    "a'; file.create('touched'); '",
    'x\nfile.create("touched")\n#',
    'x\r\nfile.create("touched")',
    "x; q('no', status = 9)",
    "{file.create('touched')}",
    "I(file.create('touched'))",
    "class + I(file.create('touched'))",
    "poly(1, 1, simple = file.create('touched'))",
    "$(touch touched)",
    "`touch touched`",
    "| touch touched",
    "__import__('os').system('touch touched')",
    "{__import__('os').system('touch touched')}",
    "@__import__('os').system('touch touched')",
    "eval(parse(text = 'file.create(\"touched\")'))",
    "(function() file.create('touched'))()",
    "%s%n%d%99999999s",
    "{0.__class__.__mro__}",
    "\\",
    "\\\\",
    '"',
    "'",
    "`",
    "``",
    "a`b",
    "\\x00\\u0000\\",
    "a\0b",
    "\0",
    "\t\x1b[31m\x07",
    "é日🧬\u202etxt.R\u200b\ufeff",
    "\ud800",
    "~ x | y",
    "NA",
    "NULL",
    "TRUE",
    "",
    " ",
    "..1",
    "<- ->",
    "globalenv()$x <<- 1",
    "T <- F",
    "-1:1e9",
    "x" * 100_000,
    "(" * 3000,
    "a+" * 3000,
]
IDS = [f"{i}-{''.join(c if c.isalnum() else '_' for c in p[:20])}" for i, p in enumerate(PAYLOADS)]


def holdable(name: str) -> bool:
    """Whether pandas can hold a text: half a surrogate pair it can before version 3."""
    try:
        return pd.Index([name])[0] == name
    except UnicodeEncodeError:
        return False


ENGINES = [pytest.param("r", marks=pytest.mark.r), "native"]
REFUSED = (FormulaError, DesignError, ColumnNotFoundError, InputError)


@pytest.fixture(autouse=True)
def nothing_happens(request, tmp_path, monkeypatch):
    """No file is made, R's global environment and search path stay, no process or thread is left."""
    monkeypatch.chdir(tmp_path)
    needs_r = request.node.get_closest_marker("r") is not None
    ask = request.getfixturevalue("r_limma") if needs_r else None
    look = "paste(c(ls(globalenv(), all.names = TRUE), search(), getwd()), collapse = '\\n')"
    before = str(ask(look)[0]) if ask else None
    threads = threading.active_count()
    yield
    assert os.listdir(tmp_path) == []
    assert threading.active_count() == threads
    if ask:
        assert str(ask(look)[0]) == before


def study(**changes) -> ad.AnnData:
    """12 samples x 30 genes in two classes."""
    rng = np.random.default_rng(0)
    obs = {"class": np.tile(["u", "v"], 6), "age": rng.normal(size=12), "donor": np.repeat(list("abcd"), 3)}
    X = rng.normal(size=(12, 30))
    X[1::2, 0] += 9
    samples = changes.pop("samples", [f"s{i}" for i in range(12)])
    genes = changes.pop("genes", [f"g{i}" for i in range(30)])
    return ad.AnnData(X, obs=pd.DataFrame(obs | changes, index=samples), var=pd.DataFrame(index=genes))


@functools.cache
def untouched(engine: str) -> pd.DataFrame:
    """What all names must give: v against u."""
    return gb.tl.limma(study(), "~ 0 + class", contrast="classv - classu", engine=engine).frame


def quoted(name: str) -> str:
    return f"`{name}`"


@pytest.mark.parametrize("engine", ENGINES)
def test_as_gene_ids(engine):
    genes = [name for name in PAYLOADS if holdable(name)]
    genes += [f"g{i}" for i in range(len(genes), 60)]
    rng = np.random.default_rng(0)
    adata = ad.AnnData(rng.normal(size=(12, 60)), obs=study().obs, var=pd.DataFrame(index=genes))
    de = gb.tl.limma(adata, "~ class", contrast="classv", engine=engine)
    assert set(de.frame.index) == set(genes)
    order = rng.permutation(60)
    other = ad.AnnData(adata.X[:, order], obs=adata.obs, var=pd.DataFrame(index=[f"h{i}" for i in order]))
    plain = gb.tl.limma(other, "~ class", contrast="classv", engine="native").frame
    np.testing.assert_allclose(
        de.frame.loc[genes, "t"], plain.loc[[f"h{i}" for i in range(60)], "t"].to_numpy(), rtol=1e-9
    )
    np.testing.assert_array_equal(adata.var["limma_t"].to_numpy(), de.frame["t"].reindex(genes).to_numpy())


@pytest.mark.parametrize("engine", ENGINES)
def test_as_sample_names_and_block_names(engine, r_limma):
    names = [name for name in PAYLOADS if len(name) < 1000 and holdable(name)][:36]
    for start in range(0, len(names), 12):
        chosen = (names + names)[start : start + 12]
        adata = study(samples=chosen)
        de = gb.tl.limma(adata, "~ class", contrast="classv", engine=engine)
        plain = gb.tl.limma(study(), "~ class", contrast="classv", engine=engine)
        pd.testing.assert_frame_equal(de.frame, plain.frame)
        assert list(adata.obs_names) == chosen
        if engine == "r":
            adata.obs["where"] = np.repeat(chosen[:4], 3)
            how = {"quality_weights": True, "contrast": "classv"}
            got = gb.tl.limma(adata, "~ class", block="where", **how)
            same = gb.tl.limma(study(), "~ class", block="donor", **how)
            pd.testing.assert_frame_equal(got.frame, same.frame)
            assert list(got.source["samples"]["sample"]) == chosen


@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_as_a_formula(payload, engine):
    adata = study()
    for formula in (payload, f"~ class + {payload}", f"~ {payload}", f"~ 0 + {quoted(payload)}", f"{payload} ~ class"):
        if not payload.strip() and formula.strip() == "~ class":
            continue
        with pytest.raises(REFUSED):
            gb.tl.limma(adata, formula, contrast="classv", engine=engine)
    assert "limma" not in adata.uns


@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_as_a_contrast(payload, engine):
    adata = study()
    asked = [
        payload,
        f"classv - {payload}",
        quoted(payload),
        {payload: 1.0},
        ("class", payload, "u"),
        (payload, "v", "u"),
    ]
    for contrast in asked:
        if isinstance(contrast, str) and not payload.strip():
            continue
        with pytest.raises(REFUSED):
            gb.tl.limma(adata, "~ class", contrast=contrast, engine=engine)
    assert "limma" not in adata.uns


@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_as_a_level_and_as_a_column(payload, engine):
    """A level is data and comes back; a column is named in backticks, and with a backtick in it in a frame only."""
    if not holdable(payload):
        pytest.skip("pandas here refuses this text as a label (half a surrogate pair), before anything of ours sees it")
    plain = untouched(engine)
    adata = study(**{"class": ["u", payload] * 6})
    de = gb.tl.limma(adata, "~ 0 + class", contrast={f"class{payload}": 1, "classu": -1}, engine=engine)
    pd.testing.assert_frame_equal(de.frame, plain)
    assert f"class{payload}" in de.source["design_columns"]

    adata.obs[payload] = adata.obs["class"]
    name, formula = payload, f"~ 0 + {quoted(payload)}"
    if "`" in payload or payload in ("", "\ud800") or len(formula) > 2000:
        with pytest.raises(REFUSED):
            gb.tl.limma(adata, formula, contrast=(payload, payload, "u"), engine=engine)
        name, formula = "class", "~ 0 + class"
    de = gb.tl.limma(adata, formula, contrast=(name, payload, "u"), engine=engine)
    pd.testing.assert_frame_equal(de.frame, plain)
    assert de.contrast == f"{payload} vs u"
    assert adata.uns["limma"]["contrast"] == f"{payload} vs u"

    adata = study()
    design = pd.DataFrame({payload: 1.0, "other": np.tile([0.0, 1.0], 6)}, index=adata.obs_names)
    de = gb.tl.limma(adata, design, contrast={"other": 1}, engine=engine)
    np.testing.assert_allclose(de.frame["t"], plain["t"], rtol=1e-9)
    assert payload in de.source["design_columns"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
def test_as_a_column_layer_or_key_that_is_asked_for(payload):
    for how in ({"block": payload}, {"layer": payload}, {"normalize": payload, "voom": True}, {"engine": payload}):
        with pytest.raises((ColumnNotFoundError, InputError)):
            gb.tl.limma(study(), "~ class", contrast="classv", **how)
    adata = study()
    try:
        gb.tl.limma(adata, "~ class", contrast="classv", engine="native", key_added=payload)
    except gb.errors.StorageError:
        assert set(adata.uns) == set()
    else:
        assert f"{payload}_t" in adata.var


@pytest.mark.r
@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
def test_as_names_that_r_itself_holds(payload, r_limma):
    """In a live fit they are R's row, column and coefficient names, and come back; what R would cut is refused."""
    if not holdable(payload):
        pytest.skip("pandas here refuses this text as a label (half a surrogate pair), before anything of ours sees it")
    genes = [payload, *[f"g{i}" for i in range(29)]]
    adata = study(**{"class": pd.Categorical(["u", payload] * 6, categories=["u", payload])})
    asked = (adata.X, "~ 0 + class", ("class", payload, "u"), adata.obs, [payload, *adata.obs_names[1:]], genes)
    if "\0" in payload or payload == "\ud800":
        with pytest.raises(InputError, match="R cannot hold the text"):
            rl.fit_object(*asked)
        return
    fit = rl.fit_object(*asked)
    frame, about = rl.toptable(fit)
    assert set(frame.index) == set(genes)
    assert about["contrasts"] == [f"{payload} vs u"]
    assert rl.toptable(fit, f"{payload} vs u")[0].equals(frame)
    with pytest.raises(ColumnNotFoundError):
        rl.toptable(fit, payload)


@pytest.mark.r
@pytest.mark.parametrize("payload", PAYLOADS, ids=IDS)
def test_as_a_data_set_or_package(payload, r_limma):
    with pytest.raises((gb.errors.RNotAvailableError, RError, InputError)):
        r_limma.bridge.load_dataset(payload, payload)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.RWarning)  # R: data set '...' not found
        with pytest.raises((RError, InputError)):
            r_limma.bridge.load_dataset("limma", payload)


@pytest.mark.r
def test_the_designs_of_both_engines_are_one(r_limma):
    """The formula is read by us for both: R never sees one."""
    obs = study().obs
    for payload in ("I(age)", "offset(age)", "age^2", "age %in% class", "s(age)", ". - age", "age / class", "log(age)"):
        with pytest.raises(FormulaError):
            design_matrix(f"~ {payload}", obs)
        with pytest.raises((FormulaError, ColumnNotFoundError)):
            contrast_matrix(payload, design_matrix("~ class", obs))
        with pytest.raises(FormulaError):
            rl.fit_object(study().X, f"~ {payload}", "classv", obs, obs.index, range(30))
