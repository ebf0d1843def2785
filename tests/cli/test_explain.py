"""The command line of `bp explain`: what it refuses, how, and what it says before long work."""

from pathlib import Path

import pytest

from bp_pipeline.cli import explain, main


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["bp", "explain", *arguments])
    return main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--sample 9", "`--sample` must be a row of the xor table, 0 to 3, got 9."),
        ("--sample -1", "`--sample` must be a row of the xor table, 0 to 3, got -1."),
        ("--epoch -1", "`--epoch` must be a number of epochs, 0 to 9007199254740991, got -1."),
        ("--epoch 9007199254740992", "`--epoch` must be a number of epochs, 0 to "),
        ("--config-dir no/such", "`--config-dir` must be a folder, got 'no/such'. Name one that "),
        ("--epoch x", "`--epoch` must be a whole number, got 'x'. Try `--epoch 0`."),
        ("--replicate 1000", "`--replicate` must be one of the run's `replicates`, 0 to 99"),
        ("--format pdf", "`--format` must be one of its options, got 'pdf'. There are: terminal, "),
        ("--formt md", "`bp explain` cannot be asked so: unrecognized arguments: --formt"),
        ("--sample", "`bp explain` cannot be asked so: argument --sample: expected one argument."),
        ("activation=tahn", "`activation` must be one of its options, got 'tahn'. Did you mean"),
        ("tanh", "`tanh` is not an override."),
        ("optimizer.learning_rate=-1", "`optimizer.learning_rate` must be > 0, got -1."),
        ("-m seed=1,2", "`bp explain` must be asked for one run, got a sweep of 2 (seed)."),
        ("experiment=xor_sweep init=ones", "`bp explain` must be asked for one run, got a"),
        ("--out no/such/folder.html", "`--out` must be a file that can be written"),
        ("--out step.pdf", "`--out` must end in .txt, .md, .html or .json, got 'step.pdf'."),
        (
            "training.stop_when_converged=true optimizer.learning_rate=3 --epoch 1999",
            "`--epoch` must be < ",
        ),
    ],
)  # fmt: skip
def test_a_wrong_request_is_one_message_and_code_2(
    arguments: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments.split(), monkeypatch) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message)
    assert len(printed.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_one_job_can_be_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = "experiment=xor_sweep activation=relu init=ones optimizer.learning_rate=1"
    assert run(one.split(), monkeypatch) == 0
    assert "relu · ones · lr=1" in capsys.readouterr().out


def test_out_writes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "step.md"
    assert run(["--format", "md", "init=ones", "--out", str(out)], monkeypatch) == 0
    assert out.read_text(encoding="utf-8").startswith("# One training step: sample 0")


@pytest.mark.parametrize(
    ("words", "name", "start"),
    [
        ("", "step.md", "# One"),
        ("", "step.html", "<!doctype html>"),
        ("", "step.HTM", "<!doctype html>"),
        ("", "step.json", "{"),
        ("", "step.txt", "One training step"),
        ("", "step", "One training step"),
        ("--format md", "step.html", "# One"),
    ],
)
def test_a_file_has_the_format_that_its_name_says_unless_one_is_given(
    words: str, name: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run([*words.split(), "--out", str(tmp_path / name)], monkeypatch) == 0
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith(start.lower())


def test_many_epochs_are_announced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["--epoch", "1234"], monkeypatch) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    monkeypatch.setattr(explain, "_MANY_EPOCHS", 1000)
    assert run(["--epoch", "1234"], monkeypatch) == 0
    announced = capsys.readouterr()
    assert announced.out == quiet.out
    [line] = announced.err.splitlines()
    assert "1,234 epochs" in line


def test_on_a_terminal_they_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_MANY_EPOCHS", 1000)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(["--epoch", "1234"], monkeypatch) == 0
    _, _, counted = capsys.readouterr().err.partition("\n")
    assert "epochs" in counted


def test_help_has_the_names_of_wider_and_deeper_networks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["--help"], monkeypatch) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("W10", "V01", "w[2][0, 1]", "Z[2][1]"))
