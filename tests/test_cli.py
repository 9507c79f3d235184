"""The command line as a newcomer meets it: help, menus, a run by hand, and errors of one line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from esgrad import __version__, cli, menu


def said(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"esgrad {__version__}\n"


def test_help_names_every_command_with_a_sentence(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    for command in ("list", "train", "deps"):
        assert re.search(rf"^    {command} +\w.*", shown, re.MULTILINE), command


def test_every_option_of_train_has_help_and_a_default(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "--method" in shown
    assert "(default: lecture)" in " ".join(shown.split())


@pytest.mark.parametrize("each", menu.menus())
def test_list_shows_every_file_of_a_menu_with_its_first_line(capsys, each):
    code, out, _ = said(capsys, "list", each)
    assert code == 0
    for name in menu.names(each):
        (line,) = re.findall(rf"^  {name} +(\S.*)$", out, re.MULTILINE)
        assert len(line) > 20, f"{each}/{name}.py opens without a sentence on what it is"


def test_list_as_json_is_the_menus(capsys):
    code, out, _ = said(capsys, "list", "--json")
    assert code == 0
    assert json.loads(out) == {each: menu.names(each) for each in menu.menus()}


def test_a_run_by_hand_prints_its_accuracy_as_it_learns(capsys):
    code, out, _ = said(capsys, "train", "--method", "maxrl", "--max-steps", "40", "--device", "cpu")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) > 5
    accuracies = [float(re.search(r"validation accuracy ([\d.]+)", line)[1]) for line in lines]
    assert accuracies[-1] > accuracies[0] + 0.2, "it learns"
    assert "test accuracy" in lines[-1]
    assert not any("test accuracy" in line for line in lines[:-1])


METHODS = list(yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))["methods"])


@pytest.mark.parametrize(("box", "dataset"), [("cross_entropy", "digits"), ("digit_sum", "digit_strings-2")])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_another_black_box_or_says_of_itself_why_not(capsys, method, box, dataset):
    options = ("--num-samples", "4", "--batch-size", "8", "--max-steps", "1", "--device", "cpu")
    code, out, err = said(capsys, "train", "--method", method, "--blackbox", box, "--dataset", dataset, *options)
    if code == 0:
        assert "test accuracy" in out.splitlines()[-1]
        return
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "methods." not in err, "it is about another method"


def test_t_at_the_parameters_is_a_candidate_unless_it_is_named(capsys):
    options = ("train", "--method", "openai_es", "--max-steps", "2", "--device", "cpu", "--json")
    for named, t in (((), 0.01), (("--noise-variance", "0.5"), 0.5)):
        code, out, _ = said(capsys, *options, *named)
        rows = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert {row["noise_variance"] for row in rows} == {t}
        assert {row["status"] for row in rows} == {"ok"}


def test_a_rule_that_counts_hits_says_so_of_a_black_box_of_real_numbers(capsys):
    code, _, err = said(capsys, "train", "--method", "maxrl_hit_rate", "--blackbox", "cross_entropy")
    assert code == 2
    assert "hit" in err


def test_a_run_as_json_has_the_columns_of_a_record(capsys):
    from esgrad.suite import records

    code, out, _ = said(capsys, "train", "--method", "backprop", "--max-steps", "3", "--json", "--device", "cpu")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[-1]["step"] == 3
    assert all(set(row) == set(records.COLUMNS) for row in rows)


WRONG = {
    "method": (["train", "--method", "lectrue"], "'lectrue'.*Did you mean 'lecture'"),
    "data set": (["train", "--dataset", "digit"], "'digit'.*Did you mean 'digits'"),
    "N": (["train", "--num-samples", "0"], "num_samples.*0"),
    "t": (["train", "--noise-variance", "nan"], "noise_variance.*nan"),
    "negative t": (["train", "--noise-variance=-1"], "noise_variance.*-1"),
    "K": (["train", "--logit-dim", "3"], "logit_dim: 3"),
    "seed": (["train", "--seed=-1"], "-1"),
    "learning rate": (["train", "--learning-rate", "0"], "learning_rate.*0"),
    "a cell that is skipped": (["train", "--method", "maxrl", "--num-samples", "1"], "identically 0"),
    "menu": (["list", "shaping"], "'shaping'.*Did you mean 'shapings'"),
    "job": (["deps", "nothing"], "unknown job 'nothing'"),
    "infinite learning rate": (["train", "--learning-rate", "inf"], "learning_rate.*inf"),
    "no job at all": (["job", "[]", "--data", "x", "--out", "y"], "not a job in JSON"),
    "no quality": (["quality", "{}", "--out", "x"], "'{}' is no section gradient_quality"),
    "no samples": (
        ["samples", '{"checkpoints": null}', "--out", "x"],
        "is no section samples_needed.*missing a required",
    ),
    "no timings": (["timings", "nowhere"], "nowhere/runs holds no timing.parquet"),
    "job in JSON": (["job", "{}", "--data", "x", "--out", "y"], "not a job in JSON"),
    "no suite": (["tables", "nowhere"], "nowhere/suite.json"),
    "no number": (["train", "--num-samples", "ten"], "--num-samples: expected a whole number, not 'ten': 10 would do"),
    "a seed that is no whole number": (["train", "--seed", "1.5"], "--seed: .* not '1.5': 1 would do"),
    "command": (["trian"], "COMMAND: invalid choice: 'trian'.*esgrad --help"),
    "no command": ([], "COMMAND.*esgrad --help"),
    "device": (["train", "--device", "gpu"], "--device: invalid choice: 'gpu'.*cpu.*esgrad train --help"),
    "no folder": (["tables"], "required: folder.*esgrad tables --help"),
}


@pytest.mark.parametrize(("arguments", "pattern"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_answered_in_one_line_with_exit_code_2(capsys, arguments, pattern):
    code, _, err = said(capsys, *arguments)
    assert code == 2
    assert re.search(pattern, err), err
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in err


def test_a_folder_without_write_permission_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = said(capsys, "decode", "digits", "--out", str(tmp_path / "file" / "digits.safetensors"))
    assert code == 2
    assert str(tmp_path / "file") in err
    assert len(err.strip().splitlines()) == 1


def test_a_job_that_fails_is_answered_in_one_line_with_exit_code_2(capsys, monkeypatch):
    from esgrad.suite import config, worker

    def fails(*_):
        raise RuntimeError("headline/digits: N = 2 (MemoryError: planted); the other cells are kept for the next run")

    monkeypatch.setattr(worker, "run", fails)
    job = config.jobs(config.read("config/smoke.yaml"))[0]
    code, _, err = said(capsys, "job", job.json(), "--data", "x", "--out", "y")
    assert code == 2
    assert re.fullmatch(r"esgrad: error: headline/digits: N = 2 \(MemoryError: planted\).*\n", err), err


def test_help_is_there_before_torch():
    program = "import sys; from esgrad.cli import build_parser; build_parser(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_run_by_hand_that_diverges_says_so(capsys):
    code, out, _ = said(
        capsys, "train", "--method", "backprop", "--learning-rate", "1e30", "--max-steps", "3", "--device", "cpu"
    )
    assert code == 0
    assert "diverged: logits or parameters are no longer finite" in out.splitlines()[-1]
