"""The attack on duress, in short: statuses and sizes at a real API process, and what classifiers find."""

from dataclasses import replace

import numpy as np

from tests.simulation.duress import Login, accuracies, logins_of


async def test_statuses_and_sizes_are_the_same_with_both_pins(database_url):
    logins = await logins_of(database_url, logins=6, phones=2, seed=1)
    assert len(logins) == 12
    assert sum(login.is_duress for login in logins) == 6
    assert {login.statuses for login in logins} == {(201, 200, 200, 201)}
    assert len({login.sizes for login in logins}) == 1


def test_the_classifiers_find_a_difference_where_there_is_one_and_none_where_there_is_none():
    draw = np.random.default_rng(1)
    blind = [
        Login(bool(number % 2), (201,), (100,), (float(draw.lognormal(-4, 0.2)),)) for number in range(4000)
    ]
    assert max(accuracies(blind, 1).values()) < 0.54
    slower = [
        replace(login, seconds=(login.seconds[0] * 1.2,)) if login.is_duress else login for login in blind
    ]
    assert min(accuracies(slower, 1).values()) > 0.6
    longer = [replace(login, sizes=(101,)) if login.is_duress else login for login in blind]
    assert min(accuracies(longer, 1).values()) == 1.0
