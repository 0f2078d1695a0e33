"""What an e-mail address is, said once: to whoever reads an automation, and to whoever sends."""

from __future__ import annotations


def is_address(text: str) -> bool:
    """True for one e-mail address and nothing else, as in `office@example.com`."""
    from email.errors import HeaderParseError
    from email.headerregistry import Address

    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, HeaderParseError):
        return False
    return bool(address.username) and "." in address.domain.strip(".")
