"""Numbers as a reader wants them, the methods paragraph, the glossary."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..bridge.keys import unescape

METRICS = {
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "mcc": "MCC",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "brier": "Brier",
    "log_loss": "Log loss",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "mse": "MSE",
    "spearman": "Spearman",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
}
MODELS = {
    "linear": "linear regression",
    "ridge": "ridge regression",
    "lasso": "LASSO",
    "elastic_net": "elastic net",
    "logistic": "logistic regression",
    "decision_tree": "decision tree",
    "random_forest": "random forest",
    "gradient_boosting": "gradient boosting",
    "svm": "support vector machine",
    "knn": "nearest neighbours",
    "xgboost": "XGBoost",
    "mlp": "neural network",
    "consensus": "consensus of the models",
}


# -- numbers -----------------------------------------------------------------------------------------------------------


def missing(value: Any) -> bool:
    """None, NaN or text without content."""
    if value is None or value is pd.NA:
        return True
    return not np.isfinite(value) if isinstance(value, float | np.floating) else value == ""


def fixed(value: Any, digits: int = 2) -> str:
    """``-1.234`` -> ``−1.23``; a dash where there is nothing."""
    if missing(value):
        return "–"
    text = f"{float(value):.{digits}f}"
    return text.replace("-", "−") if float(text) != 0 else text.lstrip("-")


def significant(value: Any, digits: int = 3) -> str:
    """Three significant digits: ``0.0123``, ``12.3``, ``1,230``."""
    if missing(value):
        return "–"
    number = float(value)
    if number == 0:
        return "0"
    if abs(number) >= 10**6 or abs(number) < 1e-4:
        return f"{'−' if number < 0 else ''}{abs(number):.{digits - 1}e}"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(number)))))
    return f"{number:,.{places}f}".replace("-", "−")


def p_value(value: Any) -> str:
    """``3.2e-08``; ``0.0052``; ``0.012``; below what can be stored: ``< 1e-300``."""
    if missing(value):
        return "–"
    p = float(value)
    if p < 1e-300:
        return "< 1e-300"
    return f"{p:.1e}" if p < 0.001 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def percent(value: Any, digits: int = 0) -> str:
    """``0.042`` -> ``4.2 %``."""
    return "–" if missing(value) else f"{100 * float(value):.{digits}f} %"


def raw(value: Any) -> str:
    """A number for sorting and for the CSV: ten digits, nothing where it is missing."""
    if missing(value):
        return ""
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return str(int(value))
    return f"{float(value):.10g}"


def interval(row: Mapping[str, Any], digits: int = 2) -> str:
    """``0.88 to 0.97``."""
    if missing(row["low"]) or missing(row["high"]):
        return "–"
    return f"{fixed(row['low'], digits)} to {fixed(row['high'], digits)}"


def count(n: int, noun: str, plural: str = "") -> str:
    """``1 gene``, ``3,051 genes``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def visible(text: str) -> str:
    """A text as it is shown: control characters and marks that turn the direction of text are written out."""
    if text.isprintable():
        return text
    return "".join(f"[U+{ord(c):04X}]" if _unseen(c) else c for c in text)


def _unseen(c: str) -> bool:
    return c not in "\t\n\r" and (
        c < " " or "\x7f" <= c < "\xa0" or unicodedata.category(c) in ("Cf", "Cs", "Cn") or c in "\u2028\u2029"
    )


def side(output: str, way: float, toward: tuple[str, str] | None, neither: str = "–") -> str:
    """What more expression makes the models predict: one of two sides (``toward``), or for or against one class of several."""
    if way == 0:
        return neither
    return toward[int(way > 0)] if toward is not None else output if way > 0 else f"against {output}"


def shortened(name: Any, width: int = 40) -> str:
    """A name for a sentence, cut in its middle where it is very long."""
    text = " ".join(str(name).split())
    return text if len(text) <= width else f"{text[: width * 3 // 5]}…{text[len(text) - width * 2 // 5 + 1 :]}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def model(name: str) -> str:
    """A model in words."""
    return MODELS.get(name, name)


