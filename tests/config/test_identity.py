"""Same command, same folder; anything that can change the result, another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from composed import composed

from rlkd_run.config.composition import compose_command
from rlkd_run.config.identity import cell_hash, run_folder, run_hash, teacher_folder, teacher_folder_name
from rlkd_run.config.runconfig import RunConfig


def only(*overrides: str) -> RunConfig:
    if any(override.startswith("experiment=") for override in overrides):
        return compose_command(overrides).runs[0]
    return composed(*overrides)


@pytest.mark.parametrize(
    "override",
    [
        "dataset.root=elsewhere",
        "output_root=elsewhere",
        "series=mine",
        "runtime.device=cpu",
        "runtime.num_threads=1",
        "runtime.num_workers=0",
        "runtime.progress=false",
        "runtime.tensorboard=false",
        "runtime.checkpoint_minutes=1",
        "runtime.eval_batch_size=7",
        "runtime.jobs_per_gpu=2",
        "runtime.wandb_mode=offline",
        "student.lr=0.05",
        "recipe.tempbalance.high=2",  # recipe.lr_policy=none
        "recipe.tempbalance=null",
        "teacher.nasty.omega=1",  # teacher.objective=labels
        "teacher.nasty.adversary=missing.pth",
        "teacher.nasty=null",
    ],
)
def test_what_cannot_change_the_result_changes_no_hash(override: str) -> None:
    assert run_hash(only(override)) == run_hash(only())


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "recipe.epochs=10",
        "recipe.lr=0.1",
        "recipe.batch_size=32",
        "student=resnet32",
        "teacher=resnet110",
        "teacher.seed=1",
        "teacher.recipe.lr=0.1",
        "dataset=cifar10",
        "dataset.train_limit=1000",
        "dataset.val_split=0.1",
        "temperature=fixed",
        "agent=official_code",
        "agent.t_max=8",
        "agent.state.margin=second_smallest",
        "method.kl_weight=0.5",
        "recipe.schedule=cosine",
        "recipe.lr_policy=tempbalance",
        "teacher.recipe.lr_policy=tempbalance",
        "teacher.objective=nasty",
    ],
)
def test_what_can_change_the_result_changes_the_hash(override: str) -> None:
    assert run_hash(only(override)) != run_hash(only())


def test_an_honest_objective_changes_nothing_and_the_other_everything() -> None:
    honest = ["dataset.val_split=0.1"]
    assert run_hash(only(*honest, "objective=val_top1")) == run_hash(only(*honest))
    forced = only(*honest, "objective=test_top1", "select_on_test=true")
    assert run_hash(forced) != run_hash(only(*honest))
    assert teacher_folder(forced) == teacher_folder(only(*honest))


@pytest.mark.parametrize(
    ("choice", "override"),
    [
        ("recipe.lr_policy=tempbalance", "recipe.tempbalance.assign=sqrt"),
        ("recipe.lr_policy=tempbalance", "recipe.tempbalance.min_eigenvalues=10"),
        ("teacher.recipe.lr_policy=tempbalance", "recipe.tempbalance.low=0.6"),
        ("teacher.objective=nasty", "teacher.nasty.omega=1"),
        ("teacher.objective=nasty", "teacher.nasty.max_divergence=1"),
        ("teacher.objective=nasty", "teacher.nasty.adversary=missing.pth"),
        ("method=at", "method.standardise=true"),
    ],
)
def test_options_of_a_choice_count_once_it_is_made(choice: str, override: str) -> None:
    assert run_hash(only(choice, override, "temperature=fixed")) != run_hash(only(choice, "temperature=fixed"))


# Names that folders had before the options with a neutral value existed.
EARLIER = {
    "cifar100-resnet56-resnet20-kd-rlkd-seed0-ec39abeb": ["teacher=resnet56"],
    "cifar100-resnet56-resnet20-at-fixed-seed0-0d057210": ["method=at", "temperature=fixed"],
    "digits-resnet20-resnet8-kd-rlkd-seed0-8b3d881a": ["experiment=quickstart"],
}
LATER = {
    "recipe": ("schedule", "lr_policy", "tempbalance"),
    "teacher": ("objective", "nasty"),
    "method": ("standardise",),
    "runtime": ("jobs_per_gpu", "wandb", "wandb_mode"),
}
LATER_OF_NO_GROUP = ("objective", "select_on_test", "trials")


@pytest.mark.parametrize(("name", "overrides"), EARLIER.items(), ids=EARLIER)
def test_earlier_runs_keep_their_folders_and_can_be_read(name: str, overrides: list[str]) -> None:
    config = only(*overrides)
    assert run_folder(config).name == name
    stored = config.to_dict()
    for group, options in LATER.items():
        for option in options:
            if group != "method" or name.startswith("cifar100-resnet56-resnet20-at"):
                del stored[group][option]
    del stored["teacher"]["recipe"]["lr_policy"]
    for option in LATER_OF_NO_GROUP:
        del stored[option]
    read = RunConfig.from_dict(stored)
    assert run_folder(read).name == name
    assert (read.recipe.lr_policy, read.recipe.schedule, read.teacher.objective) == ("none", "step", "labels")


def test_the_zoos_teacher_is_that_of_the_whole_recipe() -> None:
    config = only("experiment=quickstart", "recipe.epochs=240")
    assert teacher_folder_name(config) == "digits-resnet20-seed0-71c5752d"


def test_a_nasty_teacher_has_a_folder_of_its_own() -> None:
    nasty = only("teacher.objective=nasty")
    assert teacher_folder_name(nasty).startswith("cifar100-nasty-resnet56-seed0-")
    assert teacher_folder(only("teacher.objective=nasty", "teacher.seed=1")) != teacher_folder(nasty)


def test_a_given_adversary_counts_by_its_content() -> None:
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        Path(f"{name}.pth").write_bytes(content)
    folders = [
        teacher_folder(only("teacher.objective=nasty", f"teacher.nasty.adversary={name}"))
        for name in ("a.pth", "b.pth", "c.pth", "missing.pth", "null")
    ]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4


def test_a_teachers_rates_by_layer_are_its_own() -> None:
    assert teacher_folder(only("recipe.lr_policy=tempbalance")) == teacher_folder(only())
    assert teacher_folder(only("teacher.recipe.lr_policy=tempbalance")) != teacher_folder(only())


def test_the_agents_options_play_no_part_under_a_fixed_temperature() -> None:
    assert run_hash(only("temperature=fixed", "agent.t_max=8")) == run_hash(only("temperature=fixed"))


def test_a_cell_is_a_run_without_its_seed() -> None:
    assert cell_hash(only("seed=1")) == cell_hash(only("seed=2"))
    assert cell_hash(only("recipe.lr=0.1")) != cell_hash(only())


def test_a_teacher_is_shared_by_runs_that_differ_in_what_does_not_concern_it() -> None:
    shared = teacher_folder(only())
    for override in ("seed=1", "student=vgg8", "recipe.lr=0.1", "temperature=fixed", "agent.t_max=8"):
        assert teacher_folder(only(override)) == shared
    for override in (
        "teacher.seed=1",
        "recipe.epochs=10",
        "recipe.batch_size=32",
        "dataset.train_limit=1000",
        "teacher=vgg13",
        "recipe.weight_decay=0",
    ):
        assert teacher_folder(only(override)) != shared


def test_a_given_checkpoint_counts_by_its_content() -> None:
    Path("a.pth").write_bytes(b"one")
    Path("b.pth").write_bytes(b"one")
    Path("c.pth").write_bytes(b"two")
    hashes = [run_hash(only(f"teacher.checkpoint={name}.pth")) for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]
    assert run_hash(only("teacher.checkpoint=a.pth", "teacher.recipe.lr=1")) == hashes[0]


def test_a_folder_of_images_counts_by_its_place() -> None:
    here = run_hash(only("dataset=folder", "dataset.root=images"))
    assert here == run_hash(only("dataset=folder", f"dataset.root={Path('images').resolve()}"))
    assert here != run_hash(only("dataset=folder", "dataset.root=others"))
    at_home = run_hash(only("dataset=folder", "dataset.root='~/images'"))
    assert at_home == run_hash(only("dataset=folder", f"dataset.root={Path.home() / 'images'}"))


def test_the_folders_name_is_readable() -> None:
    folder = run_folder(only("series=mine", "output_root=out", "student=timm", "student.model=resnet10t.c3_in1k"))
    assert folder.parent == Path("out/mine")
    assert folder.name.startswith("cifar100-resnet56-resnet10t.c3_in1k-kd-rlkd-seed0-")


def test_an_auxiliary_teacher_is_distilled_with_the_teachers_seed_and_by_a_rate_that_may_be_its_own() -> None:
    Path("t.safetensors").write_bytes(b"")
    own = ("method=infoflow", "method.auxiliary=resnet32", "teacher.checkpoint=t.safetensors")
    plain = only(*own)
    for changed in ("teacher.seed=1", "student.lr=0.1 recipe.lr=0.05"):
        assert run_hash(only(*own, *changed.split())) != run_hash(plain)
    assert run_hash(only(*own[2:], "teacher.seed=1")) == run_hash(only(*own[2:]))


def test_a_lower_precision_is_another_run_of_the_same_teacher() -> None:
    plain = only()
    kept = ("runtime.teacher_cache=lazy", "runtime.teacher_cache_precision=fp16")
    for options in (("runtime.precision=bf16",), ("runtime.teacher_precision=bf16",), kept):
        rough = only(*options)
        assert run_hash(rough) != run_hash(plain)
        assert cell_hash(rough) != cell_hash(plain)
        assert teacher_folder(rough) == teacher_folder(plain)
    for option in ("runtime.precision=fp32", "runtime.teacher_cache_precision=fp16"):  # nothing is kept
        assert run_hash(only(option)) == run_hash(plain)
