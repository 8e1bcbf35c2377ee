"""Reserves: both books at the newest final block that was compared, for anybody."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chain.addresses import checksum
from chain.errors import ChainCode
from foundation.clock import SECOND_NS
from foundation.money import Money
from treasury.custody import decimal_units
from treasury.reconciliation import ItemKind
from treasury.reserves import Reserve, read_reserves
from wallet_api.connections import connections_of
from wallet_api.operations import problems
from wallet_api.wire import AmountAnswer, Answer, AssetText, TimeAnswer, answered, shown, time_text

router = APIRouter(tags=["public"])

UnitsAnswer = Annotated[
    str, Field(description="A decimal number at the token's own decimals.", examples=["1000250.000000"])
]


class ExplainedAnswer(Answer):
    """Part of the difference between the books, and what it is."""

    kind: ItemKind
    amount: Annotated[UnitsAnswer, Field(description="What the chain has more than the ledger; signed.")]


class ReserveAnswer(Answer):
    """One token's books."""

    asset: AssetText
    token: Annotated[str, Field(description="The token's contract. EIP-55 checksum.")]
    token_decimals: int
    block_number: Annotated[int, Field(description="The final block at which the books were compared.")]
    block_hash: str
    on_chain: Annotated[UnitsAnswer, Field(description="Sum of all custody addresses' balances there.")]
    hot: Annotated[UnitsAnswer | None, Field(description="Of on_chain: in the vault and at keys' addresses.")]
    deposit: Annotated[UnitsAnswer | None, Field(description="Of on_chain: at customers' deposit addresses.")]
    cold: Annotated[UnitsAnswer | None, Field(description="Of on_chain: at the cold addresses.")]
    in_ledger: Annotated[AmountAnswer, Field(description="The ledger's custody account.")]
    dust: Annotated[UnitsAnswer, Field(description="Held, and less than the ledger's smallest unit.")]
    explained: list[ExplainedAnswer]
    unexplained: Annotated[UnitsAnswer, Field(description="Chain minus ledger, dust and explained; signed.")]
    agrees: bool
    compared_at: TimeAnswer


class ReservesAnswer(Answer):
    """All tokens' books, and whether money comes in and goes out."""

    model_config = shown(
        {
            "chain_id": 31337,
            "vault": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "cold_addresses": ["0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb"],
            "withdrawals_stopped_since": None,
            "crediting_waits": False,
            "reserves": [
                {
                    "asset": "USDT",
                    "token": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
                    "token_decimals": 6,
                    "block_number": 1042,
                    "block_hash": "0x9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f",
                    "on_chain": "1000250.000000",
                    "hot": "400150.000000",
                    "deposit": "100.000000",
                    "cold": "600000.000000",
                    "in_ledger": "1000150.000000",
                    "dust": "0.000000",
                    "explained": [{"kind": "deposit_unbooked", "amount": "100.000000"}],
                    "unexplained": "0.000000",
                    "agrees": True,
                    "compared_at": "2026-11-23T14:05:09.123456Z",
                }
            ],
        }
    )

    chain_id: Annotated[int, Field(description="The EVM chain: EIP-155.")]
    vault: Annotated[str, Field(description="Where swept tokens lie. EIP-55 checksum.")]
    cold_addresses: Annotated[
        list[str],
        Field(description="Where tokens lie that need people to be brought back. EIP-55 checksums."),
    ]
    withdrawals_stopped_since: Annotated[
        TimeAnswer | None, Field(description="Null while withdrawals go on.")
    ]
    crediting_waits: Annotated[
        bool, Field(description="Whether deposits wait because two endpoints do not agree on what is final.")
    ]
    reserves: Annotated[
        list[ReserveAnswer], Field(description="Tokens that have been compared at least once.")
    ]


@router.get(
    "/reserves",
    response_model=ReservesAnswer,
    summary="Reserves",
    description="Open: not signed. Both books at the newest final block that was compared.",
    responses=problems(ChainCode.DEPLOYMENT_NOT_FOUND),
)
async def reserves(request: Request) -> Response:
    """Both books, as anybody may know them."""
    connections = connections_of(request)
    custody = connections.custody()
    async with connections.database.session() as session:
        found = await read_reserves(session, custody)
    stopped = found.trip.tripped_at if found.trip is not None else None
    return answered(
        ReservesAnswer(
            chain_id=found.chain_id,
            vault=checksum(found.vault),
            cold_addresses=[checksum(address) for address in found.cold_addresses],
            withdrawals_stopped_since=time_text(_ns(stopped.timestamp())) if stopped is not None else None,
            crediting_waits=found.hold is not None,
            reserves=[_answer(reserve) for reserve in found.reserves],
        )
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1_000_000) * (SECOND_NS // 1_000_000)


def _answer(reserve: Reserve) -> ReserveAnswer:
    books, decimals = reserve.books, reserve.token.decimals
    places = books.places
    return ReserveAnswer(
        asset=books.asset.code,
        token=checksum(reserve.token.address),
        token_decimals=decimals,
        block_number=books.block_number,
        block_hash=books.block_hash,
        on_chain=decimal_units(books.chain_units, decimals),
        hot=decimal_units(places.hot, decimals) if places is not None else None,
        deposit=decimal_units(places.deposit, decimals) if places is not None else None,
        cold=decimal_units(places.cold, decimals) if places is not None else None,
        in_ledger=Money(books.ledger_amount, books.asset).format(),
        dust=decimal_units(books.dust_units, decimals),
        explained=[
            ExplainedAnswer(kind=kind, amount=decimal_units(units, decimals))
            for kind, units in reserve.explained.items()
        ],
        unexplained=decimal_units(books.unexplained_units, decimals),
        agrees=books.agrees,
        compared_at=time_text(_ns(reserve.created_at.timestamp())),
    )
