"""An object that was cut down after its models were validated: what is said of the study stays what the study was."""

from __future__ import annotations

import anndata as ad
from pages import page

import geneml_bio as gb


def test_sizes_are_those_of_the_study(models, tmp_path):
    part = models[models.obs["dx"] == "healthy", :7].copy()
    gone = "This object holds 24 of the 48 samples and 7 of the 40 genes that were validated."
    text = gb.summary(part)
    assert "48 samples" in text.splitlines()[1]
    assert "40 genes" in text.splitlines()[1]
    assert gone in text
    assert "took no part" not in text
    read = page(gb.report(part, tmp_path / "part.html")).words
    assert gone in read
    assert "40 genes in 48 samples" in read
    assert "-24 samples" not in read
    assert "left out)" not in read
    assert "all 7 genes were kept" not in read
    assert "there are 7 genes" not in read
    whole = page(gb.report(models, tmp_path / "whole.html")).words
    assert "This object holds" not in gb.summary(models) + whole


def test_results_of_an_earlier_version_do_not_say_how_many_genes(models):
    earlier = models.copy()
    del earlier.uns["classify"]["n_genes"]
    assert "48 samples" in gb.summary(earlier)
    assert "40 genes" in gb.summary(earlier)


def test_samples_that_came_later_took_no_part(models):
    more = models[:3].copy()
    more.obs_names = ["new1", "new2", "new3"]
    both = ad.concat([models, more], uns_merge="first")
    text = gb.summary(both)
    assert "3 of 51 samples took no part: they came after the validation." in text
    assert "This object holds" not in text
