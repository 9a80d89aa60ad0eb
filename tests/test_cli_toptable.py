"""geneml-bio toptable and limma: what a stranger sees at the terminal, and the files that come out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio import cli
from geneml_bio.cli_tables import joined_here
from geneml_bio.cli_words import in_options
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
