"""Personal data: what the wallet's owner tells of themselves, changes, erases; and who looked."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from identity.personal_accesses import LISTED_MAX, accesses_of
from identity.personal_data import PersonalData, PersonalField
from identity.personal_errors import PersonalCode
from identity.roles import Role
from wallet_api.callers import wallet_of, wallet_read
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, WITH_BODY, asks, problems, signed
from wallet_api.padding import STEP_BYTES, pad_list
from wallet_api.wire import SHOWN_PATTERN, Answer, Asked, TimeAnswer, answered, instant_text, read, shown
from wallets.personal_records import give_personal_data

router = APIRouter(tags=["personal data"], prefix="/wallet/personal_data")

ACCESS_BYTES: Final = 80
"""More than a line of the list of accesses has."""

_GIVEN = {"display_name": "Daw Aye", "contact": "after six at the tea house"}
_DATA = {
    **_GIVEN,
    "legal_name": None,
    "registration_number": None,
    "given_at": "2026-11-23T14:05:09.123456Z",
    "erased_at": None,
}

NameText = Annotated[
    str | None, Field(min_length=1, max_length=60, pattern=SHOWN_PATTERN, description="What to be called.")
]
ContactText = Annotated[
    str | None,
    Field(
        min_length=1, max_length=200, pattern=SHOWN_PATTERN, description="How to be reached, in own words."
    ),
]
LegalNameText = Annotated[
    str | None,
    Field(
        min_length=1, max_length=120, pattern=SHOWN_PATTERN, description="Of a business: as in its papers."
    ),
]
RegistrationText = Annotated[
    str | None,
    Field(min_length=1, max_length=60, pattern=SHOWN_PATTERN, description="Of a business: as in its papers."),
]


class PersonalDataRequest(Asked):
    """All that is to be there from now on; what is left out, or null, is gone."""

    display_name: NameText = None
    contact: ContactText = None
    legal_name: LegalNameText = None
    registration_number: RegistrationText = None


class PersonalDataAnswer(Answer):
    """What is there now."""

    model_config = shown(_DATA)

    display_name: NameText
    contact: ContactText
    legal_name: LegalNameText
    registration_number: RegistrationText
    given_at: Annotated[
        TimeAnswer | None, Field(description="When all of it was given; null: nothing is there.")
    ]
    erased_at: Annotated[TimeAnswer | None, Field(description="When it was erased last.")]


class PersonalAccessAnswer(Answer):
    """An officer looked at it."""

    at: TimeAnswer
    role: Annotated[Role, Field(description="As what they might.")]


class PersonalAccessesAnswer(Answer):
    """Who looked at it, the newest first, at most 50."""

    model_config = shown({"accesses": [{"at": "2026-11-23T14:05:09.123456Z", "role": "compliance"}]})

    accesses: list[PersonalAccessAnswer]


_READING = (OF_A_WALLET, PersonalCode.PERSONAL_KEYS_OUTDATED, PersonalCode.PERSONAL_DATA_UNREADABLE)


@router.put(
    "",
    response_model=PersonalDataAnswer,
    summary="Give personal data",
    description="All of it is optional, and replaced whole: what is left out is gone. It is encrypted under "
    "a key of this person's alone, which is another one after each change. Legal name and registration "
    "number are for the business tier.",
    responses=problems(*_READING, WITH_BODY, PersonalCode.PERSONAL_DATA_TIER_NEEDED),
    openapi_extra=asks(PersonalDataRequest, example=_GIVEN),
)
async def give(request: Request) -> Response:
    """Have exactly this be the caller's personal data."""
    connections = connections_of(request)
    _fill(request)
    wallet = await wallet_of(request)
    asked = read(PersonalDataRequest, await request.body())
    texts = {each: getattr(asked, each.value) or "" for each in PersonalField}
    return _answer(await give_personal_data(connections.personal, wallet=wallet, texts=texts))


@router.get(
    "",
    response_model=PersonalDataAnswer,
    summary="Personal data",
    responses=problems(*_READING),
    openapi_extra=signed(or_token=True),
)
async def own_personal_data(request: Request) -> Response:
    """What the caller has told of themselves."""
    _fill(request)
    wallet = await wallet_read(request)
    return _answer(await connections_of(request).personal.read(wallet.person_id))


@router.delete(
    "",
    response_model=PersonalDataAnswer,
    summary="Erase personal data",
    description="The key is destroyed, and nothing opens without it. That it was erased, and when, stays.",
    responses=problems(OF_A_WALLET),
    openapi_extra=signed(),
)
async def erase(request: Request) -> Response:
    """Destroy the key of the caller's personal data."""
    _fill(request)
    wallet = await wallet_of(request)
    return _answer(await connections_of(request).personal.erase(wallet.person_id))


@router.get(
    "/accesses",
    response_model=PersonalAccessesAnswer,
    summary="Who looked at the personal data",
    description="Each time an officer of the bank did; it is written down before they see anything.",
    responses=problems(OF_A_WALLET),
    openapi_extra=signed(or_token=True),
)
async def accesses(request: Request) -> Response:
    """When officers looked at the caller's personal data."""
    pad_list(request, lines_max=LISTED_MAX, line_bytes=ACCESS_BYTES)
    wallet = await wallet_read(request)
    found = await accesses_of(connections_of(request).personal, wallet.person_id)
    lines = [PersonalAccessAnswer(at=instant_text(one.accessed_at), role=one.role) for one in found]
    return answered(PersonalAccessesAnswer(accesses=lines))


def _fill(request: Request) -> None:
    """The longest texts, each escaped, fit into this: an answer says nothing by its size."""
    pad_list(request, lines_max=1, line_bytes=STEP_BYTES)


def _answer(data: PersonalData) -> Response:
    texts = {each.value: data.texts.get(each) for each in PersonalField}
    return answered(
        PersonalDataAnswer(
            **texts,
            given_at=instant_text(data.given_at) if data.given_at is not None else None,
            erased_at=instant_text(data.erased_at) if data.erased_at is not None else None,
        )
    )
