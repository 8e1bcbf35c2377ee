"""The words: codes are unique and documented, every enum is in the glossary, all have a meaning."""

from pathlib import Path

import pytest

from tests.house.documents import DOCUMENTS, ERRORS, GLOSSARY, generated_part
from tests.house.vocabulary import Vocabulary, refusal_codes, vocabularies
from wallet_api.problem_kinds import PROBLEM_KINDS

VOCABULARIES = vocabularies()


def test_each_refusal_code_is_defined_once_in_the_whole_project() -> None:
    assert {code: places for code, places in refusal_codes().items() if len(places) > 1} == {}


def test_every_refusal_code_is_documented() -> None:
    text = ERRORS.read_text()
    assert [code for code in refusal_codes() if f"`{code}`" not in text] == []


def test_every_code_that_the_api_answers_with_is_a_room_s_or_tells_of_an_outage() -> None:
    others = set(PROBLEM_KINDS) - set(refusal_codes())
    assert [code for code in others if not str(code).endswith(("_unavailable", "_busy", "_archived"))] == []
    assert [code for code in others if f"`{code}`" not in ERRORS.read_text()] == []


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.name)
def test_enum_and_each_of_its_members_say_what_they_mean(vocabulary: Vocabulary) -> None:
    assert vocabulary.meaning
    assert [member.name for member in vocabulary.members if not member.meaning] == []


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.name)
def test_glossary_covers_the_enum(vocabulary: Vocabulary) -> None:
    text = (ERRORS if vocabulary.is_refusals else GLOSSARY).read_text()
    section = text.partition(f"## {vocabulary.name} (`{vocabulary.module}`)")[2].partition("\n## ")[0]
    words = [member.value if vocabulary.is_refusals else member.name for member in vocabulary.members]
    assert [word for word in words if f"`{word}`" not in section] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_says_what_the_code_says(path: Path) -> None:
    assert generated_part(path) == DOCUMENTS[path]().strip(), "run .venv/bin/python -m tests.house.documents"
