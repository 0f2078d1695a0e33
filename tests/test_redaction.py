"""Promises of redaction: what this process knows or what looks like a secret reaches nothing that people read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from muster import redaction
from muster.agents.prompts import fence, request
from muster.database import Database
from muster.errors import PermanentError
from muster.events.canonical import canonical
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.payloads.base import RecordedError
from muster.notifications import Delivery, Notice, Sender
from muster.redaction import REDACTED, learn, learn_environment, learn_settings, may_hold_secrets, redact, redact_data
from support.runs import Site

SECRET = 'S3cret "horse" battery'
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins and ends without known secrets."""
    monkeypatch.setattr(redaction._known, "forms", ())


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET /x Authorization: Bearer abc123def456ghi789", f"GET /x Authorization: Bearer {REDACTED}"),
        ("authorization: basic dXNlcjpwYXNzdzByZA==", f"authorization: basic {REDACTED}"),
        ("key sk-proj-abcdefghijklmnop1234 was refused", f"key {REDACTED} was refused"),
        ("postgresql://app:hunter2@db.example/x", f"postgresql://app:{REDACTED}@db.example/x"),
        ("https://:tok@example.com", f"https://:{REDACTED}@example.com"),
        ("amqp://u:p@ss:w0rd@host/", f"amqp://u:{REDACTED}@host/"),
        ("https://hooks.slack.com/services/T000/B000/XXXX", f"https://hooks.slack.com/services/{REDACTED}"),
        ("xoxb-1234567890-abcdef", REDACTED),
        ("ghp_" + "a1" * 18, REDACTED),
        ("AKIAIOSFODNN7EXAMPLE", REDACTED),
        (f"token {JWT}!", f"token {REDACTED}!"),
        ("host=db password=hunter2 user=app", f"host=db password={REDACTED} user=app"),
        ("?api_key=abc&page=2", f"?api_key={REDACTED}&page=2"),
        ("?token=abc&page=2", f"?token={REDACTED}&page=2"),
        ('sent {"X-Api-Key": "hunter2", "n": 1}', f'sent {{"X-Api-Key": "{REDACTED}", "n": 1}}'),
        ("refused: {'X-Api-Key': b'hunter2', 'n': 1}", f"refused: {{'X-Api-Key': b'{REDACTED}', 'n': 1}}"),
        ('{"api_keys": ["a", "b]"], "n": 1}', f'{{"api_keys": "{REDACTED}", "n": 1}}'),
        ('{"body": "{\\"password\\": \\"hunt\\\\\\"er2\\"}"}', f'{{"body": "{{\\"password\\": \\"{REDACTED}\\"}}"}}'),
        ('cut off: {"password": "hunt', f'cut off: {{"password": "{REDACTED}'),
        ("user: anna\npassword: correct horse\nzone: eu", f"user: anna\npassword: {REDACTED}\nzone: eu"),
        ("api_keys:\n- a1\n- b2\nzone: eu", f"api_keys:{REDACTED}\nzone: eu"),
        ("private_key: |\n  one\n  two\nzone: eu", f"private_key: {REDACTED}\nzone: eu"),
        ("{user: anna, password: horse, zone: eu}", f"{{user: anna, password: {REDACTED}, zone: eu}}"),
        ("the wrong api key: k7-horse was sent", f"the wrong api key: {REDACTED} was sent"),
        ("user: anna\ntoken: hunter2-x\nzone: eu", f"user: anna\ntoken: {REDACTED}\nzone: eu"),
        ("Set-Cookie: sid=f00ba4b4z; Path=/\nzone: eu", f"Set-Cookie: {REDACTED}\nzone: eu"),
        ('{"credentials": "f00ba4b4z", "n": 1}', f'{{"credentials": "{REDACTED}", "n": 1}}'),
        ("Authorization: Token 0123456789abcdef", f"Authorization: Token {REDACTED}"),
        ("mysql --password hunter2-x -u root", f"mysql --password {REDACTED} -u root"),
        ("run --db-password 'correct horse 7' now", f"run --db-password '{REDACTED}' now"),
        ('["mysql", "--password", "hunter2-x", "-u"]', f'["mysql", "--password", "{REDACTED}", "-u"]'),
        ("run --api-key k7-horse; run --token abc123def.", f"run --api-key {REDACTED}; run --token {REDACTED}"),
        ("args:\n  - --password\n  - hunter2-x\n", f"args:\n  - --password\n  - {REDACTED}\n"),
        ("curl --cookie sid=f00ba4b4z --secret k7Qx9fZZ", f"curl --cookie {REDACTED} --secret {REDACTED}"),
        ("mysqldump -u root -phunter2-x db2 | gzip", f"mysqldump -u root -p{REDACTED} db2 | gzip"),
        ("sshpass -p 'hunter2-x' ssh -p 2222 host", f"sshpass -p '{REDACTED}' ssh -p 2222 host"),
        ("npm_" + "a1B" * 12, REDACTED),
        ("hf_" + "aBc" * 12, REDACTED),
        ("SG." + "a1B-c" * 4 + "." + "a1B_c" * 8, REDACTED),
        ("wpa_psk=hunter2horse zone=eu", f"wpa_psk={REDACTED} zone=eu"),
        ("wlan_schluessel: hunter2-x\nzone: eu", f"wlan_schluessel: {REDACTED}\nzone: eu"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", f"{REDACTED}\nrest"),
    ],
)
def test_what_looks_like_a_secret_is_redacted(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean, "redacting twice is redacting once"
    for around in ("{}", "first line\n{}", "tab\t{} \u00e9"):
        assert may_hold_secrets(canonical({"a": [around.format(text)]}))


@pytest.mark.parametrize(
    "text",
    [
        "Bearer of bad news: basic internationalisation is missing",
        "file:///srv/inbox/invoice.xml",
        "https://example.com:8080/path?page=2",
        "mail finance@example.com about task-force and disk-utilisation",
        "The password is in the safe.",
        "IBAN DE89370400440532013000, 1.234,56 EUR",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert not may_hold_secrets(canonical({"text": text, "uri": "file:///a.xml", "token": 7}))
    assert redact_data({"text": text, "input_tokens": 5, "token": 7}) == {"text": text, "input_tokens": 5, "token": 7}


@pytest.mark.parametrize(
    "text",
    [
        "Token: INV-2024-001",
        "- Token: INV-2024-001",
        "Voucher, token: INV-2024-001, paid",
        "the token: INV-2024-001 was paid",
        "Cookie: Oatmeal & Raisin 12 pcs",
        "Shared key: ring 12mm, qty 3",
        "Order:\n  Shared key: ring 12mm, qty 3\n  SSH key: management course 3 days",
        "Credentials: PhD, CPA",
        "is_secret: true",
        "Use <api_key> or <your-token> here, and nothing else.",
        "password_policy: strict-2",
        '{"name": "password", "type": "string", "note": "x9-horse"}',
        '{"key": "order", "value": "A1B2C3D4"}',
        "bypass: k7-horse",
        "include/muster/secret_names.py:14: error",
        "private_key_holder: anna",
        '{"secret_shopper": "Anna Berg", "secret_level": "high"}',
        '[["password", "reset", "link"], ["zone", "eu", "x"]]',
        'required: ["password", "email"]',
        "- - password\n  - reset\n  - link\n",
        "The option --password takes a text, --token is missing, --password PASSWORD",
        "Use --password, --token or --private-key ~/.ssh/id_2 and --password-file /run/k7",
        "ansible --private-key keys/deploy1.pem --secret id=npmrc,src=k7 --secret billing-2",
        "run --password $DB_PASS1 --token <token-1> --password ${X1} --password --user2",
        "ssh -p 2222 host; mkdir -p a/b1; docker run -p 80:80; mysql -p db2; sshpass -p prompts",
        "use mysql -pager less-2, mysql -P 3307",
        "npm_config_registry=x, hf_hub_download, SG.example.com, 8-PSK, psk_mode: wpa2",
        "PIN: 560001, pin: 4711 on the map; shipping: 4711",
    ],
)
def test_a_line_whose_name_has_other_meanings_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert redact_data({"text": text}) == {"text": text}
    assert redact(json.dumps({"text": text})) == json.dumps({"text": text})


@pytest.mark.parametrize(
    "data",
    [
        {"ssh_keys": 3, "access_keys": [1, 2], "tokens": 7},
        {"secret": True, "password": False},
        {"authorization": "12.5", "by": "anna"},
        {"authorization": {"approved_by": "anna", "amount": 5, "at": "2026-11-22T10:00:00Z"}},
        {"authorization": "2026-11-22T10:00:00Z"},
        {"credentials": ["PhD", "CPA"]},
        {"credentials": {"type": "service_account", "region": "europe-west1"}},
        {"cookie": "oat"},
        {"token_count": 5, "max_tokens": "5k7", "password_policy": "p-1a", "public_key": "ssh-ed25519 AA1b"},
        {"key_account": "K4711a", "first_pass": "k7-horse", "passport_number": "C01X00T47", "secretary": "a1-x"},
        {"token_symbol": "ETH", "password_reset_url": "https://example.com/a1b2", "api_key_id": "k7-horse"},
        {"name": "password", "type": "string"},
        {"field": "password", "error": "is too short"},
        {"name": "order", "value": "A1B2C3D4"},
        {"private_key_holder": "anna", "secret_shopper": "Anna Berg", "password_score": 87, "secret_level": "high"},
        {"trade_secret_clause": "Clause 7.2: nobody tells a competitor.", "password_score_text": "fair"},
        {"compass": "k7-north", "bypass": "k7-horse", "encompass": "a1-b2", "boardingpass": "k7-horse"},
        {"pin": 4711, "pins": "4711", "shipping": "4711", "pin_count": "4711", "PIN": "560001", "spin": "4711"},
        {"pin": "GPIO17", "modulation_psk": "QPSK", "args": ["--password", "--token", "text", "--secret", "billing-2"]},
        {"columns": ["password", "email"], "rows": [["password", "reset", "link"], ["zone", "eu", "x"]]},
        {"headers": [["Authorization", "12.5"], ["Accept", "text/plain"], ["X-Zone", "eu"]]},
    ],
)
def test_data_whose_names_have_other_meanings_stays_as_it_is(data: dict[str, object]) -> None:
    assert redact_data(data) == data


def test_what_looks_random_is_hidden_also_under_a_name_that_has_other_meanings() -> None:
    data = {"credentials": ["PhD", "f00ba4b4z"], "cookie": "sid=f00ba4b4z", "authorization": "Token f00ba4b4z"}
    clean = {"credentials": ["PhD", REDACTED], "cookie": REDACTED, "authorization": REDACTED}
    assert redact_data(data) == clean
    assert may_hold_secrets(canonical(data))


def test_what_stands_behind_an_option_in_a_list_of_words_is_hidden() -> None:
    data = {"args": ["mysql", "--password", "hunter2-x", "--api-key", "k7-horse", "-u", "root"]}
    assert redact_data(data) == {"args": ["mysql", "--password", REDACTED, "--api-key", REDACTED, "-u", "root"]}
    assert redact_data(redact_data(data)) == redact_data(data)
    assert may_hold_secrets(canonical(data))
    assert redact(json.dumps(data)) == json.dumps(redact_data(data))


def test_four_or_five_digits_under_the_name_of_a_pin_are_hidden() -> None:
    data = {"pin": "4711", "simPIN": "4711", "card-pin": "47110", "PIN (card)": "4711"}
    assert redact_data(data) == dict.fromkeys(data, REDACTED) | {"simPIN": "4711"}
    assert redact_data({"name": "pin", "value": "4711"}) == {"name": "pin", "value": REDACTED}
    assert may_hold_secrets(canonical({"pin": "4711"}))
    assert may_hold_secrets(canonical([["pin", "4711"]]))


@pytest.mark.parametrize(
    "name",
    [
        *("smtppass", "dbpass", "SMTPPASS", "smtppass2", "userpass", "db_pass", "dbpw", "db.password", "API_KEY_EU_2"),
        *("api_key_prod", "client_secret_value", "passwordNew", "private_key_pem", "DB_PASSWORD_EU_2", "password_hash"),
        *("passwordConfirm", "passwordForCrm", "api_key_for_acme_holder", "aws_secret_access_key_old", "api_key_a"),
    ],
)
def test_a_name_that_says_it_of_any_text_hides_a_plain_word(name: str) -> None:
    assert redact_data({name: "horse"}) == {name: REDACTED}
    assert redact(f"host=db {name}=horse user=app") == f"host=db {name}={REDACTED} user=app"
    assert may_hold_secrets(canonical({name: "horse"}))


def test_a_name_with_words_behind_it_that_nobody_thought_of_hides_what_looks_random() -> None:
    assert redact_data({"api_key_acme": "k7Qx9fZZ", "password_holder": "anna"}) == {
        "api_key_acme": REDACTED,
        "password_holder": "anna",
    }
    assert redact('{"api_key_acme": "k7Qx9fZZ"}') == f'{{"api_key_acme": "{REDACTED}"}}'


@pytest.mark.parametrize("scheme", ["Bearer", "basic", "Token"])
def test_headers_in_a_list_of_two_each_are_hidden_by_their_names(scheme: str) -> None:
    data = {"headers": [["Authorization", f"{scheme} x"], ("X-Api-Key", "horse"), ["Accept", "text/plain"]]}
    shown = [["Authorization", REDACTED], ["X-Api-Key", REDACTED], ["Accept", "text/plain"]]
    assert redact_data(data) == {"headers": shown}
    assert redact_data(shown) == shown
    for text in (json.dumps(data), repr(data), json.dumps({"body": json.dumps(data, indent=2)})):
        found = redact(text)
        assert "horse" not in found
        assert f"{scheme} x" not in found
        assert "text/plain" in found
        assert redact(found) == found
        assert may_hold_secrets(canonical({"text": text}))


def test_numbers_and_truth_values_under_names_that_sound_secret_reach_the_next_step(
    tmp_path: Path, database: Database
) -> None:
    site = Site(tmp_path, database)
    site.skills(
        "access",
        "from decimal import Decimal\nfrom pydantic import BaseModel\nfrom muster.skills import skill\n\n"
        "class Access(BaseModel):\n    ssh_keys: int\n    credentials: list[int]\n    secret: bool\n"
        "    authorization: Decimal\n\n"
        "@skill('access.of')\ndef of(who: str) -> Access:\n    'What somebody may open.'\n"
        "    return Access(ssh_keys=3, credentials=[1, 2], secret=True, authorization=Decimal('12.5'))\n\n"
        "@skill('access.count')\ndef count(n: int) -> int:\n    'Count.'\n    return n\n",
    )
    run = site.run(
        site.definition(
            "automation: tested\nsteps:\n  - {id: a, skill: access.of, with: {who: anna}}\n"
            "  - {id: b, when: '{{ steps.a.secret and steps.a.authorization > 5 }}', skill: access.count,"
            " with: {n: '{{ steps.a.ssh_keys }}'}}\n"
        )
    )
    assert site.state(run).step("b").output == 3


def test_a_known_secret_is_found_in_every_form_and_wherever_it_stands() -> None:
    learn(SECRET, "short", "postgres", None)
    assert redact(f"<{SECRET}>") == f"<{REDACTED}>"
    assert redact(json.dumps({"a": SECRET})) == f'{{"a": "{REDACTED}"}}'
    assert redact("https://x/?q=S3cret%20%22horse%22%20battery") == f"https://x/?q={REDACTED}"
    assert redact("a short word about postgres") == "a short word about postgres"
    assert redact("postgres://postgres:postgres@db/") == f"postgres://postgres:{REDACTED}@db/"
    assert redact_data({"a": [{SECRET: SECRET}]}) == {"a": [{REDACTED: REDACTED}]}


@pytest.mark.parametrize("quotes", [{}, {"'": "&apos;", '"': "&quot;"}, {"'": "&#39;", '"': "&quot;"}])
def test_so_it_is_in_an_answer_in_xml_or_html(quotes: dict[str, str]) -> None:
    learn("""Tr0ub4'dor&3<blue>"horse""")
    answer = escape("""<said>Tr0ub4'dor&3<blue>"horse</said>""", quotes)
    assert "ub4" not in redact(answer)
    assert "ub4" not in redact(json.dumps({"body": answer}))


def test_secrets_are_learned_from_settings_and_the_environment() -> None:
    learn_settings({"smtp_password": "settings-horse", "crm": {"token": "settings-token"}, "prices": "settings-plain"})
    learn_environment(
        {
            "AIRFLOW_CONN_A": "postgresql://u:uri%20horse@h/db?api_key=query-horse",
            "AIRFLOW_CONN_B": '{"conn_type": "x", "password": "json-horse", "extra": '
            '"{\\"api_key\\": \\"extra-horse\\"}"}',
            "MUSTER_DSN": "postgresql://u:dsn-horse@h/db",
            "CRM_API_KEY": "named-horse",
            "HOME": "/home/plain",
        }
    )
    for secret in ("settings-horse", "settings-token", "uri horse", "query-horse", "json-horse", "extra-horse"):
        assert redact(f"x {secret} x") == f"x {REDACTED} x", secret
    for secret in ("dsn-horse", "named-horse"):
        assert redact(secret) == REDACTED
    assert redact("settings-plain /home/plain") == "settings-plain /home/plain"


def test_only_what_is_secret_in_a_connection_is_learned_and_digits_only_as_a_whole_number() -> None:
    extra = {
        "credentials": {"type": "service_account", "region": "europe-west1", "id": "f00ba4b4z", "password": "a-b-c-d-e"}
    }
    learn_environment({"AIRFLOW_CONN_GCP": json.dumps({"conn_type": "x", "extra": extra}), "DB_PASSWORD": "20240115"})
    assert redact("service_account in europe-west1") == "service_account in europe-west1"
    assert redact("f00ba4b4z and a-b-c-d-e") == f"{REDACTED} and {REDACTED}"
    assert redact("IBAN DE8920240115000, 20240115") == f"IBAN DE8920240115000, {REDACTED}"


@pytest.mark.parametrize("many", [False, True])
def test_secrets_that_overlap_leave_nothing_of_each_other(many: bool) -> None:
    learn("correct-horse-battery", "horse-battery-staple", "horse-battery")
    learn(*[f"another-secret-{number}" for number in range(100 if many else 0)])
    assert redact("a correct-horse-battery-staple b horse-battery") == f"a {REDACTED} b {REDACTED}"


def test_no_secret_reaches_the_log_and_it_still_verifies(database: Database) -> None:
    learn(SECRET)
    log = EventLog(database)
    data = {
        "step": "read",
        "index": None,
        "epoch": 0,
        "error": {"class": "X", "message": f"refused {SECRET}"},
        "headers": {"password": "hunter2", "url": "ftp://a:b1@c/"},
        "large": [SECRET + "x" * 70_000],
    }
    (written,) = log.append("a/1", [NewEvent(type=EventType.STEP_FAILED, data=data)])
    with database.connection() as connection:
        stored = connection.execute("SELECT data::text FROM events").fetchall()
        stored += connection.execute("SELECT convert_from(content, 'UTF8') FROM objects").fetchall()
        stored += connection.execute("SELECT steps::text FROM steps").fetchall()
    text = " ".join(row[0] for row in stored)
    assert "battery" not in text
    assert "hunter2" not in text
    assert ":b1@" not in text
    assert text.count(REDACTED) >= 4
    assert written.data == next(iter(log.read("a/1"))).data, "the writer sees what every reader will see"
    assert log.verify("a/1") is None


def test_no_secret_reaches_a_described_error() -> None:
    learn(SECRET)
    described = RecordedError.of(ValueError(f"{'x' * 1_990} {SECRET}"))
    assert "S3cret" not in described.message, "not even the half that is left when a long message is cut"


def test_no_secret_reaches_a_prompt() -> None:
    learn(SECRET)
    assert "battery" not in request(f"Use {SECRET}", {"data": {"deep": [SECRET]}, "text": SECRET})
    assert "battery" not in fence({"deep": SECRET})


def test_no_secret_reaches_a_notice() -> None:
    learn(SECRET)
    notice = Notice(channel="email", target="a@example.com", key="k", subject=f"about {SECRET}", text=f"see {SECRET}")
    assert (notice.subject, notice.text) == (f"about {REDACTED}", f"see {REDACTED}")


def test_no_secret_reaches_why_a_notice_failed(database: Database) -> None:
    class Refusing:
        async def send(self, notice: Notice) -> Delivery:
            raise PermanentError(f"The relay refused {SECRET}.")

    learn(SECRET)
    sender = Sender(database, {"email": Refusing()})
    with pytest.raises(PermanentError):
        database.run(sender.send(Notice(channel="email", target="a@example.com", key="k", text="a")))
    assert [entry.error for entry in sender.outbox.entries()] == [f"PermanentError: The relay refused {REDACTED}."]


def test_no_secret_reaches_xcom() -> None:
    from muster_airflow.egress import shown

    learn(SECRET)
    assert shown({"a": SECRET}) == {"a": REDACTED}


def test_a_run_opened_when_settings_could_be_secret_shows_none_in_a_failure(tmp_path: Path, database: Database) -> None:
    site = Site(tmp_path, database)
    site.skills(
        "vault",
        "from muster.skills import skill\n\n"
        "@skill('vault.open')\ndef open_vault(key: str) -> str:\n"
        "    '''Fail.'''\n    raise ValueError(f'wrong: {key}')\n",
    )
    definition = site.definition(
        "automation: tested\nsettings: {vault_password: ''}\n"
        "steps:\n  - {id: one, skill: vault.open, with: {key: '{{ settings.vault_password }}'}}\n"
    )
    definition = definition.model_copy(update={"settings": {"vault_password": "hunter2-hunter2"}})
    run = site.open(definition)
    assert site.step(run, "one").reason == f"wrong: {REDACTED}"
    assert "hunter2" not in json.dumps([event.data for event in site.services.log.read(run)])


def test_looking_for_secrets_costs_little() -> None:
    """A bound far above what it takes, so that only a change of its kind, such as a slow pattern, fails."""
    learn(*[f"secret-number-{number}" for number in range(20)])
    text = json.dumps({"items": [{"uri": f"file:///in/{n}.xml", "total": "12.50"} for n in range(1_000)]})
    begun = time.process_time()
    for _ in range(20):
        may_hold_secrets(text)
    for hostile in ("a.", "a-", "eyJ-", "a://", "a://b:", "a_", "sk-", "xoxb-", "password ", "bearer ", "-----BEGIN "):
        redact(hostile * 20_000 + "://=k_live_eyJ PRIVATE KEY")
    assert time.process_time() - begun < 4


@pytest.mark.parametrize(
    "hostile",
    [
        "token: is a ",
        "password: is it ok\n",
        json.dumps("password: is it ok\n")[1:-1],
        json.dumps("token: 5\n")[1:-1],
        '"token: a b ',
        "x,token: 5,",
        "x, token: a b",
        "token:",
        "cookie: ",
        "cookie: [",
        '"cookie": "',
        "- token: is a ",
        "  token: |\n",
        '{"token": 5, "',
        '\\"token: 5 ',
        "token",
        "a_token",
        "<token>",
        "<token",
        "<password><token>",
        "&lt;cookie&gt;",
        "</token>",
        "<token>5</token>",
        "name: token ",
        'name="token" ',
        '[["token", "a ',
        '[["token", ',
        '["token", "a"], ',
        '[["password", "a", "b"], ',
        "- - token\n  - a b\n",
        "- - token\n",
        '"name": "token", "value": 5, ',
        'value="a", ',
        '"value": "a ',
        "<name>token</name>",
        "name: password\nvalue: is it ok\n",
        '[["token", ["a", ',
        '[["token", [[',
        "(('token', ('a', ",
        '"Password (a b) * ',
        '["Password (again) *", ',
        "password (a) (b) ",
        "_password_",
        "Authorization: a-key ",
        "Passwort: is es so ",
        "Passwort: a b\n",
        "x, Passwort: a b, ",
        "{password: a b, ",
        "(a, Passwort): a b ",
        "(Passwort): ",
        "account key: ",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        "--password ",
        "--password is ",
        "--password 'a ",
        '"--password", ',
        "--a_token\n - ",
        "--",
        "mysql -p ",
        "mysql -pa sshpass -p ",
        "npm_hf_SG.",
    ],
)
@pytest.mark.parametrize("around", ["{}", '{{"body": "{}"}}', "{}\\n{}"])
def test_twice_as_long_a_text_takes_about_twice_as_long(hostile: str, around: str) -> None:
    """A text of another hand must not stop the process that looks through it. Eight times the text is let take 24 times
    as long, where looking through all of it again for each of its words takes 64 times.
    """

    def took(times: int) -> float:
        text, best = around.format(hostile * times, hostile * times), float("inf")
        for _ in range(3):
            begun = time.thread_time()
            redact(text)
            may_hold_secrets(canonical({"text": text}))
            best = min(best, time.thread_time() - begun)
        return best

    assert took(2_400) < 24 * took(300) + 0.01


def test_many_known_secrets_cost_little_more_than_some() -> None:
    """A hundred times as many; a search for each of them takes a hundred times as long."""
    text = "Invoice line of some ordinary sort 12.50 EUR. " * 150

    def took() -> float:
        redact(text)
        best = float("inf")
        for _ in range(5):
            begun = time.thread_time()
            redact(text)
            best = min(best, time.thread_time() - begun)
        return best

    learn(*[f"aQ7-{number}-secret-of-many" for number in range(10)])
    some = took()
    learn(*[f"bQ7-{number}-secret-of-many" for number in range(1_000)])
    assert took() < 12 * some + 0.005
