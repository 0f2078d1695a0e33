import json
from urllib.request import Request, urlopen

from muster.skills import SkillContext, skill


@skill("bank.charge")
def charge(amount: int, context: SkillContext) -> int:
    """Charges as often as it is asked: the ledger keeps it to one."""

    def post() -> int:
        with urlopen(Request("BANK" + str(amount), method="POST")) as answer:
            return json.load(answer)

    return context.effect("charge", request={"amount": amount}).perform(post)
