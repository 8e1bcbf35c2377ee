"""Personal data of a wallet's owner: who may give which of it."""

from __future__ import annotations

from foundation.errors import Refusal
from identity.personal_data import OF_A_BUSINESS, PersonalData, PersonalField, PersonalRecords
from identity.personal_errors import PersonalCode
from wallets.tiers import Tier
from wallets.wallets import Wallet


async def give_personal_data(
    records: PersonalRecords, *, wallet: Wallet, texts: dict[PersonalField, str]
) -> PersonalData:
    """Have exactly these texts be the owner's. What nobody needs is not kept.

    Refused as ``personal_data_tier_needed`` or as ``PersonalRecords.give`` refuses.
    """
    if wallet.tier is not Tier.BUSINESS and any(texts.get(each) for each in OF_A_BUSINESS):
        raise Refusal(
            PersonalCode.PERSONAL_DATA_TIER_NEEDED,
            "Legal name and registration number are for businesses that the bank knows.",
        )
    return await records.give(wallet.person_id, texts)
