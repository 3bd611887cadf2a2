"""A run's name can be read, typed, and tells the jobs of a sweep apart."""

import pytest

from ccnn.config.run_name import run_name

CHOSEN = {"data": "digits", "model": "toy", "sampling": "lattice"}


def test_it_says_data_network_and_seed() -> None:
    assert run_name(CHOSEN, False, 3, ["seed=3", "data=digits"]) == "digits_toy_cnn_seed3"
    assert run_name(CHOSEN, True, 0, ["convert=true", "sampling=lattice"]) == "digits_toy_ccnn-lattice_seed0"


def test_other_overrides_follow() -> None:
    name = run_name(CHOSEN, True, 0, ["optimizer.lr=0.05", "+trainer.limit_train_batches=3"])
    assert name == "digits_toy_ccnn-lattice_seed0_optimizer.lr-0.05_trainer.limit_train_batches-3"


@pytest.mark.parametrize("long", ["", "x" * 100])
def test_the_order_of_overrides_makes_no_difference(long: str) -> None:
    words = ["trainer=gpu", "protocol=paper", "model=toy", f"data.root=/{long}"]
    assert run_name(CHOSEN, False, 0, words) == run_name(CHOSEN, False, 0, words[::-1])
    assert run_name(CHOSEN, False, 0, words[:2]) == "digits_toy_cnn_seed0_protocol-paper_trainer-gpu"


def test_of_two_values_of_one_key_the_last_counts() -> None:
    words = ["optimizer.lr=1", "optimizer.lr=2"]
    assert run_name(CHOSEN, False, 0, words) != run_name(CHOSEN, False, 0, words[::-1])


def test_sampling_stays_visible_where_it_has_no_effect() -> None:
    names = {run_name({**CHOSEN, "sampling": s}, False, 0, [f"sampling={s}"]) for s in ("naive", "lattice")}
    assert len(names) == 2


def test_what_a_file_system_forbids_is_replaced_and_names_still_differ() -> None:
    names = {run_name(CHOSEN, False, 0, [f"data.root={root}"]) for root in ("/a/b", "/a_b", "/a b", "_a_b", "/ä")}
    assert len(names) == 5
    assert all("/" not in name and " " not in name and name.isascii() for name in names)


def test_long_names_are_cut_and_still_differ() -> None:
    names = {run_name(CHOSEN, False, 0, [f"data.root={'x' * 300}{i}"]) for i in range(3)}
    assert len(names) == 3
    assert all(len(name) <= 100 for name in names)


def test_what_is_not_part_of_a_run_is_not_part_of_its_name() -> None:
    for override in ("optimizer.lr=0.1", "data.root=/a b", f"data.root={'x' * 300}"):
        name = run_name(CHOSEN, False, 0, [override])
        for other in ("resume=auto", "debug=true", "sweep=s", "exclude=[{model: toy}]"):
            assert run_name(CHOSEN, False, 0, [override, other]) == name


def test_a_missing_choice_is_left_for_the_validation_to_report() -> None:
    assert run_name({}, False, 0, []) == "None_None_cnn_seed0"
