import json
from urllib.request import Request, urlopen

from muster.recovery import NEVER_HAPPENED, Happened
from muster.skills import SkillContext, skill


def ask(name: str, run: str, method: str = "GET") -> int:
    with urlopen(Request("BANK" + name + "/" + run, method=method)) as answer:
        return json.load(answer)


def change(context: SkillContext, name: str, once: bool) -> None:
    def post() -> int:
        return ask(name, context.run, "POST")

    def find_out() -> object:
        return Happened() if ask(name, context.run) else NEVER_HAPPENED

    if once:
        context.effect(name, request=name, find_out=find_out).perform(post)
    else:
        post()


@skill("bank.pay")
def pay(context: SkillContext, once: bool = True) -> str:
    """Pays."""
    change(context, "paid", once)
    return "paid"


@skill("bank.refund")
def refund(context: SkillContext, once: bool = True, asks: bool = True) -> str:
    """Gives back what was paid, if it was."""
    if ask("paid", context.run) or not asks:
        change(context, "back", once)
    return "given back"


@skill("bank.balance")
def balance(context: SkillContext) -> int:
    """What the bank has of a run."""
    return ask("paid", context.run) - ask("back", context.run)


@skill("bank.send")
def send(context: SkillContext) -> str:
    """Sends what nobody can call back."""
    change(context, "sent", True)
    return "sent"


@skill("bank.letters")
def letters(context: SkillContext) -> int:
    """What was sent in a run."""
    return ask("sent", context.run)


@skill("bank.look")
def look() -> str:
    """Looks."""
    return "fine"
