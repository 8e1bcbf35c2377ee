"""Tables of identity: people, devices, enrolment codes, nonces seen, PINs and sessions.

Nothing here is personal data (identity.personal_models): a person is an id, a device is a public key, a
code is kept only as a hash.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, SmallInteger, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from foundation.database import Base


class Person(Base):
    """Somebody who owns devices and a wallet; known by nothing else."""

    __tablename__ = "identity_person"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class EnrolmentCode(Base):
    """A one-time right to enrol one device, for a new person or an existing one."""

    __tablename__ = "identity_enrolment_code"
    __table_args__ = (CheckConstraint("wrong_tries >= 0", name="wrong_tries_not_negative"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    selector: Mapped[str] = mapped_column(Text, unique=True)
    """First part of the code, by which it is found; not secret."""
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the whole code, whose secret part has 90 bits of entropy."""
    person_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("identity_person.id"))
    """Whose further device it enrols; null makes a new person."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    wrong_tries: Mapped[int] = mapped_column(SmallInteger)
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Device(Base):
    """A phone or computer: its public key, and whose it is. Only ``revoked_at`` ever changes."""

    __tablename__ = "identity_device"
    __table_args__ = (
        CheckConstraint("algorithm IN ('ed25519', 'ecdsa-p256-sha256')", name="algorithm_known"),
        Index("ix_identity_device_person_id", "person_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"))
    key_id: Mapped[str] = mapped_column(Text, unique=True)
    """RFC 7638 thumbprint of the key: what a signature names as ``keyid``."""
    algorithm: Mapped[str] = mapped_column(Text)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """Ed25519: 32 bytes; P-256: the uncompressed point, 65 bytes."""
    enrolment_code_id: Mapped[UUID] = mapped_column(
        Uuid, ForeignKey("identity_enrolment_code.id"), unique=True
    )
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class OfficerRow(Base):
    """A person who acts for the bank, as their roles allow (identity.roles).

    This opens the officers' routes and no more: the signer has its own list of officers
    and their keys, in a file that this database's writers cannot reach.
    """

    __tablename__ = "identity_officer"
    __table_args__ = (
        CheckConstraint(
            "roles <@ ARRAY['operator', 'support', 'compliance', 'treasury', 'auditor']::text[]",
            name="roles_known",
        ),
    )

    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    """Without any, an officer may do nothing."""
    appointed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    dismissed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Nonce(Base):
    """A nonce of a verified request, kept until its signature is too old anyway."""

    __tablename__ = "identity_nonce"
    __table_args__ = (Index("ix_identity_nonce_expires_at", "expires_at"),)

    device_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    nonce: Mapped[str] = mapped_column(Text, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PinRow(Base):
    """A person's two PINs. Where there is no duress PIN, its hash is of a secret that nobody knows."""

    __tablename__ = "identity_pin"

    person_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_person.id"), primary_key=True)
    real_hash: Mapped[str] = mapped_column(Text)
    """Argon2id, in PHC's form, of a MAC under the pepper."""
    duress_hash: Mapped[str] = mapped_column(Text)
    alarm_mark: Mapped[bytes] = mapped_column(LargeBinary)
    """A MAC that says, to who has the pepper, whether officers are to hear of a duress login."""
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PinTriesRow(Base):
    """How often a device was given a wrong PIN lately."""

    __tablename__ = "identity_pin_tries"
    __table_args__ = (CheckConstraint("wrong >= 0", name="wrong_not_negative"),)

    device_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_device.id"), primary_key=True)
    wrong: Mapped[int] = mapped_column(SmallInteger)
    last_wrong_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SessionRow(Base):
    """A login of a device; which wallet it opens can be read with the pepper only."""

    __tablename__ = "identity_session"
    __table_args__ = (Index("ix_identity_session_device_id", "device_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    device_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("identity_device.id"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """SHA-256 of the token, which has 256 bits of entropy."""
    view_mark: Mapped[bytes] = mapped_column(LargeBinary)
    """A MAC over the session's id and what it opens."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
