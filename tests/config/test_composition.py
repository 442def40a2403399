"""From a command line to a checked configuration."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml
from commands import only, problems_of
from composed import composed

from rlkd_run.config import composition
from rlkd_run.config.composition import _compose as compose
from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import run_hash
from rlkd_run.config.methods import KDOptions
from rlkd_run.config.registry import Entry
from rlkd_run.config.runconfig import GROUPS, RunConfig
from rlkd_run.config.shipped import config_folder
from rlkd_run.errors import ConfigError
from rlkd_run.results.reported import reported


def test_the_main_command_is_the_papers_recipe() -> None:
    run = only("teacher=resnet56", "student=resnet20")
    assert (run.dataset.name, run.method.name, run.temperature.name) == ("cifar100", "kd", "rlkd")
    recipe = run.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones) == (240, 64, 0.05, [150, 180, 210])
    assert (recipe.momentum, recipe.weight_decay, recipe.lr_decay) == (0.9, 5e-4, 0.1)
    assert (run.method.ce_weight, run.method.kl_weight) == (0.1, 0.9)
    assert (run.agent.warmup_epochs, run.agent.train_every, run.agent.warmup_temperature) == (20, 20, 4.0)


def test_a_leading_tilde_is_the_users_home_in_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves it alone after an equals sign, and so does a yaml file."""
    monkeypatch.setenv("HOME", "/home/me")
    run = only("output_root='~/out'", "dataset.root='~/images'", "teacher.checkpoint='~/t.pth'", "series='~'")
    assert (run.top.output_root, run.dataset.root) == ("/home/me/out", "/home/me/images")
    assert (run.runtime.cache_root, run.teacher.checkpoint) == ("/home/me/out/cache", "/home/me/t.pth")
    assert run.top.series == "~"  # a name


def choices_of(group: str) -> list[str]:
    return sorted(choice.stem for choice in (config_folder() / group).glob("*.yaml"))


NETWORKS = [name for name in choices_of("teacher") if name != "timm"]  # which needs a model


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_composes_as_teacher_and_as_student(name: str) -> None:
    overrides = (f"teacher={name}", f"student={name}")
    assert only(*overrides) == composed(*overrides)  # which other tests rely on


def test_teachers_can_be_students() -> None:
    assert choices_of("student") == choices_of("teacher")


@pytest.mark.parametrize("group", [group for group in [*GROUPS, "pair"] if group not in ("teacher", "student")])
def test_every_yaml_composes(group: str) -> None:
    """As one sweep over a group; what cannot go along by itself follows below."""
    alone = {"task": ["evaluate", "export"], "dataset": ["folder", "imagenet"]}
    choices = [choice for choice in choices_of(group) if choice not in alone.get(group, [])]
    extra = ["temperature=fixed"] if group == "method" else []  # some methods have no temperature
    assert choices
    runs = compose_command([f"{group}={','.join(choices)}", *extra]).runs
    assert len(runs) == len(choices)
    if group != "pair":
        assert runs == [composed(f"{group}={choice}", *extra) for choice in choices]


# How each is narrowed here, and how many runs remain.
ONE_PAIR = "pair=resnet56-resnet20"
EXPERIMENTS = {
    "quickstart": ([], 1),
    "table1": ([ONE_PAIR], 3),
    "table3": ([ONE_PAIR, "method=srrl"], 3),
    "table1_quick": ([ONE_PAIR, "temperature=rlkd"], 1),
    "imagenet": (["dataset.root=x", "temperature=rlkd"], 1),
    "controls": (["temperature=fixed_8,random"], 2),
    "ablation_state": ([], 5),
    "ablation_calibration": ([], 2),  # not "uniform", which is "none" to the last bit
    "ablation_exploration": ([], 3),
    "tune": (["temperature.value=1,8"], 2),
}


@pytest.mark.parametrize("name", choices_of("experiment"))
def test_every_experiment_is_its_whole_sweep(name: str) -> None:
    narrowed, count = EXPERIMENTS[name]
    command = compose_command([f"experiment={name}", *narrowed])
    assert len(command.runs) == len({run_hash(run) for run in command.runs}) == count
    assert command.is_sweep == (name != "quickstart")
    assert {run.top.series for run in command.runs} == {name}


