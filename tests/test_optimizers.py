"""torch's optimisers without its compiler: the same numbers, and the compiler is not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rlkd_run import optimizers


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_steps_and_state_are_torchs(name: str) -> None:
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01} if name == "SGD" else {"lr": 0.1}
    ends = []
    for module in (optimizers, torch.optim):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4, 3))
        optimizer = getattr(module, name)([{"params": [weight], "lr_factor": 1.0}], fused=True, **options)
        for step in range(4):
            optimizer.zero_grad()
            (weight * torch.randn(4, 3)).square().sum().backward()
            optimizer.step()
            if step == 1:
                optimizer.load_state_dict(optimizer.state_dict())
        ends.append((weight.detach(), optimizer.state_dict()["param_groups"]))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_whether_it_can_be_captured_is_its_own_and_not_the_files() -> None:
    states = {}
    for capturable in (False, True):
        weight = torch.nn.Parameter(torch.ones(3))
        adam = optimizers.Adam([weight], lr=0.1, fused=True)
        adam.param_groups[0]["capturable"] = capturable  # as on a GPU; a CPU knows no other way to make one
        weight.square().sum().backward()
        adam.step()
        states[capturable] = adam, adam.state_dict()
    for capturable, (adam, own) in states.items():
        _, other = states[not capturable]
        adam.load_state_dict({**other, "param_groups": [{**other["param_groups"][0], "lr": 0.2}]})
        assert adam.param_groups[0]["capturable"] is capturable
        assert adam.param_groups[0]["lr"] == 0.2
        assert own["param_groups"][0]["capturable"] is capturable


def test_a_run_does_not_import_the_compiler() -> None:
    program = (
        "import sys\n"
        "from rlkd_run.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code, ended\n"
        "assert 'torch' in sys.modules\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor.config', 'sklearn') if name in sys.modules])\n"
    )
    tiny = ["dataset=digits", "dataset.train_limit=100", "dataset.test_limit=50", "teacher=resnet8", "student=resnet8",
            "recipe.epochs=1", "runtime.num_threads=1", "runtime.tensorboard=false"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program, *tiny], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
