"""Refusals of bulk payments: of a file, of a line, of a release.

Members stand in the order in which they are checked. Somebody else's bulk payment is
refused as one that does not exist.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class BulkCode(RefusalCode):
    """Why a file is not taken, a line is wrong, or a bulk payment is not released."""

    BULK_TIER_NEEDED = "bulk_tier_needed"
    """Files are paid for businesses that the bank knows."""
    BULK_ENCODING_BROKEN = "bulk_encoding_broken"
    """The file is not UTF-8; the line is told."""
    BULK_FILE_MALFORMED = "bulk_file_malformed"
    """The file is no CSV with the header handle,amount,reference and a line below it; the line is told."""
    BULK_TOO_MANY_LINES = "bulk_too_many_lines"
    """The file has more lines than are paid at once."""
    BULK_LINE_MALFORMED = "bulk_line_malformed"
    """A line has not three cells, or a reference is too long or holds control characters."""
    BULK_CELL_FORMULA = "bulk_cell_formula"
    """A cell begins as a formula does, which a spreadsheet would run."""
    BULK_LINE_REPEATED = "bulk_line_repeated"
    """A line above says the same; another reference tells two payments apart."""
    BULK_ID_TAKEN = "bulk_id_taken"
    """The id belongs to something that is not this wallet's bulk payment."""
    BULK_ID_USED_DIFFERENTLY = "bulk_id_used_differently"
    """The id was used for another file or asset; the field that differs is named."""
    BULK_NOT_FOUND = "bulk_not_found"
    """There is no such bulk payment, or it is not this wallet's."""
    BULK_RELEASED_BY_MAKER = "bulk_released_by_maker"
    """The device that brought the file does not release it."""
    BULK_CANCELLED = "bulk_cancelled"
    """The bulk payment was cancelled, and is never released."""
    BULK_LINES_WRONG = "bulk_lines_wrong"
    """A file with a line that cannot be paid is not released."""
    BULK_RELEASED_DIFFERENTLY = "bulk_released_differently"
    """The release names another digest or total than the file has; the field that differs is named."""
    BULK_EXCEEDS_BALANCE = "bulk_exceeds_balance"
    """The available balance does not cover all lines and their fees; nothing was released."""
    BULK_EXCEEDS_LIMIT = "bulk_exceeds_limit"
    """The sum does not fit what is left of a limit; nothing was released."""
    BULK_RELEASED = "bulk_released"
    """The bulk payment was released, and is not cancelled any more."""