def test_the_controls_are_choices() -> None:
    content = yaml.safe_load((config_folder() / "experiment" / "controls.yaml").read_text())
    swept = content["hydra"]["sweeper"]["params"]["temperature"].split(",")
    assert len(set(swept)) == len(swept) == 11
    assert set(swept) <= set(choices_of("temperature"))


@pytest.mark.parametrize(("name", "pairs"), [("table1", 11), ("table3", 7), ("table1_quick", 3)])
def test_experiments_sweep_the_papers_pairs(name: str, pairs: int) -> None:
    content = yaml.safe_load((config_folder() / "experiment" / f"{name}.yaml").read_text())
    swept = content["hydra"]["sweeper"]["params"]["pair"].split(",")
    assert len(set(swept)) == len(swept) == pairs
    assert set(swept) <= set(choices_of("pair"))
    assert all(reported(pair, "kd", "rlkd", "cifar100") for pair in swept)
    if name == "table3":
        assert all(reported(pair, "pkt", "rlkd", "cifar100") for pair in swept)


@pytest.mark.parametrize(
    "overrides",
    [["dataset=folder", "dataset.root=x"], ["dataset=imagenet", "dataset.root=x"],
     ["teacher=timm", "teacher.model=resnet10t"], ["student=timm", "student.model=resnet10t"]],
)  # fmt: skip
def test_what_needs_another_option_composes_with_it(overrides: list[str]) -> None:
    assert only(*overrides) == composed(*overrides)


@pytest.mark.parametrize(
    "name", ["at", "cc", "crd", "fitnet", "infoflow", "nst", "pkt", "reviewkd", "rkd", "sp", "srrl", "vid"]
)
def test_a_feature_method_has_the_weights_of_its_data_set_in_its_kl_term(name: str) -> None:
    for dataset, weights in ((["dataset=imagenet", "dataset.root=x"], (1.0, 1.0)), ([], (0.1, 0.9))):
        method = only(f"method={name}", *dataset).method
        assert (method.ce_weight, method.kl_weight) == weights


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_tasks_on_a_run_ask_for_its_folder(task: str) -> None:
    assert "needs run=FOLDER" in problems_of(f"task={task}")[0]


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v1", "shufflenet_v2"])
def test_students_bring_their_learning_rate(name: str) -> None:
    assert only(f"student={name}").recipe.lr == 0.01
    assert only(f"student={name}", "recipe.lr=0.05").recipe.lr == 0.05


def test_no_pair_and_no_experiment_may_be_said_aloud() -> None:
    assert only("pair=null", "experiment=null") == only("~pair") == only()
    assert [run.student.model for run in compose_command(["pair=null,vgg13-vgg8"]).runs] == ["resnet20", "vgg8"]
    assert [run.top.series for run in compose_command(["experiment=quickstart,null"]).runs] == ["quickstart", "runs"]
    assert {run.student.model for run in compose_command(["experiment=table1", "pair=null"]).runs} == {"resnet20"}


def test_a_pair_sets_both_networks() -> None:
    run = only("pair=wrn_40_2-shufflenet_v1")
    assert (run.teacher.model, run.student.model) == ("wrn_40_2", "shufflenet_v1")


@pytest.mark.parametrize(
    ("epochs", "milestones", "warmup"),
    [(240, [150, 180, 210], 20), (120, [75, 90, 105], 10), (24, [15, 18, 21], 2), (2, [1, 2, 2], 1), (1, [1, 1, 1], 1)],
)
def test_epochs_move_the_schedule_in_proportion(epochs: int, milestones: list[int], warmup: int) -> None:
    run = only(f"recipe.epochs={epochs}")
    assert run.recipe.milestones == run.teacher.recipe.milestones == milestones
    assert run.agent.warmup_epochs == run.agent.train_every == warmup
    assert run.teacher.recipe.epochs == epochs


@pytest.mark.parametrize(("epochs", "schedule"), [(120, 20), (12, 2)])
def test_on_imagenet_the_agents_schedule_is_the_authors(epochs: int, schedule: int) -> None:
    typed = ["dataset.root=images", "temperature=rlkd", f"recipe.epochs={epochs}"]
    (run,) = compose_command(["experiment=imagenet", *typed]).runs
    assert run.agent.warmup_epochs == run.agent.train_every == schedule


