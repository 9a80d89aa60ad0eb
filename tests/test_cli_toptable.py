"""geneml-bio toptable and limma: what a stranger sees at the terminal, and the files that come out."""

from __future__ import annotations

import re
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio import cli
from geneml_bio.cli_tables import _in_words_of_the_command
from geneml_bio.describe import described

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
    assert "What the numbers say" in out
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
        assert "features, " in out
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


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        ("Choose one: coef='logFC'.", "Choose one: --coef 'logFC'."),
        ("Split them: by='group' gives", "Split them: --by 'group' gives"),
        ("sheet='a b', or feature='ID'", "--sheet 'a b', or --feature 'ID'"),
        ("Name a policy: duplicates='best_p' keeps", "Name a policy: --duplicates 'best_p' keeps"),
        ("columns={'logFC': 'my fc', 'P.Value': 'p'}", "--columns logFC='my fc' P.Value='p'"),
        ("pass trusted=True to", "pass --trusted to"),
        ("coef= chooses one of several; take them with by=.", "--coef chooses one of several; take them with --by."),
        ("standby='x'", "standby='x'"),
    ],
)
def test_messages_name_the_options_of_the_command(message, asked):
    assert _in_words_of_the_command(message) == asked


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
    assert "--by 'cell_type'" in err
    status, out, _ = run(capsys, "toptable", tmp_path / "all.csv", "--by", "cell_type", "--to", "tsv")
    assert status == 0
    assert out.count("What the numbers say") == 2
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


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["toptable", "nowhere.csv"], "nowhere.csv"),
        (["toptable", "{csv}", "--feature", "symbl"], "symbl"),
        (["toptable", "{csv}", "--out", "x.ods"], "'ods'"),
        (["toptable", "{csv}", "--out", "no/where.csv"], "no folder"),
        (["limma", "{csv}", "--design", "~ 0 + class", "--contrast", "x", "--to", "csv"], "--out"),
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
    assert "classAML - classALL" in out
    expected = gb.tl.limma(golub, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native").frame
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
    assert run(capsys, *how, "--treat", 0.3, "--top", 2)[1].count("minimal fold change") == 1
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


def test_described_for_a_table_made_by_hand():
    de = gb.DETable(table())
    text = described(de, "mine", width=80)
    assert text.startswith("mine: limma\n")
    assert "40 features" in text
