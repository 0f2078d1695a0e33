import urllib.error
from email.message import Message

from muster.errors import ErrorClass, TransientError
from muster.skills import skill


@skill("retail.fail")
def fail(kind: str) -> str:
    """Fail."""
    if kind.isdigit():
        raise urllib.error.HTTPError("http://127.0.0.1/", int(kind), "no", Message(), None)
    raise TransientError("not now", error_class=ErrorClass(kind))
