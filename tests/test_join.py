"""gb.tl.add_de: a table meets the data by id, and where it does not, the message mends it."""

from __future__ import annotations

import hashlib
import re
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio.bridge import overlap
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    DataWarning,
    DuplicateNamesError,
    InputError,
    StorageError,
    TableError,
    ViewError,
)

HUMAN = [
    *(
        "TP53",
        "BRCA1",
        "MYC",
        "EGFR",
        "KRAS",
        "PTEN",
        "CDKN2A",
        "RB1",
        "ABL1",
        "BCR",
        "FLT3",
        "NPM1",
        "HLA-A",
        "NKX2-1",
    ),
    *("C9orf72", "STAT3", "JAK2", "CD19", "CD3E", "GATA1", "RUNX1", "IKZF1", "PAX5", "EBF1"),
]
ENSEMBL = [f"ENSG{141510 + 7 * i:011d}" for i in range(len(HUMAN))]
ENTREZ = [str(7157 + 13 * i) for i in range(len(HUMAN))]
PROBES = [f"{1007 + i}_s_at" for i in range(len(HUMAN))]
MOUSE = [name.capitalize() for name in HUMAN]


def table(ids, seed=0, contrast="b - a", source=None, **annotation) -> gb.DETable:
    rng = np.random.default_rng(seed)
    n = len(ids)
    t = rng.normal(scale=3, size=n)
    p = 2 * stats.t.sf(np.abs(t), 20)
    frame = pd.DataFrame(
        {
            "logFC": t / 4,
            "AveExpr": rng.normal(7, 1, n),
            "t": t,
            "P.Value": p,
            "adj.P.Val": stats.false_discovery_control(p),
        },
        index=pd.Index(ids, dtype=str),
    )
    for name, values in annotation.items():
        frame[name] = values
    return gb.DETable(frame, contrast=contrast, source=source or {})


def data(names, **columns) -> ad.AnnData:
    rng = np.random.default_rng(1)
    obs = pd.DataFrame({"group": pd.Categorical(list("aabbb"))}, index=[f"s{i}" for i in range(5)])
    var = pd.DataFrame(columns, index=pd.Index(names, dtype=str))
    return ad.AnnData(rng.normal(size=(5, len(names))).astype(np.float32), obs=obs, var=var)


def state(adata: ad.AnnData) -> str:
    """A hash of all that a call could change."""
    digest = hashlib.sha256(np.ascontiguousarray(adata.X).tobytes())
    for frame in (adata.obs, adata.var):
        digest.update(frame.to_csv().encode())
        digest.update(str(frame.dtypes.to_dict()).encode())
    for slot in (adata.obsm, adata.varm, adata.layers, adata.uns):
        digest.update(str({k: str(v) for k, v in slot.items()}).encode())
    return digest.hexdigest()


