"""Genes and values that are not what they should be, scores, files and the command."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score
from test_fit import EXACT, _backed, study, trained_study, validated

import geneml_bio as gb
from geneml_bio.cli import main
from geneml_bio.core.errors import (
    AuditWarning,
    ColumnNotFoundError,
    DataWarning,
    DuplicateNamesError,
    GenemlWarning,
    InputError,
    TargetError,
)


@pytest.fixture(scope="module")
def trained():
    return trained_study()


# -- genes and values that are not what they should be -----------------------------------------------------------------


def test_missing_genes_are_listed_or_filled_with_medians(trained):
    old, new, fitted = trained
    lost = list(fitted.features[3:5])
    less = new[:, ~new.var_names.isin(lost)].copy()
    with pytest.raises(
        InputError, match=rf"2 of the 20 genes of the model are not in the data \('{lost[0]}', '{lost[1]}'\)"
    ):
        fitted.predict(less)
    by_hand = new.copy()
    where = new.var_names.get_indexer(lost)
    by_hand.X[:, where] = np.median(old.X[:, where], axis=0)
    with pytest.warns(DataWarning, match="2 of the 20 genes .* filled with their medians"):
        made = fitted.predict(less, missing="fill")
    pd.testing.assert_frame_equal(made, fitted.predict(by_hand), **EXACT)
    with pytest.raises(InputError, match="more than the 10% that may be filled"):
        fitted.predict(new[:, ~new.var_names.isin(fitted.features[:3])], missing="fill")
    with pytest.raises(InputError, match=r"None of the 20 genes .*same id space"):
        fitted.predict(new.to_df().add_prefix("x"), missing="fill")
    with pytest.raises(InputError, match="missing must be one of"):
        fitted.predict(new, missing="drop")


def test_genes_are_matched_by_id_in_a_column_or_without_version(trained):
    _, new, fitted = trained
    whole = fitted.predict(new)
    other = new.copy()
    other.var["id"], other.var_names = new.var_names, [f"p{i}" for i in range(new.n_vars)]
    pd.testing.assert_frame_equal(fitted.predict(other, on="id"), whole)
    with pytest.raises(ColumnNotFoundError, match=r"no column 'ids' in adata.var.*'id'"):
        fitted.predict(other, on="ids")
    old, new = study(effect=0.8)
    for part, version in ((old, 3), (new, 12)):
        part.var_names = [f"ENSG{i:011d}.{version}" for i in range(part.n_vars)]
    validated(old)
    fitted = gb.tl.fit(old)
    with pytest.raises(InputError, match="None of the 20 genes"):
        fitted.predict(new)
    pd.testing.assert_frame_equal(fitted.predict(new, strip_version=True), whole)
    new.var_names = [*new.var_names[:-1], new.var_names[old.var_names.get_loc(fitted.features[0])][:-1] + "3"]
    with pytest.raises(DuplicateNamesError, match="more than once"):
        fitted.predict(new, strip_version=True)


def test_duplicates_are_refused_where_they_matter(trained):
    _, new, fitted = trained
    frame = new.to_df()
    needed, unneeded = fitted.features[0], next(name for name in new.var_names if name not in fitted.features)
    pd.testing.assert_frame_equal(fitted.predict(pd.concat([frame, frame[[unneeded]]], axis=1)), fitted.predict(frame))
    with pytest.raises(DuplicateNamesError, match=f"'{needed}'"):
        fitted.predict(pd.concat([frame, frame[[needed]]], axis=1))
    with pytest.raises(DuplicateNamesError, match="Sample names are duplicated"):
        fitted.predict(pd.concat([frame, frame]))


def test_values_that_no_model_can_use_are_refused(trained):
    _, new, fitted = trained
    for value, said in ((np.nan, r"missing values in genes of the model \(such as"), (np.inf, "infinite")):
        bad = new.copy()
        bad.X[0, new.var_names.get_loc(fitted.features[2])] = value
        with pytest.raises(InputError, match=said):
            fitted.predict(bad)
    elsewhere = new.copy()
    elsewhere.X[0, np.flatnonzero(~new.var_names.isin(fitted.features))[0]] = np.nan
    pd.testing.assert_frame_equal(fitted.predict(elsewhere), fitted.predict(new))
    text = new.to_df().astype({fitted.features[1]: str})
    with pytest.raises(InputError, match=f"Gene '{fitted.features[1]}' is"):
        fitted.predict(text)
    for wrong in ("file.csv", new.X, None):
        with pytest.raises(InputError, match="cannot be predicted from"):
            fitted.predict(wrong)
    with pytest.raises(InputError, match="for AnnData objects"):
        fitted.predict(new.to_df(), layer="logs")


def test_another_scale_is_warned_about(trained):
    _, new, fitted = trained
    counts = new.copy()
    counts.X = np.rint(2**new.X)
    with pytest.warns(DataWarning, match="counts, where logs are expected. The model was fitted on logs"):
        fitted.predict(counts)
    old, new = study()
    old.X = np.rint(2**old.X)
    validated(old)
    with pytest.warns(DataWarning, match="fitted on counts .* look like logs"):
        gb.tl.fit(old).predict(new)


@pytest.mark.parametrize("seed", range(4))
def test_samples_of_the_same_population_are_not_warned_about_and_shifted_ones_are(seed):
    """No warning for new samples and donors; one where each gene is shifted by a batch, or one sample by a lot."""
    old, new = study(seed=seed, n_donors=30, n_test=200)
    validated(old)
    fitted = gb.tl.fit(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GenemlWarning)
        fitted.predict(new)
    sd = new.var["sd"].to_numpy()
    shifted = new.copy()
    shifted.X = new.X + np.random.default_rng(seed).normal(scale=4, size=new.n_vars) * sd
    with pytest.warns(DataWarning, match="values .* lie far outside what the model has seen"):
        fitted.predict(shifted)
    odd = new.copy()
    odd.X[5] += 8 * sd
    with pytest.warns(DataWarning, match="in 1 samples, more than 25%"):
        fitted.predict(odd)


# -- scores ------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_scikit_learn(trained):
    _, new, fitted = trained
    made = fitted.predict(new)
    table = fitted.score(new, "target").set_index("metric")
    y = new.obs["target"].astype(str)
    assert table.loc["balanced_accuracy", "value"] == pytest.approx(balanced_accuracy_score(y, made["predicted"]))
    assert table.loc["roc_auc", "value"] == pytest.approx(roc_auc_score(y == "case", made["prob_case"]))
    row = table.loc["roc_auc"]
    assert row["low"] < row["value"] <= row["high"]
    assert set(table["n"]) == {40}
    frame = new.to_df().assign(target=y)
    pd.testing.assert_frame_equal(fitted.score(frame, "target").set_index("metric"), table)


def test_a_file_can_be_scored_where_it_lies(trained, tmp_path):
    _, new, fitted = trained
    some = new.copy()
    some.obs["target"] = some.obs["target"].astype(object)
    some.obs.iloc[:3, some.obs.columns.get_loc("target")] = None
    for part, n in ((new, 40), (some, 37)):
        backed = _backed(part, tmp_path, sparse.csr_matrix)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            table = fitted.score(backed, "target")
            pd.testing.assert_frame_equal(table, fitted.score(part, "target"), **EXACT)
        assert set(table["n"]) == {n}
        backed.file.close()


def test_numbers_are_scored_and_samples_without_one_left_out():
    old, new = study(task="regression")
    validated(old, task="regress")
    fitted = gb.tl.fit(old, key="regress")
    new.obs.iloc[:3, new.obs.columns.get_loc("target")] = np.nan
    with pytest.warns(DataWarning, match="3 of 40 samples have no value in target 'target' and were left out"):
        table = fitted.score(new, "target").set_index("metric")
    rest = new[3:]
    expected = r2_score(rest.obs["target"], fitted.predict(rest)["predicted"])
    assert table.loc["r2", "value"] == pytest.approx(expected)
    assert set(table["n"]) == {37}
    new.obs["words"] = "text"
    with pytest.raises(TargetError, match="the model predicts a number"):
        fitted.score(new, "words")


def test_unknown_and_absent_classes(trained):
    _, new, fitted = trained
    other = new.copy()
    other.obs["target"] = other.obs["target"].astype(str)
    other.obs.iloc[:2, other.obs.columns.get_loc("target")] = "relapse"
    with pytest.raises(TargetError, match=r"'relapse' \(2 samples\)\. It knows \['control', 'case'\]"):
        fitted.score(other, "target")
    one = new[(new.obs["target"] == "case").to_numpy()]
    with pytest.warns(DataWarning, match=r"no sample of 1 of the 2 classes \('control'\)"):
        table = fitted.score(one, "target").set_index("metric")
    assert np.isnan(table.loc["roc_auc", "value"])
    assert table.loc["accuracy", "value"] == (fitted.predict(one)["predicted"] == "case").mean()
    with pytest.raises(ColumnNotFoundError, match="target"):
        fitted.score(new, "targets")
    other.obs["target"] = None
    with pytest.raises(TargetError, match="missing for every sample"):
        fitted.score(other, "target")


def test_labels_that_are_numbers_are_those_of_training():
    old, new = study()
    for part in (old, new):
        part.obs["target"] = (part.obs["target"] == "case").astype(float)
    validated(old)
    fitted = gb.tl.fit(old)
    assert fitted.classes == ("0", "1")
    assert fitted.score(new, "target").set_index("metric").loc["roc_auc", "value"] > 0.7


def test_a_score_on_samples_of_training_is_told_for_what_it_is(trained):
    old, new, fitted = trained
    with pytest.warns(AuditWarning, match="60 of these 60 samples are among those that the model was fitted on"):
        fitted.score(old, "target")
    mixed = anndata.concat([old[:4], new])
    with pytest.warns(AuditWarning, match="4 of these 44 samples"):
        gb.FittedModel.of(fitted).score(mixed, "target")
    with warnings.catch_warnings():
        warnings.simplefilter("error", GenemlWarning)
        fitted.score(new, "target")


# -- saved, and on the command line ------------------------------------------------------------------------------------


@pytest.fixture
def files(trained, tmp_path):
    _, new, fitted = trained
    fitted.save(tmp_path / "model.geneml")
    new.to_df().assign(target=new.obs["target"].astype(str)).rename_axis("sample").to_csv(tmp_path / "new.csv")
    return tmp_path


def test_a_saved_model_is_the_same_model(trained, files):
    _, new, fitted = trained
    again = gb.load(files / "model.geneml")
    pd.testing.assert_frame_equal(again.predict(new), fitted.predict(new), check_exact=True)
    assert repr(again) == repr(fitted)
    pd.testing.assert_frame_equal(again.score(new, "target"), fitted.score(new, "target"))


def run(*words) -> int:
    return main([str(word) for word in words])


def test_the_command_predicts_and_scores(trained, files, capsys):
    _, new, fitted = trained
    out = files / "out.csv"
    assert run("predict", files / "model.geneml", files / "new.csv", "--target", "target", "--out", out) == 0
    said = capsys.readouterr().out
    table = pd.read_csv(out, index_col="sample")
    pd.testing.assert_frame_equal(table, fitted.predict(new), check_names=False, check_dtype=False, **EXACT)
    assert "40 samples predicted: " in said
    value = fitted.score(new, "target").set_index("metric").loc["roc_auc", "value"]
    assert re.search(rf"roc auc\s+{value:.3f} \[", said)
    assert f"Written: {out}" in said
    assert run("predict", files / "model.geneml", files / "new.csv", "--out", out) == 2
    assert "is there already" in capsys.readouterr().err
    assert run("predict", files / "model.geneml", files / "new.csv", "--out", out, "--force") == 0


def test_the_command_turns_a_table_of_genes_by_samples(trained, files):
    _, new, fitted = trained
    genes = list(fitted.features)
    new.to_df()[genes].T.rename_axis("gene").to_csv(files / "genes.tsv", sep="\t")
    assert run("predict", files / "model.geneml", files / "genes.tsv", "--out", files / "o.tsv") == 0
    made = pd.read_csv(files / "o.tsv", sep="\t", index_col="sample")
    np.testing.assert_allclose(made["prob_case"], fitted.predict(new)["prob_case"], atol=1e-12)


def test_the_command_fills_refuses_and_neutralises(trained, files, capsys):
    _, new, fitted = trained
    frame = new.to_df().drop(columns=fitted.features[0]).rename(index={new.obs_names[0]: "=cmd()"})
    frame.rename_axis("sample").to_csv(files / "less.csv")
    where = ("predict", files / "model.geneml", files / "less.csv", "--out", files / "o.csv")
    assert run(*where) == 2
    assert "--missing fill takes their medians" in capsys.readouterr().err
    assert not (files / "o.csv").exists()
    assert run(*where, "--missing", "fill") == 0
    assert "1 of the 20 genes" in capsys.readouterr().err
    assert pd.read_csv(files / "o.csv", index_col=0).index[0] == "'=cmd()"
    (files / "bad.geneml").write_bytes(b"\x80\x04.")
    for words, said in (
        ((files / "bad.geneml", files / "less.csv", "--out", files / "p.csv"), "is a pickle"),
        ((files / "model.geneml", files / "less.csv", "--out", files / "p.xlsx"), "written as .csv or .tsv"),
        ((files / "model.geneml", files / "less.csv", "--out", files / "none" / "p.csv"), "there is no folder"),
        (
            (files / "model.geneml", files / "less.csv", "--groups", "donor", "--out", files / "p.csv"),
            "name a --target",
        ),
    ):
        assert run("predict", *words) == 2
        assert said in capsys.readouterr().err


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parent.parent / "docs" / "fit-and-predict.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
    assert len(blocks) > 3
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", GenemlWarning)
        for block in blocks:
            exec(compile(block, "fit-and-predict.md", "exec"), names)
    for command in re.findall(r"^geneml-bio (predict .*)$", page, flags=re.M):
        assert run(*command.split()) == 0, command
    assert "Written: " in capsys.readouterr().out
    assert os.listdir(tmp_path)
