"""Tables for papers: Markdown, LaTeX, and display names."""

import re
from pathlib import Path

from normexp.report.figures import draw
from normexp.report.names import read_names
from normexp.report.read import read
from tests.report.runs import make_run, make_sweep, said, write_metrics

NORMS = {("none", 0.1): [0.5, 0.7], ("bn", 0.1): [0.9, 0.8], ("bn", 1e-5): [0.6, None]}


def test_markdown(capsys):
    make_sweep(Path("runs"), NORMS)
    code, out, err = said(capsys, "runs", "--markdown", "--bold", "--sort", "norm")
    assert (code, err) == (0, "")
    expected = """\
Test accuracy (%) on digits: mean ± standard deviation over n runs.

| norm |    lr | test accuracy (%) |   n |                 |
| ---- | ----: | ----------------: | --: | --------------- |
| none |   0.1 |     60.00 ± 14.14 |   2 |                 |
| bn   | 1e-05 |             60.00 |   1 | 1 of 2 diverged |
| bn   |   0.1 |  **85.00 ± 7.07** |   2 |                 |
"""
    assert out == expected


def test_latex(capsys):
    make_sweep(Path("runs"), NORMS)
    code, out, err = said(capsys, "--latex", "runs", "--bold", "--sort", "norm", "--names")
    assert (code, err) == (0, "")
    expected = r"""% normexp report --latex runs --bold --sort norm --names
% \usepackage{booktabs}

\begin{table}
\centering
\caption{Test accuracy (\%) on digits: mean $\pm$ standard deviation over n runs.}
\begin{tabular}{lrrrl}
\toprule
norm & lr & test accuracy (\%) & n &  \\
\midrule
none & $0.1$ & $60.00 \pm 14.14$ & $2$ &  \\
BN & $10^{-5}$ & $60.00$ & $1$ & 1 of 2 diverged \\
BN & $0.1$ & $\mathbf{85.00 \pm 7.07}$ & $2$ &  \\
\bottomrule
\end{tabular}
\end{table}
"""
    assert out == expected


def test_the_note_says_what_is_averaged_over(capsys):
    make_sweep(Path("runs"), NORMS)
    _, out, _ = said(capsys, "runs", "--markdown", "--group-by", "norm")
    assert out.startswith("Test accuracy (%) on digits: mean ± standard deviation over n runs, which differ in lr.\n")


def test_special_characters_are_escaped(capsys):
    make_run(Path("runs"), name="a", activation=r"a_b & 50% \x{} $#~^<|*")
    make_run(Path("runs"), name="b", activation="relu")
    _, out, _ = said(capsys, "runs", "--latex", "table.tex")
    assert out == "table        table.tex\n"
    text = Path("table.tex").read_text()
    assert r"a\_b \& 50\% \textbackslash{}x\{\} \$\#\textasciitilde{}\textasciicircum{}\textless{}\textbar{}*" in text
    _, out, _ = said(capsys, "runs", "--markdown", "-")
    assert r"a_b & 50% \\x{} $#~^\<\|\*" in out
    assert len({len(re.sub(r"\\\|", "x", line).split("|")) for line in out.splitlines()[2:]}) == 1


def test_one_table_per_data_set_and_the_lowest_loss_is_best(capsys):
    for data in ("digits", "mnist"):
        for norm, loss in (("none", 0.5), ("bn", 0.25)):
            make_run(Path("runs", data), norm=norm, data=data, metrics={"val/loss": loss})
    _, out, _ = said(capsys, "runs", "--markdown", "--bold", "--metric", "val/loss")
    assert out.count("| val loss |") == 2
    assert out.index("Validation loss on digits: one run each.") < out.index("Validation loss on mnist: one run each.")
    assert re.findall(r"\*\*(0.\d+)\*\*", out) == ["0.25", "0.25"]


def test_data_sets_have_names_and_equal_counts_are_in_the_caption(capsys):
    for seed, steps in enumerate((40, 44, 49)):
        metrics = {"convergence/steps_to_90": steps, "test/accuracy": 0.9}
        make_run(Path("runs"), seed=seed, data="fashion_mnist", metrics=metrics)
        make_run(Path("runs/mnist"), seed=seed, data="mnist", metrics=metrics)
    words = ["--metric", "convergence/steps_to_90", "--names"]
    _, out, _ = said(capsys, "runs", "--latex", *words)
    over = r"mean $\pm$ standard deviation over 3 runs."
    assert rf"\caption{{Steps to 90 \% validation accuracy on Fashion-MNIST: {over}}}" in out
    assert r"fashion\_mnist" not in out and "$44.3 \\pm 4.5$ \\\\\n" in out
    _, out, _ = said(capsys, "runs", "--markdown", "--columns", "data", *words)
    assert re.search(r"\| Fashion-MNIST \| +MNIST \|", out)