def test_what_is_set_does_not_move() -> None:
    overrides = ("recipe.epochs=24", "agent.warmup_epochs=5", "agent.train_every=3", "recipe.milestones=[4,8]")
    run = only(*overrides)
    assert run == composed(*overrides)
    assert (run.agent.warmup_epochs, run.agent.train_every, run.recipe.milestones) == (5, 3, [4, 8])


def test_commas_sweep_with_or_without_m() -> None:
    command = compose_command(["seed=0,1", "temperature=fixed,rlkd"])
    assert command.is_sweep
    assert [(run.seed, run.temperature.name) for run in command.runs] == [
        (0, "fixed"),
        (0, "rlkd"),
        (1, "fixed"),
        (1, "rlkd"),
    ]
    assert not compose_command(["seed=1"]).is_sweep
    assert compose_command(["seed=1"], multirun=True).is_sweep


def test_mistakes_in_any_job_of_a_sweep_are_found() -> None:
    assert problems_of("seed=0,1,x", "recipe.lr=0.1,-1") == [
        "recipe.lr must be greater than 0, not -1.0.",
        "seed must be a whole number, not 'x'.",
    ]


@pytest.mark.parametrize("choices", ["fixed,rlkd", "rlkd,fixed"])
def test_a_key_that_a_choice_of_a_sweep_lacks_is_said_of_that_choice(choices: str) -> None:
    assert sorted(problems_of(f"temperature={choices}", "temperature.value=2,4", "recipe.lr=0.1,-1")) == [
        "recipe.lr must be greater than 0, not -1.0.",
        "temperature.value is an option of temperature=fixed, not of temperature=rlkd.",
    ]


def test_an_experiment_may_be_a_sweep_and_be_narrowed(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "both.yaml").write_text(
        "# @package _global_\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      pair: resnet56-resnet20,vgg13-vgg8\n"
        "series: both\n"
    )
    mine = {"config_dirs": [str(folder.parent)]}
    whole = compose_command(["experiment=both"], **mine)  # type: ignore[arg-type]
    assert whole.is_sweep
    assert [run.student.model for run in whole.runs] == ["resnet20", "vgg8"]
    assert {run.top.series for run in whole.runs} == {"both"}
    narrowed = compose_command(["experiment=both", "pair=vgg13-vgg8", "seed=0,1"], **mine)  # type: ignore[arg-type]
    assert [(run.student.model, run.seed) for run in narrowed.runs] == [("vgg8", 0), ("vgg8", 1)]


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [("range(0,0)", "seed=range(0,0) has no value: "), ("'[0'", "'seed=[0' is not an override; "),
     ("glob(*)", "seed=glob(*) asks for all that fit a pattern; ")],
)  # fmt: skip
def test_what_an_experiment_sweeps_is_checked_like_what_is_typed(tmp_path: Path, seeds: str, sentence: str) -> None:
    path = tmp_path / "mine/experiment/none.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: {seeds}\n")
    (found,) = problems_of("experiment=none", "temperature=fixed", config_dirs=[str(tmp_path / "mine")])
    assert found.startswith(sentence)


def test_seeds_vary_fastest_and_experiments_follow_each_other() -> None:
    swept = ["pair=vgg13-vgg8", "seed=0,1"]
    command = compose_command(["experiment=ablation_calibration,ablation_exploration", *swept])
    told = [(run.top.series, run.agent.calibration.kind, run.seed) for run in command.runs]
    assert told[:3] == [
        ("ablation_calibration", "lstm", 0),
        ("ablation_calibration", "lstm", 1),
        ("ablation_calibration", "none", 0),
    ]
    assert told[-1] == ("ablation_exploration", "lstm", 1)
    assert {run.teacher.model for run in command.runs} == {"vgg13"}


@pytest.mark.parametrize("mistake", ["pair=resnet56-resnet21", "recipe.epochs=0"])
def test_a_mistake_in_a_large_sweep_is_found_before_all_of_it_is_composed(
    mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = []
    monkeypatch.setattr(composition, "_compose", lambda overrides: composed.append(1) or compose(overrides))
    assert len(problems_of("experiment=table3", mistake)) == 1
    assert len(composed) <= 2


def test_an_experiment_need_not_compose_without_what_it_sweeps(tmp_path: Path) -> None:
    path = tmp_path / "mine/experiment/still.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "# @package _global_\ndefaults:\n  - override /method: ttm\n"  # which has no temperature to set
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      temperature: fixed\n"
    )
    assert len(compose_command(["experiment=still"], config_dirs=[str(tmp_path / "mine")]).runs) == 1


