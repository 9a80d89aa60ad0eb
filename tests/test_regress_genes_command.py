"""The command for gene-level models."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pytest
from test_regress_genes import TORTURE

import geneml_bio as gb
from geneml_bio import cli_genes
from geneml_bio.core.errors import GenemlError

# -- the command -------------------------------------------------------------------------------------------------------


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli_genes.add_verb(parser.add_subparsers())
    asked = parser.parse_args(["regress-genes", *words])
    return asked.run(asked)


@pytest.mark.filterwarnings("ignore::geneml_bio.core.errors.GenemlWarning")
def test_the_command_writes_tables_figures_and_the_summary(tmp_path, capsys):
    frame = gb.read.toptable(TORTURE / "G01_toptable_writecsv.csv").frame.copy()
    rng = np.random.default_rng(0)
    genes = ["=2+3", *frame.index[1:]]
    pd.DataFrame({"gene": genes, "@gc": rng.random(len(genes)), "kind": rng.choice(["=a()", "b"], len(genes))}).to_csv(
        tmp_path / "f.csv", index=False
    )
    frame.set_axis(genes, axis=0).to_csv(tmp_path / "de.csv")
    (tmp_path / "sets.gmt").write_text("one\tx\t" + "\t".join(frame.index[5:60]) + "\n")
    options = [
        "--model",
        "linear",
        "decision_tree",
        "--splits",
        "3",
        "--no-tune",
        "--jobs",
        "1",
        "--quiet",
        "--out",
        str(tmp_path / "out"),
    ]
    status = command(str(tmp_path / "de.csv"), "--features", str(tmp_path / "f.csv"), "--gene-sets", str(tmp_path / "sets.gmt"),
                     "--contrast-table", f"other={TORTURE / 'G16_p_underflow.csv'}", "--shared-samples", "no",
                     "--predict", str(tmp_path / "de.csv"), "--predict-features", str(tmp_path / "f.csv"), *options)  # fmt: skip
    assert status == 0
    assert "comparison.csv" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert {"r2", "low", "high", "mse", "rmse", "mae", "test_r2"} <= set(table)
    assert set(table["block"]) == {"independent", "algebraic", "reference"}
    made = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col=0)
    assert len(made) == len(frame)
    assert "'=2+3" in made.index  # a spreadsheet would run it
    assert {"independent: linear", "algebraic: decision_tree"} <= set(made)
    assert "'@gc" in pd.read_csv(tmp_path / "out" / "predictors.csv")["predictor"].tolist()
    assert len(pd.read_csv(tmp_path / "out" / "new_predictions.csv")) == len(frame)
    assert "arithmetic, not biology" in " ".join((tmp_path / "out" / "summary.txt").read_text().split())
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} >= {
        "models.png",
        "predicted.pdf",
        "shap.png",
    }


@pytest.mark.parametrize(
    ("words", "match"),
    [(["--contrast-table", "other.csv"], "NAME=FILE"), (["--features", "nowhere.csv"], "no file"),
     (["--target", "logfc"], "Did you mean 'logFC'"), (["--model", "logistic"], "ridge")],
)  # fmt: skip
def test_the_command_refuses_with_one_clear_error(words, match, tmp_path):
    with pytest.raises(GenemlError, match=match):
        command(str(TORTURE / "G01_toptable_writecsv.csv"), *words, "--quiet", "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
