"""What Hydra gets of what was typed."""

import pytest

from ccnn.cli.argv import in_order
from ccnn.errors import UserError


@pytest.mark.parametrize(
    ("typed", "ordered"),
    [
        ("seed=1 -m optimizer.lr=0.1,0.2", "-m seed=1 optimizer.lr=0.1,0.2"),
        ("-m seed=0,1", "-m seed=0,1"),
        ("seed=1 --cfg job convert=true", "--cfg job seed=1 convert=true"),
        (
            "-cp conf -cn config.yaml hydra.run.dir=a",
            "-cp conf -cn config.yaml hydra.run.dir=a",
        ),  # as Lightning does
        ("--config-name=other seed=1", "--config-name=other seed=1"),
        ("~model.dropout +a.b=-1 data.root=", "~model.dropout +a.b=-1 data.root="),
        ("", ""),
    ],
)
def test_flags_come_first(typed: str, ordered: str) -> None:
    assert in_order(typed.split()) == ordered.split()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("optimizer.lr = 0.1", "^optimizer.lr: expected key=value, without spaces around the ="),
        ("optimizer.lr= 0.1", "^0.1: expected key=value"),
        ("optimizer.lr =0.1", "^optimizer.lr: expected key=value"),
        ("=0.1", "^=0.1: expected key=value"),
        ("resnet18", "^resnet18: expected key=value"),
        ("--max_epoch=3", r"^--max_epoch: there is no such flag; .* did you mean trainer\.max_epochs=…"),
        ("--gpus 2", "^--gpus: there is no such flag; .* --cfg job shows all keys"),
    ],
)
def test_what_is_neither_flag_nor_override_is_told(typed: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        in_order(typed.split())