def test_both_networks_decide_the_pair() -> None:
    command = compose_command(["experiment=table1", "teacher=resnet110", "student=resnet8"])
    assert [(run.teacher.model, run.student.model) for run in command.runs] == [("resnet110", "resnet8")] * 3


def test_a_seed_that_others_follow() -> None:
    command = compose_command(["seed=0,1", "teacher.seed=${seed}"])
    assert [run.teacher.seed for run in command.runs] == [0, 1]


@pytest.mark.parametrize(
    ("launcher", "sentence"),
    [
        ("slurm", "hydra/launcher=slurm is not a choice; "),
        ("joblib_of_old", "hydra/launcher=joblib_of_old is not installed: pip install 'rlkd-run[joblib]'."),
    ],
)
def test_a_launcher_that_is_not_there(launcher: str, sentence: str) -> None:
    assert problems_of("seed=0,1", f"hydra/launcher={launcher}")[0].startswith(sentence)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["objective=test_top1"], "objective=test_top1 chooses settings by the test set"),
        (["objective=val_top1"], "objective=val_top1 needs images to choose by; set dataset.val_split"),
        (
            ["objective=test_top1", "select_on_test=true", "task=train_teacher"],
            "objective=test_top1 is not for task=train_teacher",
        ),
        (["objective=loss"], "objective=loss is not a choice"),
        (["select_on_test=true"], "select_on_test=true is for objective=test_top1."),
        (["trials=3", "temperature=fixed", "temperature.value=1,2"], "trials needs an objective"),
    ],
)
def test_tuning_is_honest_or_refused(overrides: list[str], sentence: str) -> None:
    assert problems_of(*overrides)[0].startswith(sentence)
    assert only("objective=test_top1", "select_on_test=true").top.select_on_test


def test_a_launchers_kind_is_known_whatever_its_yaml_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "mine/hydra/launcher"
    folder.mkdir(parents=True)
    (folder / "cluster.yaml").write_text("defaults:\n  - submitit_slurm\n")
    (folder / "many.yaml").write_text("defaults:\n  - joblib\n")
    for name, kind in {"cluster": "submitit", "many": "joblib", "joblib": "joblib", "basic": "basic"}.items():
        if kind == "basic" or importlib.util.find_spec(f"hydra_plugins.hydra_{kind}_launcher"):
            command = compose_command(["seed=0,1", f"hydra/launcher={name}"], config_dirs=[str(tmp_path / "mine")])
            assert (command.launcher, command.launcher_kind) == (name, kind)


def test_a_plugin_that_is_missing_is_named() -> None:
    assert problems_of(plugins=["no_such_module"]) == [
        "--plugin no_such_module: no module named no_such_module; is its folder on PYTHONPATH?"
    ]


@pytest.mark.parametrize(
    ("file", "folder"),
    [("./my_method.py", "."), ("my_method.py", "."), ("/abs/my_method.py", "/abs"), ("a/my_method", "a")],
)
def test_a_plugin_that_is_given_by_its_file_is_told_its_name(file: str, folder: str) -> None:
    assert problems_of(plugins=[file]) == [
        f"--plugin {file}: it takes the name of a module, not of a file; PYTHONPATH={folder} and --plugin my_method "
        "give it."
    ]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("rlkd_run.methods.kd:KDD", "but rlkd_run.methods.kd has no KDD; did you mean KD?"),
        ("rlkd_run.methods.kdd:KD", "but there is no module named rlkd_run.methods.kdd."),
        ("rlkd_run.methods.kd.KD", 'which must be "module:Name".'),
    ],
)
def test_a_registered_class_that_is_not_there_is_one_sentence(target: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Entry("mine", KDOptions, target).load()
    assert raised.value.problems == [f"mine is registered with {target}, {words}"]


def test_to_dict_and_back() -> None:
    run = only("agent=official_code", "seed=3")
    assert RunConfig.from_dict(run.to_dict()) == run
    assert run.choices["agent"] == "official_code"


def test_a_stored_configuration_with_unknown_keys_is_refused() -> None:
    values = {**only().to_dict(), "colour": "red"}
    with pytest.raises(ConfigError, match="colour is not an option"):
        RunConfig.from_dict(values)
