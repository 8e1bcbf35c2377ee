"""Officers' devices at a terminal: a key file whose device is enrolled and not revoked."""

from __future__ import annotations

from nugpay_client import DeviceKey, key_id

from identity.devices import Device, DeviceDirectory, list_devices
from ops.errors import OperationError
from ops.wiring import Parts


async def enrolled_device(parts: Parts, key: DeviceKey) -> Device:
    """The device of a key. Raises ``OperationError`` where it is not enrolled, or was revoked."""
    device = await DeviceDirectory(parts.database).find(key_id(key.public_jwk))
    if device is None:
        raise OperationError("No enrolled device has this key", "Enrol it first: ./nugpay invite")
    async with parts.database.session() as session:
        for known in await list_devices(session, device.person_id):
            if known.id == device.id and known.revoked_at is not None:
                raise OperationError("This device was revoked", "Sign with one that is not.")
    return device
