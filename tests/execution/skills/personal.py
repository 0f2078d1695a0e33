from muster.skills import skill


@skill("people.read")
def read(number: int) -> dict:
    """Read."""
    return {"number": number, "people": [{"name": "Jane Roe", "role": "buyer"}, {"name": "John Roe", "role": "boss"}]}


@skill("people.greet")
def greet(who: str, at: str) -> str:
    """Greet."""
    return f"Hello {who} at {at}"


@skill("people.count")
def count(size: int) -> int:
    """Count."""
    return size + 1


@skill("people.fail")
def fail(text: str) -> str:
    """Fail."""
    raise ValueError(f"cannot take: {text}")
