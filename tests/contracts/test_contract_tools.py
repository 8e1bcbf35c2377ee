"""What slither and halmos report is read so that nothing passes that was not looked at."""

from typing import Any

import pytest

from ops.contract_tools import EXPLAINED, PROOFS, Finding, findings_in, proofs_in

PROPERTIES = ("check_one", "refute_two")


def finding(check: str, impact: str) -> dict[str, Any]:
    return {"check": check, "impact": impact, "description": f"{check} somewhere\n", "elements": []}


def proof(name: str, *, exitcode: int = 0, bounded: int = 0) -> dict[str, Any]:
    return {"name": f"{name}(address,uint256)", "exitcode": exitcode, "num_bounded_loops": bounded}


class TestFindings:
    def test_the_worst_come_first(self) -> None:
        found = findings_in({"results": {"detectors": [
            finding("timestamp", "Low"), finding("reentrancy-eth", "High"), finding("tautology", "Medium"),
        ]}})  # fmt: skip

        assert [one.impact for one in found] == ["High", "Medium", "Low"]

    def test_none_are_none(self) -> None:
        assert findings_in({"success": True, "results": {}}) == []

    def test_a_known_kind_of_low_impact_is_explained(self) -> None:
        assert Finding("timestamp", "Low", "").is_explained
        assert not Finding("shadowing-local", "Low", "").is_explained

    def test_high_and_medium_impact_are_never_explained_by_their_kind(self) -> None:
        for check in EXPLAINED:
            assert not Finding(check, "Medium", "").is_explained
            assert not Finding(check, "High", "").is_explained


class TestProofs:
    def test_a_check_is_settled_by_a_proof_and_a_refutation_by_a_counterexample(self) -> None:
        report = {"test_results": {"VaultSymbolic": [proof("check_one"), proof("refute_two", exitcode=1)]}}

        assert [one.settled for one in proofs_in(report, PROPERTIES)] == [True, True]

    @pytest.mark.parametrize(
        "results",
        [
            pytest.param([proof("check_one", exitcode=1)], id="a counterexample"),
            pytest.param([proof("check_one", exitcode=2)], id="the solver ran out of time"),
            pytest.param([proof("check_one", exitcode=4)], id="every path reverts"),
            pytest.param([proof("check_one", bounded=1)], id="a loop was cut short"),
            pytest.param([proof("check_on")], id="another property"),
            pytest.param([proof("refute_two")], id="what is false was proved"),
            pytest.param([proof("refute_two", exitcode=2)], id="what is false was not examined"),
            pytest.param([], id="nothing"),
        ],
    )
    def test_anything_else_settles_nothing(self, results: list[dict[str, Any]]) -> None:
        report = {"test_results": {"VaultSymbolic": results}}

        assert not any(one.settled for one in proofs_in(report, PROPERTIES))

    def test_an_empty_report_settles_nothing(self) -> None:
        assert not any(one.settled for one in proofs_in({}, PROPERTIES))

    def test_each_proof_has_a_refutation_that_shows_it_could_fail(self) -> None:
        source = PROOFS.read_text()

        assert source.count("function check_") == source.count("function refute_") == 3
        # A failing require is a refusal to halmos, so a proof by require proves nothing.
        assert "require(" not in source