def quiet(call, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return call(*args, **kwargs)


# -- by id, whatever the order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_aligned_by_id_whatever_the_order(seed):
    rng = np.random.default_rng(seed)
    adata, de = data(rng.permutation(HUMAN)), table(list(rng.permutation(HUMAN)), seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gb.tl.add_de(adata, de)
    for name in ("logFC", "AveExpr", "t", "P.Value", "adj.P.Val"):
        np.testing.assert_array_equal(adata.var[f"limma_{name}"], de.frame.loc[adata.var_names, name])
    pd.testing.assert_frame_equal(
        gb.get.de(adata), de.frame.sort_values("P.Value")[gb.get.de(adata).columns], check_names=False, check_exact=True
    )


def test_what_does_not_match_is_counted_and_named_on_either_side():
    adata, de = data([*HUMAN[:20], *(f"own{i}" for i in range(7))]), table([*HUMAN, "only1"])
    with pytest.warns(
        DataWarning,
        match=r"20 rows matched; 5 rows of the table have no gene in adata \(RUNX1.*only1\), 7 genes have no row \(own0,.*\.\.\.\)",
    ):
        gb.tl.add_de(adata, de)
    about = adata.uns["limma"]
    assert {name: about[name] for name in ("n_matched", "n_table_only", "n_adata_only", "n_shared")} == {
        "n_matched": 20,
        "n_table_only": 5,
        "n_adata_only": 7,
        "n_shared": 0,
    }
    assert list(about["table_only"]) == ["CD3E", "GATA1", "RUNX1", "IKZF1", "PAX5", "EBF1", "only1"][:0] + list(
        de.frame.index[20:25]
    )
    assert list(about["adata_only"]) == [f"own{i}" for i in range(5)]
    assert adata.var["limma_logFC"].isna().sum() == 7


def test_a_column_of_the_table_and_a_column_of_var():
    adata = data(ENSEMBL, gene_symbols=HUMAN)
    probes = table(PROBES, symbol=HUMAN)
    de = gb.tl.add_de(adata, probes, feature="symbol", on="gene_symbols")
    np.testing.assert_array_equal(adata.var["limma_t"], probes.frame["t"])
    assert list(de.frame.index) == HUMAN
    assert list(de.frame["id"]) == PROBES  # the ids that were not used are kept
    assert adata.uns["limma"]["on"] == "gene_symbols"
    assert adata.uns["limma"]["feature"] == "symbol"


def test_genes_that_share_a_value_each_get_the_row_and_are_counted():
    adata = data(PROBES, symbol=[*HUMAN[:-3], "TP53", "TP53", None])
    de = table(HUMAN[:-3])
    with pytest.warns(DataWarning, match="23 genes share these rows: each of them got the row"):
        gb.tl.add_de(adata, de, on="symbol")
    np.testing.assert_array_equal(adata.var["limma_t"].iloc[[0, 21, 22]], np.repeat(de.frame.loc["TP53", "t"], 3))
    assert np.isnan(adata.var["limma_t"].iloc[23])
    assert adata.uns["limma"]["n_shared"] == 2
    assert adata.uns["limma"]["n_matched"] == 21


@pytest.mark.parametrize("blank", [None, np.nan, "", "  ", "---", "NA", "nan"])
def test_missing_values_match_nothing(blank):
    symbols = [blank, blank, *HUMAN[2:]]
    adata = data(ENSEMBL, symbol=pd.Series(symbols, dtype=object).to_numpy())
    de = table(PROBES, symbol=symbols)
    quiet(gb.tl.add_de, adata, de, feature="symbol", on="symbol")
    assert adata.var["limma_t"].isna().sum() == 2
    assert adata.uns["limma"]["n_no_id"] == 2
    assert adata.uns["limma"]["n_matched"] == len(HUMAN) - 2


def test_a_gene_called_na_is_a_gene():
    names = ["NA", "nan", "NULL", "TRUE", "1E5", "01005", "=1+1", "1-Mar", 'a"b', "c,d"]
    adata, de = data(names[::-1]), table(names)
    gb.tl.add_de(adata, de)
    np.testing.assert_array_equal(adata.var["limma_t"], de.frame["t"][::-1])
    adata = data(ENSEMBL[:10], symbol=names)
    gb.tl.add_de(adata, de, on="symbol")
    np.testing.assert_array_equal(adata.var["limma_t"], de.frame["t"])


def test_entrez_numbers_meet_entrez_text():
    whole = data(HUMAN, entrez=np.array(ENTREZ, dtype=int))
    gaps = data(HUMAN, entrez=[*map(float, ENTREZ[:-1]), np.nan])
    for adata, n in ((whole, 24), (gaps, 23)):
        quiet(gb.tl.add_de, adata, table(ENTREZ), on="entrez")
        assert adata.uns["limma"]["n_matched"] == n


def test_mangled_ids_that_match_nothing_are_named_with_the_genes_they_may_have_been():
    adata, de = data([*HUMAN, "MARCHF1", "SEPTIN2"]), table([*HUMAN, "1-Mar", "2-Sep"])
    with pytest.warns(DataWarning, match=r"2 ids look as if Excel.*1-Mar: MARCH1 \(now MARCHF1\)"):
        gb.tl.add_de(adata, de)
    assert adata.uns["limma"]["n_mangled"] == 2
    assert adata.var.loc[["MARCHF1", "SEPTIN2"], "limma_t"].isna().all()


# -- duplicates --------------------------------------------------------------------------------------------------------


def test_duplicates_are_refused_or_resolved_by_a_named_policy():
    symbols = [*HUMAN[:-2], "TP53", "TP53"]
    de = table(PROBES, symbol=symbols)
    adata = data(HUMAN)
    before = state(adata)
    with pytest.raises(DuplicateNamesError, match=r"'TP53'.*duplicates='best_p'.*'max_aveexpr'"):
        gb.tl.add_de(adata, de, feature="symbol")
    with pytest.raises(InputError, match=r"Did you mean 'best_p'"):
        gb.tl.add_de(adata, de, feature="symbol", duplicates="bestp")
    assert state(adata) == before
    of_tp53 = de.frame[de.frame["symbol"] == "TP53"]
    for policy, best in (("best_p", of_tp53["P.Value"].idxmin()), ("max_aveexpr", of_tp53["AveExpr"].idxmax())):
        quiet(gb.tl.add_de, adata, de, feature="symbol", duplicates=policy)
        assert adata.var.loc["TP53", "limma_t"] == de.frame.loc[best, "t"]
        assert adata.uns["limma"]["n_duplicates"] == 2
    assert of_tp53["P.Value"].idxmin() != of_tp53["AveExpr"].idxmax()  # the two policies differ here


def test_duplicated_var_names_are_refused_with_the_mend():
    adata = data([*HUMAN[:-1], "TP53"])
    with pytest.raises(DuplicateNamesError, match=r"'TP53'.*var_names_make_unique"):
        gb.tl.add_de(adata, table(HUMAN))


def test_versions_are_stripped_on_request_and_what_then_repeats_is_refused():
    versioned = [f"{name}.{i + 1}" for i, name in enumerate(ENSEMBL)]
    for left, right in ((versioned, ENSEMBL), (ENSEMBL, versioned), (versioned, [f"{n}.99" for n in ENSEMBL])):
        adata, de = data(right), table(left)
        gb.tl.add_de(adata, de, strip_version=True)
        np.testing.assert_array_equal(adata.var["limma_t"], de.frame["t"])
    pair = table([*versioned, f"{ENSEMBL[0]}.77"])
    with pytest.raises(DuplicateNamesError, match=ENSEMBL[0]):
        gb.tl.add_de(data(ENSEMBL), pair, strip_version=True)
    par = table([*versioned, f"{ENSEMBL[0]}.77_PAR_Y"])
    quiet(gb.tl.add_de, data(ENSEMBL), par, strip_version=True)
    assert overlap.without_version("NM_000546.6") == "NM_000546"
    for name in ("AC012345.1", "HLA-A", "1007_s_at", "Y_RNA.12", "ENSG.1"):
        assert overlap.without_version(name) == name


# -- nothing matches: the reason, and a mend that works when it is pasted ------------------------------------------------

COUNTED = [str(i) for i in range(1, len(HUMAN) + 1)]
QUOTED = [f'"{name}"' for name in HUMAN]
R_NAMES = [re.sub(r"^(?=\d)", "X", re.sub(r"[^\w.]", ".", name)) for name in HUMAN]

# what, table, its columns, names of adata, columns of var, words of the message
MENDS = [
    ("symbols beside probes", PROBES, {"SYMBOL": HUMAN}, HUMAN, {}, "column 'SYMBOL'"),
    ("gene_symbols in var", HUMAN, {}, ENSEMBL, {"gene_symbols": HUMAN}, "column 'gene_symbols' of adata.var"),
    ("gene_ids in var", ENSEMBL, {}, HUMAN, {"gene_ids": ENSEMBL, "n_cells": range(24)}, "column 'gene_ids'"),
    ("both sides", PROBES, {"ENTREZ": ENTREZ}, ENSEMBL, {"ncbi_gene": [int(e) for e in ENTREZ]}, "'ENTREZ'"),
    ("categorical", HUMAN, {}, ENSEMBL, {"feature_name": pd.Categorical(HUMAN)}, "'feature_name'"),
    ("versions", [f"{e}.18" for e in ENSEMBL], {}, ENSEMBL, {}, "version suffix"),
    ("versions of var", ENSEMBL, {}, [f"{e}.3" for e in ENSEMBL], {}, "version suffix"),
    ("versions in a column", [f"{e}.18" for e in ENSEMBL], {}, HUMAN, {"gene_ids": ENSEMBL}, "version suffix"),
    ("quotes", QUOTED, {}, HUMAN, {}, "quotes"),
    ("spaces of var", HUMAN, {}, [f" {name}" for name in HUMAN], {}, "spaces"),
    ("case", [name.lower() for name in HUMAN], {}, HUMAN, {}, "upper and lower case"),
    ("R's names", R_NAMES[12:14], {}, HUMAN[12:14], {}, "make.names"),
    ("custom chip", [f"{e}_at" for e in ENSEMBL], {}, ENSEMBL, {}, "_at"),
    ("TCGA", HUMAN, {}, [f"{a}|{b}" for a, b in zip(HUMAN, ENTREZ, strict=True)], {}, "second id behind"),
    ("joined", [f"{a}_{b}" for a, b in zip(ENSEMBL, HUMAN, strict=True)], {}, HUMAN, {}, "another id before"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "ids", "annotation", "names", "var", "says"), MENDS, ids=[m[0] for m in MENDS])
def test_the_mend_that_the_message_names_works_when_it_is_pasted(what, ids, annotation, names, var, says):
    adata, de = data(names, **var), table(ids, **annotation)
    before = state(adata)
    with pytest.raises(TableError) as refusal:
        gb.tl.add_de(adata, de)
    assert state(adata) == before
    message = str(refusal.value)
    assert says in message, message
    assert repr(ids[0]) in message
    code = message[message.index(":\n") + 2 :]
    exec(code, {"gb": gb, "adata": adata, "de": de})
    np.testing.assert_array_equal(adata.var["limma_t"], de.frame["t"])


# what, table, names of adata, words of the message
REASONS = [
    ("ensembl and symbols", ENSEMBL, HUMAN, ["Ensembl genes (human)", "gene symbols", 'org.Hs.eg.db, keys = ids']),
    ("symbols and entrez", HUMAN, ENTREZ, ['keytype = "SYMBOL", column = "ENTREZID"']),
    ("mouse", [e.replace("ENSG", "ENSMUSG") for e in ENSEMBL], MOUSE, ["Ensembl genes (mouse)", "org.Mm.eg.db"]),
    ("transcripts", [e.replace("ENSG", "ENST") for e in ENSEMBL], HUMAN, ["transcripts", "ENSEMBLTRANS"]),
    ("two species", [e.replace("ENSG", "ENSMUSG") for e in ENSEMBL], ENSEMBL, ["(mouse)", "(human)", "orthologs"]),
    ("probes and symbols", PROBES, HUMAN, ["Affymetrix", "annotation of their chip"]),
    ("illumina", [f"ILMN_{1650000 + i}" for i in range(20)], HUMAN, ["Illumina"]),
    ("agilent", [f"A_23_P{100000 + i}" for i in range(20)], HUMAN, ["Agilent"]),
    ("refseq", [f"NM_{546 + i:06d}" for i in range(20)], HUMAN, ["RefSeq", "REFSEQ"]),
    ("uniprot", [f"P{4637 + i:05d}" for i in range(20)], HUMAN, ["UniProt", "UNIPROT"]),
    ("another chip", PROBES, [f"{200000 + i}_at" for i in range(20)], ["another chip"]),
    ("chips that number their probes", [f"{i}_at" for i in range(1000, 1020)], [*map(str, range(1010, 1030))], ["Affymetrix"]),
    ("no idea", ["¿?", "??", "%%"], HUMAN, ["Add to adata.var"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "ids", "names", "says"), REASONS, ids=[r[0] for r in REASONS])
def test_ids_of_two_kinds_are_named_with_the_way_to_translate_them(what, ids, names, says):
    with pytest.raises(TableError) as refusal:
        gb.tl.add_de(data(names), table(ids))
    for words in says:
        assert words in str(refusal.value), str(refusal.value)


def test_case_alone_is_no_ortholog():
    with pytest.raises(TableError, match="case does not make orthologs"):
        gb.tl.add_de(data(HUMAN[:14]), table(MOUSE[:14]))


def test_numbers_of_rows_are_no_ids():
    adata, de = data([str(i) for i in range(30)], symbol=[*HUMAN, *(f"x{i}" for i in range(6))]), table(ENTREZ)
    with pytest.raises(TableError, match="only number the genes"):
        gb.tl.add_de(adata, de)
    many = data([str(i) for i in range(7000, 7500)])
    with pytest.raises(TableError, match="only number its rows"):
        gb.tl.add_de(data(list(map(str, range(5, 40)))), table(COUNTED, symbol=HUMAN))
    quiet(gb.tl.add_de, many, de)  # numbers that do not count from 0 or 1 are ids
    assert many.uns["limma"]["n_matched"] == 24
    gb.tl.add_de(data(COUNTED), table(COUNTED))  # both number the rows: they are one study


def test_few_matches_where_another_way_gives_most_is_a_warning_with_the_way():
    # two symbols happen to be among the Ensembl names
    adata = data([*ENSEMBL[:-2], *HUMAN[-2:]], gene_symbols=HUMAN)
    with pytest.warns(DataWarning, match=r"(?s)Only 2 of 24 ids matched; 24 ids match.*on='gene_symbols'\)"):
        gb.tl.add_de(adata, table(HUMAN))
    assert adata.uns["limma"]["n_matched"] == 2
    # a chromosome is no id, though all its values are known on both sides
    chromosomes = ["chr1", "chr2"] * 12
    with pytest.raises(TableError) as refusal:
        gb.tl.add_de(data(ENSEMBL, chr=chromosomes), table(HUMAN, chr=chromosomes))
    assert "'chr'" not in str(refusal.value)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda a, de: gb.tl.add_de(a, de, feature="symbl"), ColumnNotFoundError, "Did you mean 'symbol'"),
        (lambda a, de: gb.tl.add_de(a, de, feature="logFC"), ColumnNotFoundError, "no column 'logFC' of ids"),
        (lambda a, de: gb.tl.add_de(a, de, on="gene_symbol"), ColumnNotFoundError, "Did you mean 'gene_symbols'"),
        (lambda a, de: gb.tl.add_de(a, de, on="blank"), TableError, "nothing"),
        (lambda a, de: gb.tl.add_de(a, de, feature="blank"), TableError, "only missing values"),
        (lambda a, de: gb.tl.add_de(a, de.frame), InputError, "gb.read.toptable"),
        (lambda a, de: gb.tl.add_de(a, {}), InputError, "DETable"),
        (lambda a, de: gb.tl.add_de(a[:, :3], de), ViewError, "copy"),
        (lambda a, de: gb.tl.add_de(a, de, key_added="a/b"), StorageError, "key_added"),
        (lambda a, de: gb.tl.add_de(a, de, key_added="pca"), StorageError, "not made"),
        (lambda a, de: gb.tl.add_de(a, de, rank_genes_groups="a/b"), StorageError, "a/b"),
        (lambda a, de: gb.tl.add_de(a, de, rank_genes_groups="limma"), InputError, "give another"),
        (lambda a, de: gb.tl.add_de(a, de, rank_genes_groups="pca"), StorageError, "something else"),
        (
            lambda a, de: gb.tl.add_de(a, de, rank_genes_groups=""),
            StorageError,
            "rank_genes_groups must be a non-empty string",
        ),
        (
            lambda a, de: gb.tl.add_de(a, de, rank_genes_groups=3),
            InputError,
            "rank_genes_groups must be True, False or a name",
        ),
        (lambda a, de: gb.tl.add_de(a, {}), InputError, "an empty dict"),
        (
            lambda a, de: gb.tl.add_de(a, gb.DETable(de.frame, kind="F"), rank_genes_groups=True),
            InputError,
            "joint test",
        ),
        (
            lambda a, de: gb.tl.add_de(a, gb.DETable(de.frame, source={"bad": pd.DataFrame({"a/b": [1]})})),
            StorageError,
            "a/b",
        ),
    ],
)
def test_a_call_that_fails_leaves_the_object_as_it_was(call, error, says):
    adata = data(HUMAN, gene_symbols=ENSEMBL, blank=[None] * 24)
    adata.uns["pca"] = {"params": {"zero_center": True}}
    de = table(HUMAN, symbol=ENSEMBL, blank="")
    gb.tl.add_de(adata, de, key_added="earlier", rank_genes_groups="ranked")
    before = state(adata)
    with pytest.raises(error) as refusal:
        call(adata, de)
    assert says in str(refusal.value)
    assert state(adata) == before