def weights(asked: Any) -> str:
    """Class weights in words, from the form in which they are stored."""
    if isinstance(asked, Mapping):
        return ", ".join(f"{unescape(name)}: {float(weight):g}" for name, weight in asked.items())
    return "each class counts the same" if str(asked) == "balanced" else str(asked)


def metric(name: str) -> str:
    """A metric in words."""
    return METRICS.get(name, name.replace("_", " "))


# -- glossary ----------------------------------------------------------------------------------------------------------

GLOSSARY = (
    ("logFC", "Log fold change: how much higher (positive) or lower (negative) a gene is in one group, on the log scale of "
     "the data. With log2 data, 1 means twice as much."),
    ("P.Value, adj.P.Val", "The chance of seeing a difference at least this large if the gene did not differ. adj.P.Val corrects for "
     "having looked at many genes: among genes with adj.P.Val up to 0.05, about 5 % are expected to be false finds."),
    ("Held-out samples", "Samples that were set aside while a model was made, and predicted afterwards. Every score in this report "
     "comes from such samples."),
    ("Fold, repeat", "The samples are divided into parts (folds); each part is held out once while the others train the model. A repeat "
     "does this again with another division."),
    ("Screen", "The choice of a limited number of genes before a model is trained. It is made anew in each fold, from its training "
     "samples only, so that held-out samples have no say in it."),
    ("Balanced accuracy", "The share of each class that is predicted correctly, averaged over classes. Guessing gives 1 divided by the "
     "number of classes, however unequal the classes are."),
    ("ROC AUC", "The chance that a sample of the positive class gets a higher score than one of the other class. Guessing gives 0.5, "
     "perfection 1."),
    ("MCC", "Matthews correlation coefficient: agreement of predicted and true class, 0 for guessing, 1 for perfection."),
    ("R²", "The share of the variation of the target that is predicted. 0 is what predicting the mean would give; below 0 is worse."),
    ("95 % interval", "The range in which the true score of such models lies, in about 95 of 100 studies like this one. With few samples "
     "it is wide. It never says that a score of 1 is certain."),
    ("Permuted targets (null)", "The labels are shuffled among the samples and everything is done again. What is found then is found "
     "in nothing: a real finding has to be clearly better."),
    ("Best of all, corrected", "The best of several models looks better than it is, because it was picked for its score. This row "
     "removes that advantage; it is the number to quote."),
    ("SHAP", "How far a gene moved the prediction for a sample away from the average prediction, and in which direction. Mean |SHAP| is "
     "the average size of that movement over samples: large for genes that the models rely on."),
    ("Selection frequency", "The share of folds in which the screen chose the gene. A gene that is chosen everywhere does not "
     "depend on a few particular samples."),
    ("Rank interval", "Where the gene's place in the ranking may lie: 95 % of the rankings that other samples of the same kind would "
     "give. A wide one means that its exact place says little."),
    ("q by chance (empirical q)", "Among the genes up to this one, the share that is to be expected by chance, judged by how far genes "
     "stand out when the labels are shuffled. It asks whether a gene goes with the target, not whether the models need it."),
    ("Knockoffs", "For each gene an imitation is made that goes with the other genes as the real one does and knows nothing of the target. "
     "A gene counts if it beats its imitation by far; this keeps the share of false finds among those called at the level stated."),
    ("Stand-ins, group", "Genes that carry the same information, being correlated within the classes. Which of them a model names is "
     "partly an accident of the samples."),
    ("Test set", "Samples that were held out of everything, the cross-validation included, and predicted once. A random test set of a "
     "small study is itself a matter of chance; cross-validation, in which every sample is held out in turn, says more."),
    ("Calibration", "Whether probabilities come true: of the samples given 0.8, about 80 % should be of the class. A slope below 1 means "
     "probabilities too close to 0 and 1, above 1 too cautious ones; an intercept of 0 means that they are right on the whole."),
    ("Covariates only", "What the covariates (age, sex, batch) predict without a gene. Genes are worth what they add to that."),
    ("Epoch", "One pass of a network over its training samples. The loss should fall; when the validation loss rises again, the network "
     "has begun to learn its training samples by heart."),
    ("Nogueira's index", "How alike the genes chosen in different folds are: 1 for always the same, 0 for no more than chance."),
    ("DE and used", "The gene differs between the groups (adj.P.Val), and the models rely on it in samples they did not see."),
    ("DE, redundant", "The gene differs, but the models do without it or nearly: the gene that it stands behind goes with it and does "
     "its work. Another study, or another platform, may name this one instead."),
    ("DE, unused", "The gene differs, but the models did not need it, often because a gene that goes with it did the work."),
    ("DE, use unknown", "The gene differs; there is no model evidence here, so that nothing is said of its use."),
    ("Used, not DE", "The models rely on the gene although it does not differ by itself: an interplay, a correction for another gene, or "
     "chance."),
    ("Used, DE unknown", "The models rely on the gene; the DE table has no row, or no adjusted p-value, for it."),
    ("Unstable", "The models rely on the gene where it was chosen, but it was chosen in few folds: other samples might not show it."),
    ("Opposite signs (conflict)", "By itself the gene is higher in one group, in the models it speaks for the other. Look at it closely "
     "before building on it."),
)  # fmt: skip

