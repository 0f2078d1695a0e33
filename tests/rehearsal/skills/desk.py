import os

import psycopg

from muster.errors import PermanentError
from muster.skills import SkillContext, skill

LEFT_OPEN: list[psycopg.Connection] = []


@skill("desk.open")
def open_desk(context: SkillContext) -> None:
    """Rooms, and no bookings."""
    with context.database.connection() as connection:
        connection.execute("CREATE SCHEMA desk")
        connection.execute("CREATE TABLE desk.rooms (number int)")
        connection.execute("INSERT INTO desk.rooms VALUES (3), (1), (2)")
        connection.execute("CREATE TABLE desk.bookings (key text PRIMARY KEY, number serial)")


@skill("desk.book")
def book(how: str, context: SkillContext) -> str:
    """Books once, finds nothing of another run, and does what it is told besides."""
    with context.database.connection() as connection:
        rooms = connection.execute("SELECT number FROM desk.rooms").fetchall()
        others = connection.execute("SELECT FROM desk.bookings WHERE key <> %s", (context.key,)).fetchall()
        if rooms != [(3,), (1,), (2,)] or others:
            raise PermanentError(f"Somebody was here: {rooms}, {others}.")
        connection.execute("INSERT INTO desk.bookings VALUES (%s) ON CONFLICT DO NOTHING", (context.key,))
        if how == "clears":
            connection.execute("DELETE FROM desk.rooms WHERE number > 1")
        if how == "drops":
            connection.execute("DROP SCHEMA desk CASCADE")
    if how == "dies":
        os._exit(7)
    if how == "hangs":
        LEFT_OPEN.append(psycopg.connect(context.database.dsn))
        LEFT_OPEN[-1].execute("INSERT INTO desk.rooms VALUES (4)")
    return how


@skill("desk.cross_out")
def cross_out(context: SkillContext) -> None:
    """Takes the booking back."""
    with context.database.connection() as connection:
        connection.execute("DELETE FROM desk.bookings WHERE key = %s", (context.undoes,))


@skill("desk.look")
def look() -> str:
    """Looks."""
    return "fine"
