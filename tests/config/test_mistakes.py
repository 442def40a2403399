"""A mistake in a command is one sentence, and all of them come at once."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from commands import only, problems_of

from rlkd_run.config.composition import compose_command
from rlkd_run.config.runconfig import RunConfig
from rlkd_run.errors import ConfigError


def test_all_problems_at_once() -> None:
    found = problems_of("teacher=resnet5", "recipe.epoch=3", "epochs=3", "recipe.lr=-1", "recipe.batch_size=abc", "foo")
    assert found == [
        "'foo' is not an override; write KEY=VALUE or GROUP=CHOICE, e.g. recipe.epochs=10.",
        "teacher=resnet5 is not a choice; did you mean resnet56?",
        "recipe.epoch is not an option; did you mean recipe.epochs?",
        "epochs is not an option; did you mean recipe.epochs?",
        "recipe.batch_size must be a whole number, not 'abc'.",
        "recipe.lr must be greater than 0, not -1.0.",
    ]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["recipe.epochs=0"], "recipe.epochs must be at least 1, not 0."),
        (["recipe.epochs=abc"], "recipe.epochs must be a whole number, not 'abc'."),
        (["recipe.lr=nan"], "recipe.lr must be a finite number, not nan."),
        (["recipe.milestones=3"], "recipe.milestones must be a list, not 3."),
        (["recipe.milestones=[8,4]"], "recipe.milestones must rise, not [8, 4]."),
        (["agent=null"], "agent cannot be left out; valid: official_code, paper"),
        (["agent.log_std_start=-89"], "agent.log_std_start must be at least -20, not -89.0."),
        (["agent.t_min=11"], "agent.t_min=11.0 must not be greater than agent.t_max=10.0."),
        (["agent.reward=loss"], "agent.reward=loss is not a choice; did you mean loss_drop?"),
        (["runtime.device=gpu"], "runtime.device=gpu is not a choice; valid: auto, cpu, cuda"),
        (
            ["method=glob(*kd)"],
            "method=glob(*kd) asks for all that fit a pattern; name them, with commas between them.",
        ),
        (
            ["seed=range(3,0)"],
            "seed=range(3,0) has no value: range(START,STOP,STEP) goes from START on and ends before STOP.",
        ),
        (
            ["seed=range(0,3,0)"],
            "seed=range(0,3,0) has no value: range(START,STOP,STEP) goes from START on and ends before STOP.",
        ),
        (
            ["recipe.lr=range(0,3,0.0)"],
            "recipe.lr=range(0,3,0.0) has no value: range(START,STOP,STEP) goes from START on and ends before STOP.",
        ),
        (["runtime.compile=true"], "runtime.compile must be one of none, teacher, all, not True."),
        (["agent.state=3"], "agent.state must be a group of keys, not 3."),
        (
            ["agent.state.features=[student_margn]"],
            "agent.state.features[0]=student_margn is not a choice; did you mean student_margin?",
        ),
        (["agent.state.features=[]"], "agent.state.features must name at least one feature."),
        (
            ["agent.warmup_epochs=241"],
            "The agent would never set a temperature: agent.warmup_epochs=241 is beyond recipe.epochs=240.",
        ),
        (
            ["agent.train_every=300"],
            "The agent would never be trained: no epoch from 20 (agent.warmup_epochs) to 240 is divisible by ",
        ),
        (["agent.train_every=1000000000", "recipe.epochs=100000000"], "The agent would never be trained: "),
        (["agent.hidden=99999999999999999999"], "agent.hidden must be at most 65536, not 99999999999999999999."),
        (["agent.calibration.hidden=1000000000"], "agent.calibration.hidden must be at most 65536, not 1000000000."),
        (["agent.rollout_steps=1000000000"], "agent.rollout_steps must be at most 1000000, not 1000000000."),
        (["dataset.pad=1000000000"], "dataset.pad must be at most 1024, not 1000000000."),
        (["runtime.num_threads=1000000000"], "runtime.num_threads must be at most 4096, not 1000000000."),
        (["agent.train_every=0"], "agent.train_every must be at least 1, not 0."),
        (["~method.name"], "method.name must be set."),
        (["method.name=[kd]"], "method.name=['kd'] is not registered (--plugin MODULE may be missing); "),
        (
            ["agent=official_code", "agent.rollout_steps=4"],
            "agent.time_axis=instances updates once a batch: agent.rollout_steps must be 1.",
        ),
        (["agent=official_code", "agent.reward=probe"], "agent.reward=probe needs agent.time_axis=steps."),
        (["agent.exploration.high=[0.3,0.2]"], "agent.exploration.high must rise, not [0.3, 0.2]."),
        (["agent.exploration.low=[0.5]"], "agent.exploration.low must have two values, from and to."),
        (["dataset.mean=[0.5]"], "dataset.mean must have three values, one a channel."),
        (["dataset.flip=1"], "dataset.flip must be true or false, not 1."),
        (["dataset.val_split=1"], "dataset.val_split must be less than 1, not 1.0."),
        (["teacher.model=resnet57"], "teacher.model=resnet57 is not in the zoo; did you mean resnet56?"),
        (["student.pretrained=true"], "student.pretrained is for timm models; the zoo publishes no weights."),
        (["teacher=timm"], "teacher.model must be set."),
        (["dataset=folder"], "dataset.root must be set."),
        (["method.name=kdd"], "method.name=kdd is not registered (--plugin MODULE may be missing); did you mean kd?"),
        (["series=../x"], "series=../x leads out of output_root=outputs; a series is a name inside it, e.g. x."),
        (["series=/tmp/x"], "series=/tmp/x leads out of output_root=outputs; a series is a name inside it, e.g. x."),
        (["series=a/../../b"], "series=a/../../b leads out of output_root=outputs; "),
        (["series="], "series is empty: it names a folder below output_root."),
        (["output_root="], "output_root is empty: it names a folder for run folders and trained teachers."),
        (["dataset.root="], "dataset.root is empty: it names the folder of the images."),
        (["dataset=folder", "dataset.root=' '"], "dataset.root is empty: it names the folder of the images."),
        (["recipe.nesterov=true", "recipe.momentum=0"], "recipe.nesterov needs recipe.momentum > 0."),
        (["temperature.value=4"], "temperature.value is an option of temperature=fixed, not of temperature=rlkd."),
        (["method=dkd", "method.kl_weight=1"], "method.kl_weight is an option of method=at, cc, crd, "),
        (["method=dkd_mdistiller", "method.tau=1"], "method.tau is an option of method=dtkd, not of method=dkd_md"),
        (["temperature.valu=4"], "temperature.valu is not an option; did you mean temperature.name?"),
        (["+agent.foo=1"], "agent.foo is not an option; "),
        (["run=here"], "run=here is for task=evaluate and task=export, not task=distill."),
        (["task=export", "run=here"], "run=here is not the folder of a finished run: it has no result.json."),
        (["seed=-1"], "seed must be at least 0, not -1."),
        (["hydra.foo=1"], "The configuration does not compose: "),
        (["hydra/help=null"], "The configuration does not compose: "),
        (["method=KD"], "method=KD is not a choice; did you mean kd?"),
        (["method=kdd"], "method=kdd is not a choice (--config-dir FOLDER may be missing); did you mean kd?"),
        (["seed=[0,1]"], "seed must be a whole number, not [0, 1]; seed=0,1 is a sweep."),
        (["seed=0..2"], "seed must be a whole number, not '0..2'; 'seed=range(0,3)' is a sweep, and so is seed=0,2."),
        (["recipe.milestones=[[1,2]]"], "recipe.milestones[0] must be a whole number, not [1, 2]."),
        (["agent.hidden=[]"], "agent.hidden must be a whole number, not []."),
        (["recipe.epochs=1e2"], "recipe.epochs must be a whole number, not 100.0; write 100."),
        (["=3"], "'=3' is not an override; write KEY=VALUE or GROUP=CHOICE, e.g. recipe.epochs=10."),
        (["~recipe.lr"], "recipe.lr must be set."),
    ],
)
def test_each_mistake_is_one_sentence(overrides: list[str], sentence: str) -> None:
    (found,) = problems_of(*overrides)
    assert found.startswith(sentence)
    assert "\n" not in found


@pytest.mark.parametrize(
    "value", ["/x=1", "/it's", "/x (1)", "/x[1]", "/x#1", '/a"b', "/é", "/a\\\\b&", "~/x", "~/a,b"]
)
def test_a_value_that_needs_quotes_is_said_once_and_how_to_type_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (found,) = problems_of("dataset=folder", f"dataset.root={value}")
    assert found.startswith(f"'dataset.root={value}' is not an override, as ")
    (word,) = shlex.split(found.partition("; write ")[2])  # as a shell would hand it over
    assert only("dataset=folder", word).dataset.root == value.replace("~", "/home/me")


def test_a_path_with_a_comma_is_no_sweep() -> None:
    Path("a/b,c").mkdir(parents=True)
    (found,) = problems_of("dataset=folder", "dataset.root=a/b,c")
    assert found.endswith("""; write 'dataset.root="a/b,c"'""")
    assert [run.dataset.root for run in compose_command(["dataset=folder", "dataset.root=a/b,a/c"]).runs] == [
        "a/b",
        "a/c",
    ]


@pytest.mark.parametrize("word", ["recipe.milestones=[1,2", "seed=range(0"])
def test_a_list_that_does_not_end_is_no_text(word: str) -> None:
    assert problems_of(word) == [
        f"'{word}' is not an override; write KEY=VALUE or GROUP=CHOICE, e.g. recipe.epochs=10."
    ]


def test_who_has_named_a_folder_is_not_asked_for_it() -> None:
    Path("conf/method").mkdir(parents=True)
    Path("conf/method/mine.yaml").write_text("name: mine")
    assert problems_of("method=mien", config_dirs=["conf"]) == ["method=mien is not a choice; did you mean mine?"]
    (found,) = problems_of("method=mine", config_dirs=["conf"])
    assert found.startswith("method.name=mine is not registered (--plugin ")


def test_a_folder_that_has_been_removed_is_no_place_to_start_in(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    assert problems_of() == ["The folder that this command was started in has been removed."]


def test_a_series_may_be_nested() -> None:
    assert only("series=a/b").top.series == "a/b"


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_tasks_on_a_run_refuse_what_they_would_not_read(task: str) -> None:
    Path("result.json").write_text("{}")
    here = (f"task={task}", "run=.")
    assert only(*here, "dataset.root=x", "runtime.device=cpu", "runtime=default", "task.onnx=true").top.run == "."
    assert problems_of(*here, "dataset=cifar10", "seed=3", "runtime.num_threads=1") == [
        f"task={task} reads run, task, runtime and dataset.root, and has all else from the run's record: leave out "
        "dataset=cifar10, seed=3."
    ]


def test_a_stored_run_names_the_plugin_that_it_needs() -> None:
    values = only().to_dict()
    stored = {**values, "method": {**values["method"], "name": "mine"}, "plugins": ["json", "my_method"]}
    with pytest.raises(ConfigError, match=r"method\.name=mine is not registered \(--plugin my_method may be missing\)"):
        RunConfig.from_dict(stored)


def test_pretrained_and_checkpoint_exclude_each_other() -> None:
    found = problems_of("teacher=timm", "teacher.model=resnet10t", "teacher.pretrained=true", "teacher.checkpoint=x")
    assert found == ["teacher.pretrained and teacher.checkpoint exclude each other: one of them gives the weights."]


def test_agent_keys_are_not_judged_where_no_agent_acts() -> None:
    assert only("temperature=fixed", "agent.warmup_epochs=500")
