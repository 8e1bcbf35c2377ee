"""``nugpay receipt``: verify receipts without a network, and change the key under new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Receipts of payments, signed by the bank.")


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A receipt: its bytes, its text, or the API's answer.")],
    key: Annotated[Path, typer.Option("--key", help="The bank's keys: the answer of GET /v1/receipt_keys.")],
) -> None:
    """Say what a receipt states, if the bank has signed it; needs neither network nor bank."""
    from nugpay_client.errors import ReceiptRefused
    from nugpay_client.receipts import ReceiptKeys, verify_receipt

    from ops.errors import OperationError

    try:
        keys = ReceiptKeys.from_json(_content(key))
    except ValueError:
        raise OperationError(
            f"{key} holds no receipt keys", "Save the answer of GET /v1/receipt_keys as a file."
        ) from None
    try:
        found = verify_receipt(_receipt(_content(file)), keys)
    except ReceiptRefused as refusal:
        raise OperationError(f"not verified: {refusal}", "Ask whoever gave it to you for it again.") from None
    typer.echo(f"verified    signed with {found.key_id}")
    typer.echo(f"payment     {found.payment_id}")
    typer.echo(f"paid        {found.amount} {found.asset} by {found.payer} to {found.payee}")
    if found.fee is not None:
        typer.echo(f"fee         {found.fee} {found.asset}")
    typer.echo(f"at          {found.created_at.isoformat()}")
    if found.reference is not None:
        typer.echo(f"reference   {found.reference}")
    typer.echo("What was given back later, a receipt does not say.")


@app.command("rotate")
def rotate() -> None:
    """Sign receipts with another key from now on; what was signed before stays good."""
    from foundation.clock import SystemClock
    from ops.wiring import current_settings
    from wallets.receipt_keys import rotate_receipt_key

    keys = rotate_receipt_key(current_settings().receipt_keys_path, SystemClock())
    typer.echo(f"receipts are signed with {keys.key_id}; {len(keys.published) - 1} former keys stay listed")


def _content(path: Path) -> bytes:
    from ops.errors import OperationError

    try:
        return path.read_bytes()
    except OSError as error:
        raise OperationError(f"{path} cannot be read ({type(error).__name__})", "Name a file.") from None


def _receipt(content: bytes) -> bytes | str:
    """The receipt in a file, whichever way it was saved."""
    import json

    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        return content
    if text.startswith("{"):
        try:
            return str(json.loads(text)["receipt"])
        except (ValueError, KeyError):
            return text
    return text
