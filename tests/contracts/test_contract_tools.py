"""What slither and halmos report is read so that nothing passes that was not looked at."""

from typing import Any

from ops.contract_tools import EXPLAINED, PROOFS, Finding, Proof, findings_in, proofs_in

PROPERTIES = ("check_one", "check_two")


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
    def test_a_property_that_was_proved_holds(self) -> None:
        report = {"test_results": {"VaultSymbolic": [proof("check_one"), proof("check_two")]}}

        assert proofs_in(report, PROPERTIES) == [
            Proof("check_one", holds=True),
            Proof("check_two", holds=True),
        ]

    def test_one_with_a_counterexample_or_cut_short_or_left_out_does_not(self) -> None:
        for result in (proof("check_one", exitcode=1), proof("check_one", bounded=1), proof("check_on")):
            report = {"test_results": {"VaultSymbolic": [result]}}
            assert not any(one.holds for one in proofs_in(report, PROPERTIES))

    def test_an_empty_report_proves_nothing(self) -> None:
        assert not any(one.holds for one in proofs_in({}, PROPERTIES))

    def test_there_are_properties_to_prove(self) -> None:
        assert PROOFS.read_text().count("function check_") == 3