def cells(latex):
    """The rows of each table between the rules, as numbers where they are numbers."""
    for block in re.findall(r"\\midrule\n(.*?)\\bottomrule", latex, re.DOTALL):
        rows = [line.removesuffix(r" \\").split(" & ") for line in block.splitlines()]
        yield {row[0]: [re.sub(r"[$\\{}]|mathbf", "", cell).split(" pm ") for cell in row[1:]] for row in rows}


def test_columns_of_a_table(capsys):
    for data, shift in (("digits", 0.0), ("mnist", 0.05)):
        for norm, accuracies in {"none": [0.5, 0.7], "bn": [0.9, 0.8, None]}.items():
            for seed, accuracy in enumerate(accuracies):
                state = "completed" if accuracy else "diverged"
                shifted = accuracy and accuracy + shift
                make_run(Path("runs", data), norm=norm, data=data, seed=seed, accuracy=shifted, state=state)
    make_run(Path("runs"), norm="ln", data="mnist", state="diverged", accuracy=None)
    _, out, _ = said(capsys, "runs", "--latex", "--columns", "data", "--bold")
    assert out.count(r"\begin{table}") == 1
    caption = r"Test accuracy (\%): mean $\pm$ standard deviation over 2 runs. *: over the completed runs only."
    assert rf"\caption{{{caption}}}" in out
    assert "& \\multicolumn{2}{c}{test accuracy (\\%)} \\\\\n\\cmidrule(lr){2-3}\nnorm & digits & mnist \\\\" in out
    none, bn = [["60.00", "14.14"], ["65.00", "14.14"]], [["85.00", "7.07*"], ["90.00", "7.07*"]]
    assert list(cells(out)) == [{"none": none, "bn": bn, "ln": [["--"], ["diverged"]]}]
    assert out.count(r"$\mathbf{85.00 \pm 7.07}$* & $\mathbf{90.00 \pm 7.07}$*") == 1
    _, out, _ = said(capsys, "runs", "--markdown", "--columns", "norm", "--names", "norm=ln:LN")
    assert out.count("Test accuracy (%) on ") == 2
    assert re.findall(r"\| model \|.*", out)[0].split() == ["|", "model", "|", "none", "|", "BN", "|"]


def test_names_of_keys_values_and_metrics(capsys):
    make_sweep(Path("runs"), NORMS)
    inline = "norm=none:no norm, really,lr=1e-1:large,lr:learning rate,test/accuracy:Acc."
    _, out, _ = said(capsys, "runs", "--markdown", "--names", inline)
    assert "\n| norm            | learning rate |" in out
    assert out.startswith("Acc. (%) on digits: mean ±") and out.count("Acc. (%)") == 2
    assert re.search(r"\| BN +\| +large \|", out)
    assert "| no norm, really |" in out
    Path("names.yaml").write_text("norm: {bn: Batch norm, other: x}\nlr: learning rate\nbatch_size: batch\n")
    _, out, _ = said(capsys, "runs", "--markdown", "--names", "names.yaml")
    assert "| Batch norm |" in out
    assert "| none " in out
    assert "| learning rate |" in out


def test_names_in_figures(tmp_path):
    for norm in ("none", "bn"):
        for lr in (0.1, 1.0):
            directory = make_run(Path("runs"), norm=norm, lr=lr)
            write_metrics(directory, [{"step": step, "val/accuracy": 0.5} for step in (1, 2)])
    collection = read([Path("runs")])
    names = read_names("norm=none:no norm,lr:learning rate,test/accuracy:Acc.", collection.runs)
    draw.write_figures(tmp_path, collection, metric="test/accuracy", by=None, display=names)
    shown = {
        "curve-val-accuracy": ["learning rate=0.1"],
        "test-accuracy-by-lr": ["learning rate", "Acc. (%)"],
        "test-accuracy-heat-map": ["learning rate"],
    }
    for name, texts in shown.items():
        svg = (tmp_path / f"{name}.svg").read_text()
        assert all(f">{text}<" in svg for text in ("BN", "no norm", *texts))
    assert (tmp_path / "curve-val-accuracy.csv").read_text().startswith("norm,lr,seed,")
