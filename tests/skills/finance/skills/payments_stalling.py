from muster.errors import PermanentError
from muster.skills import SkillContext, skill
from muster.skills.finance import PaymentProposal, Posting, Withdrawal, propose_payment, withdraw_payment
from support.bank import charge


@skill("stalling.pay")
def pay(postings: list[Posting], context: SkillContext) -> PaymentProposal:
    """As shipped."""
    return propose_payment(postings, context)


@skill("stalling.withdraw")
def withdraw(url: str, context: SkillContext) -> Withdrawal:
    """As shipped, in a process that stalls before it begins."""
    charge(url, "stalls")
    return withdraw_payment(context)


@skill("stalling.fail")
def fail() -> None:
    """Fails."""
    raise PermanentError("broken")
