from muster.skills import SkillContext, skill
from support.bank import charge as post


def paid(amount: int, context: SkillContext, memo: str) -> int:
    request = {"amount": amount, "memo": memo}
    return context.effect("charge", request=request).perform(lambda: post("BANK", "7"))


def lost() -> int:
    post("BANK", "7")
    raise ConnectionError("the answer was lost")


@skill("bank.charge")
def charge(amount: int, context: SkillContext, memo: str = "") -> int:
    """Charges."""
    return paid(amount, context, memo)


@skill("bank.total")
def total(amount: int, context: SkillContext, memo: str = "") -> int:
    """Charges, and works with what the bank said."""
    return 1000 + paid(amount, context, memo)