REFERENCES = {
    "limma": "Ritchie ME et al. (2015) limma powers differential expression analyses for RNA-sequencing and microarray studies. "
    "Nucleic Acids Research 43:e47.",
    "ebayes": "Smyth GK (2004) Linear models and empirical Bayes methods for assessing differential expression in microarray "
    "experiments. Statistical Applications in Genetics and Molecular Biology 3:3.",
    "bh": "Benjamini Y, Hochberg Y (1995) Controlling the false discovery rate. Journal of the Royal Statistical Society B 57:289-300.",
    "sklearn": "Pedregosa F et al. (2011) Scikit-learn: machine learning in Python. Journal of Machine Learning Research 12:2825-2830.",
    "random_forest": "Breiman L (2001) Random forests. Machine Learning 45:5-32.",
    "xgboost": "Chen T, Guestrin C (2016) XGBoost: a scalable tree boosting system. KDD 2016:785-794.",
    "rubin": "Rubin DB (1981) The Bayesian bootstrap. Annals of Statistics 9:130-134.",
    "permutation": "Ojala M, Garriga GC (2010) Permutation tests for studying classifier performance. Journal of Machine Learning "
    "Research 11:1833-1863.",
    "nadeau": "Nadeau C, Bengio Y (2003) Inference for the generalization error. Machine Learning 52:239-281.",
    "holm": "Holm S (1979) A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6:65-70.",
    "shap": "Lundberg SM, Lee S-I (2017) A unified approach to interpreting model predictions. NeurIPS 30:4765-4774.",
    "trees": "Lundberg SM et al. (2020) From local explanations to global understanding with explainable AI for trees. Nature Machine "
    "Intelligence 2:56-67.",
    "nogueira": "Nogueira S, Sechidis K, Brown G (2018) On the stability of feature selection algorithms. Journal of Machine Learning "
    "Research 18(174):1-54.",
    "treat": "McCarthy DJ, Smyth GK (2009) Testing significance relative to a fold-change threshold is a TREAT. Bioinformatics "
    "25:765-771.",
    "voom": "Law CW et al. (2014) voom: precision weights unlock linear model analysis tools for RNA-seq read counts. Genome Biology "
    "15:R29.",
    "quality": "Ritchie ME et al. (2006) Empirical array quality weights in the analysis of microarray data. BMC Bioinformatics 7:261.",
    "tmm": "Robinson MD, Oshlack A (2010) A scaling normalization method for differential expression analysis of RNA-seq data. Genome "
    "Biology 11:R25.",
    "robust": "Phipson B et al. (2016) Robust hyperparameter estimation protects against hypervariable genes and improves power to "
    "detect differential expression. Annals of Applied Statistics 10:946-963.",
    "block": "Smyth GK, Michaud J, Scott HS (2005) Use of within-array replicate spots for assessing differential expression in "
    "microarray experiments. Bioinformatics 21:2067-2075.",
    "lasso": "Tibshirani R (1996) Regression shrinkage and selection via the lasso. Journal of the Royal Statistical Society B "
    "58:267-288.",
    "elastic_net": "Zou H, Hastie T (2005) Regularization and variable selection via the elastic net. Journal of the Royal Statistical "
    "Society B 67:301-320.",
    "ridge": "Hoerl AE, Kennard RW (1970) Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12:55-67.",
    "svm": "Cortes C, Vapnik V (1995) Support-vector networks. Machine Learning 20:273-297.",
    "gradient_boosting": "Friedman JH (2001) Greedy function approximation: a gradient boosting machine. Annals of Statistics "
    "29:1189-1232.",
    "knn": "Cover T, Hart P (1967) Nearest neighbor pattern classification. IEEE Transactions on Information Theory 13:21-27.",
    "sigmoid": "Platt J (1999) Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods. "
    "Advances in Large Margin Classifiers, 61-74.",
    "isotonic": "Zadrozny B, Elkan C (2002) Transforming classifier scores into accurate multiclass probability estimates. KDD "
    "2002:694-699.",
    "winner": "Efron B (2011) Tweedie's formula and selection bias. Journal of the American Statistical Association 106:1602-1614.",
    "sampling": "Strumbelj E, Kononenko I (2014) Explaining prediction models and individual predictions with feature contributions. "
    "Knowledge and Information Systems 41:647-665.",
    "phipson": "Phipson B, Smyth GK (2010) Permutation P-values should never be zero. Statistical Applications in Genetics and Molecular "
    "Biology 9:39.",
    "sam": "Tusher VG, Tibshirani R, Chu G (2001) Significance analysis of microarrays applied to the ionizing "
    "radiation response. PNAS 98:5116-5121.",
    "knockoffs": "Candes E, Fan Y, Janson L, Lv J (2018) Panning for gold: 'model-X' knockoffs for high dimensional controlled variable "
    "selection. Journal of the Royal Statistical Society B 80:551-577.",
    "evalues": "Ren Z, Barber RF (2024) Derandomised knockoffs: leveraging e-values for false discovery rate control. Journal of the Royal "
    "Statistical Society B 86:122-154.",
    "camera": "Wu D, Smyth GK (2012) Camera: a competitive gene set test accounting for inter-gene correlation. Nucleic Acids Research "
    "40:e133.",
    "curve": "Figueroa RL et al. (2012) Predicting sample size required for classification performance. BMC Medical Informatics and "
    "Decision Making 12:8.",
    "wilson": "Wilson EB (1927) Probable inference, the law of succession, and statistical inference. Journal of the American "
    "Statistical Association 22:209-212.",
    "clusters": "Korn EL, Graubard BI (1998) Confidence intervals for proportions with small expected number of positive counts estimated "
    "from survey data. Survey Methodology 24:193-201.",
    "anndata": "Virshup I et al. (2024) anndata: access and store annotated data matrices. Journal of Open Source Software 9:4371.",
    "reforms": "Kapoor S et al. (2024) REFORMS: consensus-based recommendations for machine-learning-based science. Science Advances "
    "10:eadk3452.",
    "tripod": "Collins GS et al. (2024) TRIPOD+AI statement: updated guidance for reporting clinical prediction models that use "
    "regression or machine learning methods. BMJ 385:e078378.",
}  # fmt: skip
