"""geneml-bio toptable and limma: what a stranger sees at the terminal, and the files that come out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio import cli
from geneml_bio.bridge import export
from geneml_bio.cli_tables import joined_here
from geneml_bio.cli_words import in_options
from geneml_bio.describe import described
from geneml_bio.describe_fit import done

TORTURE = Path(__file__).parent / "data" / "torture"


def table(n=40, seed=0, ids=None, **annotation) -> pd.DataFrame:
    """A whole topTable: its adj.P.Val follows from its p-values."""
    rng = np.random.default_rng(seed)
    t = rng.standard_t(20, n) * 2
    p = 2 * stats.t.sf(np.abs(t), 20)
    frame = pd.DataFrame(
        {
            "logFC": t * 0.3,
            "AveExpr": rng.normal(7, 1, n),
            "t": t,
            "P.Value": p,
            "adj.P.Val": stats.false_discovery_control(p),
        },
        index=ids or [f"GENE{i}" for i in range(n)],
    )
    return frame.assign(**annotation).sort_values("P.Value")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def run(capsys, *argv) -> tuple[int, str, str]:
    status = cli.main([str(part) for part in argv])
    told = capsys.readouterr()
    return status, told.out, told.err


def same(a: gb.DETable, b: gb.DETable) -> None:
    """Equal ids and statistics, to the last digit."""
    assert list(a.frame.index) == list(b.frame.index)
    for name in ("logFC", "AveExpr", "t", "P.Value", "adj.P.Val"):
        np.testing.assert_array_equal(a.frame[name], b.frame[name])


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_the_page_says_what_was_found_and_fits_the_terminal(tmp_path, capsys):
    frame = table(
        symbol=[f"SYM{i}" for i in range(40)], description="a very long description of what this gene is " * 3
    )
    frame.to_csv(tmp_path / "top.csv", sep=";", decimal=",")
    status, out, err = run(capsys, "toptable", tmp_path / "top.csv", "--contrast", "b - a", "--top", 3)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    for words in (
        "40 features, one contrast",
        "b - a",
        "semicolon-separated, decimal comma",
        "40 read, none lost",
        "row names: ",
    ):
        assert words in out, out
    first = out.splitlines()
    assert first[0].startswith("top.csv: limma ")
    assert first[1].startswith("Verdict ")
    assert out.index("Verdict") < out.index("Found") < out.index("Top 3 by") < out.index("File ")
    assert "What the numbers say" not in out
    told = run(capsys, "toptable", tmp_path / "top.csv", "--details")[1]
    assert all(text in " ".join(told.split()) for text in ("What the numbers say", "Benjamini-Hochberg's of exactly"))
    lines = out[out.index("Top 3 by P.Value") :].splitlines()
    assert lines[1].split() == ["logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "symbol"]
    for line, (name, row) in zip(lines[2:5], frame.head(3).iterrows(), strict=True):
        assert line.split()[0] == name
        assert line.split()[1] == f"{row['logFC']:.2f}"
        assert line.split()[-1] == row["symbol"]
    assert len({line.index(row) for line, row in zip(lines[2:5], frame.head(3)["symbol"], strict=True)}) == 1  # aligned


def test_warnings_are_said_once(tmp_path, capsys):
    frame = table(ids=["1-Mar", "2-Sep", *(f"GENE{i}" for i in range(38))])
    frame.to_csv(tmp_path / "top.csv")
    status, out, err = run(capsys, "toptable", tmp_path / "top.csv")
    assert status == 0
    assert " ".join(out.split()).count("look as if Excel had turned them") == 1
    assert err == ""


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(tmp_path, capsys):
    frame = table(ids=["\x1b[31mred", *(f"GENE{i}" for i in range(39))], symbol="\x1b]0;title\x07")
    frame.to_csv(tmp_path / "top.csv")
    status, out, err = run(capsys, "toptable", tmp_path / "top.csv", "--top", 40)
    assert status == 0
    assert "\x1b" not in out + err
    assert "\x07" not in out + err


@pytest.mark.parametrize("path", sorted(TORTURE.glob("G*")), ids=lambda path: path.name)
@pytest.mark.parametrize("columns", ["80", "100"])
def test_every_kind_of_file_is_shown_or_refused(path, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    status, out, err = run(capsys, "toptable", path)
    assert status in (0, 2)
    assert max(map(len, out.splitlines()), default=0) <= int(columns)
    assert "Traceback" not in err
    if status == 0:
        assert " features," in " ".join(out.split())
        assert "by P.Value" in out
    else:
        assert out == ""
        assert err.startswith("geneml-bio: ")
        assert "coef=" not in err
        assert "by=" not in err


def test_a_joint_test_shows_its_effects(capsys):
    _, out, _ = run(capsys, "toptable", TORTURE / "G04_F_table_two_contrasts.csv", "--top", 2)
    assert "a joint test" in out
    assert re.search(r"BvsA +CvsA +AveExpr +F +P.Value +adj.P.Val\n", out)


@pytest.mark.parametrize("columns", [80, 100])
def test_long_effects_are_told_apart_and_the_p_values_stay(columns):
    frame = table().drop(columns=["t", "logFC"]).assign(F=3.0)
    names = [f"treatmentDrugA.timepoint{hours}h.batch_corrected" for hours in (6, 12, 24, 48, 72, 96)]
    for i, name in enumerate(names):
        frame[name] = float(i)
    de = gb.DETable(frame, kind="F", source={"contrasts": names})
    text = described(de, "joint", top=3, width=columns)
    assert max(map(len, text.splitlines())) <= columns
    head = next(line for line in text.splitlines() if "P.Value" in line and "AveExpr" in line).split()
    assert head == ["[1]", "[2]", "[3]", "[4]", "[5]", "[6]", "AveExpr", "F", "P.Value", "adj.P.Val"]
    for i, name in enumerate(names, start=1):
        assert text.count(name) == 1  # in the legend, and not among what is beside the statistics
        assert f"[{i}] {name}" in text


def test_effects_that_do_not_fit_are_named():
    frame = table().drop(columns=["t", "logFC"]).assign(F=3.0)
    names = [f"condition_{i:02d}" for i in range(12)]
    for name in names:
        frame[name] = 1.0
    text = " ".join(described(gb.DETable(frame, kind="F", source={"contrasts": names}), "joint", width=80).split())
    assert "P.Value adj.P.Val" in text
    assert re.search("No room for the effects condition_.., .*condition_11[.]", text)
    assert all(name in text for name in names)


def test_without_adjusted_p_values_there_is_a_hint():
    de = gb.DETable(table().drop(columns="adj.P.Val"))
    text = " ".join(described(de, "bare", width=80).split())
    expected = int((table()["adj.P.Val"] < 0.05).sum())
    assert (
        f"no adjusted p-values in the table; Benjamini-Hochberg's over its rows would be below 0.05 for {expected} "
        in text
    )


def test_top_is_a_count(tmp_path, capsys):
    table().to_csv(tmp_path / "top.csv")
    assert "by P.Value" not in run(capsys, "toptable", tmp_path / "top.csv", "--top", 0)[1]
    with pytest.raises(SystemExit) as stopped:
        run(capsys, "toptable", tmp_path / "top.csv", "--top", "-3")
    assert stopped.value.code == 2
    assert "from 0 on" in capsys.readouterr().err


# -- words -------------------------------------------------------------------------------------------------------------

READING = ("coef", "by", "feature", "sheet", "duplicates", "columns", "trusted", "dialect", "force")
FITTING = ("orient", "samples", "engine", "voom", "block", "trend", "layer", "treat", "splits", "allow_confounded")


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        ("Choose one: coef='logFC'.", "Choose one: --coef logFC."),
        ("Split them: by='my group' gives a dict of tables.", "Split them: --by 'my group' gives a table of each."),
        (
            "sheet='a b', or feature='ID'",
            "sheet='a b', or feature='ID'".replace("sheet=", "--sheet ").replace("feature='ID'", "--feature ID"),
        ),
        ('feature="it\'s"', "--feature 'it'\"'\"'s'"),
        ("Name a policy: duplicates='best_p' keeps", "Name a policy: --duplicates best_p keeps"),
        ("columns={'logFC': 'my fc', 'P.Value': 'p'}", "--columns 'logFC=my fc' P.Value=p"),
        ("logarithm: columns={'ln(FC)': 'u', ...}; log10", "logarithm: --columns 'ln(FC)=u' ...; log10"),
        ("(DEqMS), or {'P.Value': 'P'}", "(DEqMS), or --columns P.Value=P"),
        ("pass trusted=True to", "pass --trusted to"),
        ("coef= chooses one of several; take them with by=.", "--coef chooses one of several; take them with --by."),
        ("standby='x' and de.sheet='x'", "standby='x' and de.sheet='x'"),
        ("dialect='scanpy' names columns", "--dialect scanpy names columns"),
        ("allow it to be replaced: force=True.", "allow it to be replaced: --force."),
        ("Say so with orient='samples' or orient='genes'.", "Say so with --orient samples or --orient genes."),
        (
            "voom=, block= are computed by R alone; use engine='r'",
            "--voom, --block are computed by R alone; use --engine r",
        ),
        ("or leave voom out (trend=True suits logs of counts)", "or leave voom out (--trend suits logs of counts)"),
        ("block: no column 'x' in adata.obs.", "--block: no column 'x' among the columns of the samples."),
        ("n_splits=5 and treat_lfc=1.5", "--splits 5 and --treat 1.5"),
        ("or pass allow_confounded=True to go on", "or pass --allow-confounded to go on"),
        ("gb.read.expression reads those.", "`geneml-bio limma` and `geneml-bio run` read those."),
        ("missing='drop'", "missing='drop'"),
    ],
)
def test_messages_name_the_options_of_the_command(message, asked):
    assert in_options(message, (*READING, *FITTING)) == asked


def test_only_options_that_the_verb_has_are_named():
    assert in_options("use engine='r' or columns={'a': 'b'}", READING[:5]) == "use engine='r' or columns={'a': 'b'}"


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (
            "because\ngb.tl.add_de(adata, de, feature='my SYMBOL')",
            "because\ngeneml-bio toptable a\\1.csv --feature 'my SYMBOL' --out de.csv, and then --de de.csv",
        ),
        ("because\ngb.tl.add_de(adata, de, on='x')", "because\nIn Python: gb.tl.add_de(adata, de, on='x')"),
    ],
)
def test_a_table_that_does_not_fit_is_mended_on_the_command_line(said, asked):
    assert joined_here(said, Path("a\\1.csv")) == asked


def test_run_says_how_its_de_table_is_read(tmp_path, capsys):
    twice = pd.concat([table(), table().head(2)])
    twice.rename_axis("gene").reset_index().to_csv(tmp_path / "de.csv", index=False)
    status, _, err = run(capsys, "run", tmp_path / "data.h5ad", "--target", "class", "--de", tmp_path / "de.csv")
    assert status == 2
    assert "--duplicates best_p" in err
    assert f"geneml-bio toptable {tmp_path / 'de.csv'} OPTION ... --out de.csv" in err


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_is_quiet_also_while_modules_load(monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_parser", stop)
    assert run(capsys, "doctor") == (130, "", "geneml-bio: stopped\n")
    code = "import sys, geneml_bio.cli; sys.exit('pandas' in sys.modules)"  # what is slow is loaded within main
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="pipes of Unix")
def test_a_closed_pipe_is_quiet_and_the_file_is_written(tmp_path):
    table(n=3000).to_csv(tmp_path / "top.csv")
    argv = ["toptable", tmp_path / "top.csv", "--top", "3000", "--out", tmp_path / "out.tsv"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "geneml_bio.cli", *argv], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
    assert len(gb.read.toptable(tmp_path / "out.tsv")) == 3000


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_arguments_reach_the_reader(tmp_path, capsys):
    frame = table(symbol=["S0", "S0", *(f"S{i}" for i in range(2, 40))]).rename(
        columns={"logFC": "effect (x)", "P.Value": "my p"}
    )
    frame.to_csv(tmp_path / "odd.csv")
    status, _, err = run(
        capsys, "toptable", tmp_path / "odd.csv", "--columns", "logFC=effect (x)", "P.Value=my p", "--feature", "symbol"
    )
    assert status == 2
    assert "--duplicates" in err
    how = ["--columns", "logFC=effect (x)", "P.Value=my p", "--feature", "symbol", "--duplicates", "best_p"]
    status, out, _ = run(capsys, "toptable", tmp_path / "odd.csv", *how)
    assert status == 0
    assert "39 features" in out
    assert "1 left out" in out
    status, _, err = run(capsys, "toptable", tmp_path / "odd.csv", "--columns", "logFC")
    assert status == 2
    assert "NAME=COLUMN" in err


def test_stacked_experiments_become_a_section_and_a_file_each(tmp_path, capsys):
    stacked = pd.concat([table(seed=i).assign(cell_type=name) for i, name in enumerate(("B cells", "T/NK"))])
    stacked.rename_axis("gene").reset_index().to_csv(tmp_path / "all.csv", index=False)
    status, _, err = run(capsys, "toptable", tmp_path / "all.csv")
    assert status == 2
    assert "--by cell_type gives a table of each" in err
    status, out, _ = run(capsys, "toptable", tmp_path / "all.csv", "--by", "cell_type", "--to", "tsv")
    assert status == 0
    assert out.count("Verdict ") == 2
    assert "all.csv, T/NK" in out
    for i, name in enumerate(("B_cells", "T_NK")):
        de = gb.read.toptable(tmp_path / f"all-{name}.tsv")
        np.testing.assert_array_equal(de.frame["t"], table(seed=i)["t"])


def test_coef_is_a_name_and_else_a_number(tmp_path, capsys):
    one, two = table(seed=0).sort_index(), table(seed=1).sort_index()
    for names in (("A", "B"), ("1", "0")):  # "1" is a name where there is one of that name
        wide = pd.concat([one.add_suffix(f"_{names[0]}"), two.add_suffix(f"_{names[1]}")], axis=1)
        wide.to_csv(tmp_path / "wide.csv")
        for coef, frame in ((names[0], one), (names[1], two)):
            assert (
                run(capsys, "toptable", tmp_path / "wide.csv", "--coef", coef, "--out", tmp_path / "x.csv", "--force")[
                    0
                ]
                == 0
            )
            np.testing.assert_array_equal(gb.read.toptable(tmp_path / "x.csv").frame["t"], frame["t"])
    wide = pd.concat([one.add_suffix("_A"), two.add_suffix("_B")], axis=1)
    wide.to_csv(tmp_path / "wide.csv")
    assert run(capsys, "toptable", tmp_path / "wide.csv", "--coef", "2", "--out", tmp_path / "x.csv", "--force")[0] == 0
    np.testing.assert_array_equal(gb.read.toptable(tmp_path / "x.csv").frame["t"], two["t"])
    assert run(capsys, "toptable", tmp_path / "wide.csv", "--coef", "3")[0] == 2


# -- conversion --------------------------------------------------------------------------------------------------------

HOSTILE = ["NA", "nan", "TRUE", "1E5", "01005", "=1+1", "+x", "@y", "a,b", 'q"q', "MARCH1", "é"]


@pytest.mark.parametrize("to", ["csv", "tsv", "xlsx", "h5ad"])
def test_converted_and_read_again_it_is_the_same_table(tmp_path, capsys, to):
    ids = [*HOSTILE, *(f"GENE{i}" for i in range(28))]
    table(ids=ids).to_csv(tmp_path / "top.txt", sep="\t")
    first = gb.read.toptable(tmp_path / "top.txt")
    status, out, _ = run(capsys, "toptable", tmp_path / "top.txt", "--to", to)
    assert status == 0
    assert f"Written: {tmp_path / f'top.{to}'}" in out
    same(gb.read.toptable(tmp_path / f"top.{to}"), first)


def test_parquet(tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table().to_csv(tmp_path / "top.csv.gz")
    assert run(capsys, "toptable", tmp_path / "top.csv.gz", "--to", "parquet")[0] == 0
    frame = pd.read_parquet(tmp_path / "top.parquet").set_index("id")
    same(gb.read.toptable(frame), gb.read.toptable(tmp_path / "top.csv.gz"))


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        ("limma", {"logFC", "P.Value", "adj.P.Val"}),
        ("scanpy", {"names", "logfoldchanges", "pvals"}),
        ("deseq2", {"log2FoldChange", "pvalue"}),
        ("edger", {"logFC", "PValue", "FDR"}),
        ("pertpy", {"log_fc", "p_value"}),
    ],
)
def test_other_programs_names(tmp_path, capsys, dialect, names):
    table().to_csv(tmp_path / "top.csv")
    status, _, _ = run(
        capsys, "toptable", tmp_path / "top.csv", "--out", tmp_path / f"{dialect}.csv", "--dialect", dialect
    )
    assert status == 0
    assert names <= set(pd.read_csv(tmp_path / f"{dialect}.csv").columns)
    again = gb.read.toptable(tmp_path / f"{dialect}.csv")
    frame = gb.read.toptable(tmp_path / "top.csv").frame
    np.testing.assert_allclose(
        again.frame.loc[frame.index, ["logFC", "P.Value"]], frame[["logFC", "P.Value"]], rtol=1e-12
    )


def test_a_file_that_is_there_stays(tmp_path, capsys):
    table().to_csv(tmp_path / "top.csv")
    before = (tmp_path / "top.csv").read_bytes()
    status, _, err = run(capsys, "toptable", tmp_path / "top.csv", "--to", "csv")
    assert status == 2
    assert "--force" in err
    assert (tmp_path / "top.csv").read_bytes() == before
    assert run(capsys, "toptable", tmp_path / "top.csv", "--to", "csv", "--force")[0] == 0


def test_a_folder_gets_a_file_of_each_experiment(tmp_path, capsys):
    stacked = pd.concat([table(seed=i).assign(cell_type=name) for i, name in enumerate(("B", "T"))])
    stacked.rename_axis("gene").reset_index().to_csv(tmp_path / "all.csv", index=False)
    one = stacked[stacked["cell_type"] == "B"]
    one.rename_axis("gene").reset_index().to_csv(tmp_path / "one.csv", index=False)
    out = tmp_path / "out"
    out.mkdir()
    for argv, names in (
        (["all.csv", "--by", "cell_type", "--out", out], ["all-B.csv", "all-T.csv"]),
        (["all.csv", "--by", "cell_type", "--out", out, "--to", "xlsx"], ["all-B.xlsx", "all-T.xlsx"]),
        (["one.csv", "--by", "cell_type", "--out", out], ["one.csv"]),
        (["one.csv", "--by", "cell_type", "--out", out / "mine.csv"], ["mine.csv"]),
        (["one.csv", "--out", out, "--to", "tsv"], ["one.tsv"]),
    ):
        before = set(out.iterdir())
        assert run(capsys, "toptable", tmp_path / argv[0], *argv[1:])[0] == 0
        assert sorted(path.name for path in set(out.iterdir()) - before) == names


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path, capsys, monkeypatch):
    table().to_csv(tmp_path / "top.csv")

    def full(*_):
        raise OSError(28, "No space left on device", ".out.csv.x7c.csv")

    monkeypatch.setitem(export.WRITERS, "tsv", full)
    status, out, err = run(capsys, "toptable", tmp_path / "top.csv", "--out", tmp_path / "out.tsv")
    assert (status, out) == (2, "")
    assert err == f"geneml-bio: {tmp_path / 'out.tsv'} cannot be written: No space left on device.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["top.csv"]
    monkeypatch.setattr(export.os, "access", lambda *_: False)
    _, _, err = run(capsys, "toptable", tmp_path / "top.csv", "--out", tmp_path / "out.csv")
    assert (
        err
        == f"geneml-bio: {tmp_path / 'out.csv'} cannot be written: there is no permission to make files in {tmp_path}.\n"
    )


@pytest.mark.parametrize(
    ("name", "to", "goes"),
    [("zz.csv", "xlsx", False), ("zz.csv.gz", "csv", False), ("zz.txt", "tsv", True), ("zz", "csv", True),
     ("zz.txt", "xlsx", False), ("zz.v2", "csv", True), ("zz.CSV", "csv", True), ("zz.rds", "csv", False)],
)  # fmt: skip
def test_a_name_does_not_lie_about_its_format(tmp_path, capsys, name, to, goes):
    table().to_csv(tmp_path / "top.csv")
    status, _, err = run(capsys, "toptable", tmp_path / "top.csv", "--to", to, "--out", tmp_path / name)
    assert (status, (tmp_path / name).exists()) == ((0, True) if goes else (2, False))
    assert goes or "Change the name or the format" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["toptable", "nowhere.csv"], "nowhere.csv"),
        (["toptable", "{csv}", "--feature", "symbl"], "symbl"),
        (["toptable", "{csv}", "--out", "x.ods"], "'ods'"),
        (["toptable", "{csv}", "--out", "no/where.csv"], "no folder"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--h5ad", "no/x.h5ad"], "no folder no"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--h5ad", "x.csv"], "is no name for h5ad"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--h5ad", "x.h5ad", "--out", "x.h5ad"], "both"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--out", "{csv}", "--force"], "holds the data"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x"], "`geneml-bio toptable` reads it"),
    ],
)
def test_what_is_refused_is_one_line_and_status_2(tmp_path, capsys, argv, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(symbol="s").to_csv(tmp_path / "top.csv")
    status, _, err = run(capsys, *[part.replace("{csv}", str(tmp_path / "top.csv")) for part in argv])
    assert status == 2
    assert says in err
    assert "Traceback" not in err


# -- limma -------------------------------------------------------------------------------------------------------------


def test_limma_from_a_file_to_a_table_and_an_h5ad(tmp_path, capsys):
    golub = gb.datasets.golub()[:, :200].copy()
    golub.write_h5ad(tmp_path / "golub.h5ad")
    status, out, _ = run(
        capsys,
        *("limma", tmp_path / "golub.h5ad", "--design", "~ 0 + class", "--contrast", "classAML - classALL"),
        *("--engine", "native", "--out", tmp_path / "top.csv", "--h5ad", tmp_path / "done.h5ad", "--top", 3),
    )
    assert status == 0
    lines = {line[:9].strip(): line[10:] for line in out.splitlines()}
    assert lines["Samples"] == "38 (class: ALL 27, AML 11), 200 genes"
    assert lines["Design"] == "~ 0 + class (classALL, classAML)"
    assert lines["Contrast"] == "classAML - classALL"
    assert lines["Method"] == "lmFit, contrasts.fit, eBayes"
    assert lines["Engine"].startswith("native")
    assert "File" not in lines
    table_of = gb.tl.limma(golub, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    expected = table_of.frame
    assert lines["Prior"] == f"{table_of.source['df_prior']:.3g} df, variance {table_of.source['s2_prior']:.3g}"
    np.testing.assert_array_equal(gb.read.toptable(tmp_path / "top.csv").frame["t"], expected["t"])
    np.testing.assert_array_equal(
        gb.get.de(ad.read_h5ad(tmp_path / "done.h5ad")).loc[expected.index, "B"], expected["B"]
    )
    how = [
        "limma",
        tmp_path / "golub.h5ad",
        "--design",
        "~ 0 + class",
        "--contrast",
        "class,AML,ALL",
        "--engine",
        "native",
    ]
    assert "treat(|logFC| > 0.3)" in run(capsys, *how, "--treat", 0.3, "--top", 2)[1]
    assert run(capsys, *how, "--h5ad", tmp_path / "done.h5ad")[0] == 2  # it is there


def test_limma_from_a_csv_with_a_table_of_samples(tmp_path, capsys):
    golub = gb.datasets.golub()[:, :50].copy()
    golub.to_df().to_csv(tmp_path / "x.csv")
    golub.obs[["class"]].to_csv(tmp_path / "samples.csv")
    how = ["--samples", tmp_path / "samples.csv", "--design", "~ class", "--contrast", "classAML", "--engine", "native"]
    status, out, _ = run(capsys, "limma", tmp_path / "x.csv", *how)
    assert status == 0
    expected = gb.tl.limma(golub, "~ class", contrast="classAML", engine="native")
    assert expected.top(1).index[0][:12] in out


def test_all_that_limma_did_is_said():
    source = {"engine": "r", "r_version": "4.2.2", "limma_version": "3.54.1", "edgeR_version": "3.40.0", "voom": True}
    source |= {"normalize": "RLE", "quality_weights": True, "block": "donor", "correlation": 0.1234, "robust": True}
    source |= {
        "correlation_estimated": True,
        "df_prior": np.inf,
        "s2_prior": 0.5,
        "n_low_counts": 12,
        "layer": "counts",
    }
    source |= {"design": "~ 0 + class + age", "design_columns": ["classA", "classB", "age"], "contrasts": ["B vs A"]}
    obs = pd.DataFrame({"class": ["A", "B", "B"], "age": [1.0, 2.0, 3.0]}, index=list("xyz"))
    said = dict(done(gb.DETable(table(), source=source | {"treat_lfc": 0.5}), ad.AnnData(np.zeros((3, 40)), obs=obs)))
    assert said == {
        "Samples": "3 (class: A 1, B 2), 40 genes, layer 'counts'",
        "Design": "~ 0 + class + age (classA, classB, age)",
        "Contrast": "B vs A",
        "Method": "voomWithQualityWeights (normalised by RLE), blocks by donor (correlation 0.123, estimated), lmFit, "
        "contrasts.fit, treat(robust, |logFC| > 0.5)",
        "Prior": "infinite df (median of the genes), variance 0.5",
        "Counts": "12 genes have low counts by edgeR's filterByExpr; none was left out, and they bend voom's trend",
        "Engine": "R 4.2.2, limma 3.54.1, edgeR 3.40.0",
    }


def test_described_for_a_table_made_by_hand():
    de = gb.DETable(table())
    text = described(de, "mine", width=80)
    assert text.startswith("mine: limma, 40 features, one contrast\n")
    assert "40 features" in text
