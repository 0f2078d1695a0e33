"""Which names are secrets', in both directions: what is missed is stored for good, and what is wrongly hidden is lost.

The tables hold names as configuration files, forms and exports have them, in English and German. A change of the rule
shows here at once what it breaks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muster import redaction
from muster.database import Database
from muster.events.canonical import canonical
from muster.language import load_folder
from muster.redaction import REDACTED, may_hold_secrets, redact, redact_data
from muster.secret_words import ABOUT, WHICH, kind_of
from support.runs import Site

EXAMPLES = settings(max_examples=300, deadline=None)
KEY, CHOSEN = "k7Qx9fZZ12ab34", "Sommer2024!"
ENCODED = "Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg=="


def _names(text: str) -> list[str]:
    return text.split()


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins and ends without known secrets."""
    monkeypatch.setattr(redaction._known, "forms", ())


SURE = _names(
    """
    password PASSWORD Password passwd pwd DB_PWD passphrase passcode secret SECRET client_secret clientSecret
    CLIENT_SECRET app_secret webhook_secret signing_secret jwt_secret consumer_secret shared_secret
    oauth2_client_secret secret_key SECRET_KEY secret_key_base DJANGO_SECRET_KEY FERNET_KEY
    AIRFLOW__CORE__FERNET_KEY api_key apiKey APIKEY X-Api-Key xApiKey api-key openai_api_key STRIPE_API_KEY
    stripe.api.key api_keys private_key privateKey ssh_private_key private_key_pem private_key_passphrase
    access_key AWS_SECRET_ACCESS_KEY aws_secret_access_key_old master_key encryption_key signing_key
    shared_access_key Ocp-Apim-Subscription-Key access_token accessToken refresh_token id_token bearer_token
    X-Auth-Token csrf_token bot_token SLACK_BOT_TOKEN crm_token GITHUB_TOKEN sas_token token session_tokens
    POSTGRES_PASSWORD MYSQL_ROOT_PASSWORD spring.datasource.password smtp_password imap.password
    ldap_bind_password keystore_password truststorePassword PGPASSWORD redis_password proxy_password
    root_password admin_password user_password userPassword new_password password_confirmation passwordConfirm
    current_password password2 password_new password_hash password_for_crm smtp_pass SMTP_PASS smtppass dbpass
    db_pass userpass ftp_pass mailpass adminPass EMAIL_HOST_PASS user_pw dbpw guest_pw test_pw guestpw wlan_pw
    wifi_pass api_key_prod API_KEY_EU_2 api_key_test client_secret_value client_secret_staging passwort Passwort
    Kennwort kennwort db_kennwort datenbank_passwort Benutzerpasswort Datenbankpasswort E-Mail-Passwort
    WLAN-Passwort smtp_passwort passwort_neu passwort_alt passwort_wiederholen Passwort-Bestaetigung
    Einmalpasswort Initialpasswort Administratorkennwort mail_kennwort PASSWORT_TEST api_schluessel
    privater_schluessel API-Schlüssel wlan_schluessel WLAN-Schlüssel wifi_key wpa_key
    """
)
LABELS = [
    *(
        "New password",
        "Current password",
        "Confirm password",
        "Password:",
        "Password ",
        "Password *",
        "Password (repeat)",
    ),
    *(
        "(password)",
        "[password]",
        '"password"',
        "password\n",
        "* Password",
        "user[password]",
        "SMTP password",
        "API key",
    ),
    *("API key (prod)", "API key:", "Client secret:", "Private key", "Access token", "Neues Passwort", "Passwort *"),
    *("Passwort (Wiederholung)", "Passwort wiederholen", "Passwort für Mail", "Kennwort:", "Datenbank-Passwort *"),
    *("Password (min. 8 characters)", "Passwort (mind. 8 Zeichen)", "API-Schlüssel *", "Privater Schlüssel"),
]
IN_DOUBT = {
    CHOSEN: _names(
        """
    smtp_password_office db_password_hamburg password_admin password_root client_secret_acme
    webhook_secret_github password_at password_ch db_password_host db_password_backend password_store
    password_event passwordBerlin passwort_buero passwort_hamburg kennwort_zentrale smtp_pass_office
    db_pass_admin password_region password_zone password_user password_system
    psk wpa_psk wifiPsk WLAN_PSK ike_psk_office wlan_schluessel_gast
    pw_admin pw_office pass test_pass guest_pass acme_pass visitor_pass user_pw_office secret_acme
    """
    ),
    KEY: _names(
        """
    api_key_at api_key_de api_key_backend api_key_host api_key_store api_key_acme apikey_stripe api_key_vault
    api_key_customer1 api_key_md ssh_key_deploy private_key_data access_token_github github_token_bot
    token_slack token_github crm_token_acme private_key_json credentials google_credentials Cookie Set-Cookie
    Authorization openai_key AZURE_OPENAI_KEY deepl_key stripeKey consumer_key hmac_key decryption_key
    """
    ),
    ENCODED: _names("account_key AccountKey ACCOUNT_KEY storage_key storageKey app_key service_account_key"),
}
NONE = _names(
    """
    password_policy password_min_length passwordMinLength password_max_age password_expires_at
    password_changed_at password_reset_url password_reset password_hint password_history password_required
    password_strength password_score_max password_rules password_regex password_manager password_file
    password_field password_label password_status forgot_password_url secret_name secret_id secret_arn
    secret_path secret_version secret_count secret_ref secrets_manager client_secret_id client_secret_expires_at
    api_key_id apiKeyId api_key_name api_key_header api_key_count api_key_owner api_key_created api_key_quota
    access_key_id private_key_path private_key_file ssh_key_path ssh_key_fingerprint private_key_holder
    encryption_key_version encryption_key_algorithm signing_key_id token_limit token_count token_type token_url
    token_budget token_uri max_tokens input_tokens tokens token_usage total_tokens token_expires_in
    token_lifetime token_symbol next_page_token nextPageToken continuation_token sync_token lease_token
    fencing_token work_token public_key primary_key foreign_key sort_key partition_key idempotency_key key
    key_name keyboard cache_key object_key keywords monkey secretary secretariat author author_id authorized
    authorization_date authorisation cookie_policy cookie_consent cookies credentials_path passport
    passport_number bypass compass encompass passenger passage passive pass_rate pass_mark pass_through
    first_pass boarding_pass season_pass ski_pass monthly_pass mountain_pass day_pass boardingpass trespass
    passed passing bypass_cache passwortlaenge Passwortrichtlinie passwort_laenge passwort_richtlinie
    passwort_ablauf passwort_geaendert_am passwort_hinweis passwort_vergessen kennwort_alter reisepass Reisepass
    reisepass_nummer Reisepassnummer passnummer kompass engpass impfpass citypass Brennerpass gebirgspass
    Familienpass Kulturpass Sozialpass Studentenpass Skipass Bergpass Fahrpass passt passend passiv Passagier
    Passfoto Kontenschluessel kostenschluessel Verteilschluessel Umlageschlüssel Schlüsselnummer
    password_template password_mail_template passwort_vorlage password_group passwort_gruppe password_queue
    password_level secret_level password_hashing secret_scanning password_ticket password_tickets password_audit
    password_category password_training password_tool
    pins pinned pin_count shipping mapping spin GPIO_PIN_MODE psk_mode
    Steuerschluessel schluessel Stichwort Sekretariat Schlagwort Vorwort Fachwort Kundenkey Hauptschlüssel
    """
)
PLAIN = [
    *("Anna Berg", "anna", "vorhanden", "2026-11-22", "2026-11-22T10:00:00Z", "INV-2024-001", "Q4/2026"),
    *(
        "europe",
        "high",
        "strict",
        "see clause 7.2",
        "anna@example.com",
        "db1.example.com",
        "kv/crm2",
        "https://x.example/a1",
    ),
    *("<password>", "muster_crm", "yes", "12 months"),
    *("welcome_v2", "it-2fa", "it-support-l2", "aws-ssm1", "vs-nfd2", "aberg2", "anna.berg2", "iphone15", "Nr. 12"),
    *("invoices/2026/4711.pdf", "ACME-4711"),
]
WHOLE_NONE = [*NONE, "Forgot the date", "Password policy", "API key name", "Reisepass Nr."]


def _shapes(name: str, value: Any) -> list[Any]:
    """As records, rows, environments, headers and forms hold a name with its value."""
    return [
        {name: value, "zone": "eu"},
        [{"user": "anna", name: value}],
        {"deep": {"er": [{name: value}]}},
        {"env": [{"name": name, "value": value}]},
        {"env": [{"value": value, "key": name}]},
    ]


def test_the_tables_are_large_enough_to_say_something() -> None:
    assert len(set(SURE)) >= 120
    assert len(set(NONE)) >= 120
    assert not WHICH & ABOUT


@pytest.mark.parametrize("name", [*SURE, *LABELS])
def test_a_secrets_name_hides_whatever_stands_under_it(name: str) -> None:
    for value in ("horse", CHOSEN, KEY):
        for data in _shapes(name, value):
            assert value not in json.dumps(redact_data(data)), data
            assert may_hold_secrets(canonical(data)), data
            assert redact_data(redact_data(data)) == redact_data(data)


@pytest.mark.parametrize(("name", "value"), [(name, value) for value, names in IN_DOUBT.items() for name in names])
def test_under_a_name_in_doubt_the_value_decides(name: str, value: str) -> None:
    for data in [*_shapes(name, value), {"rows": [[name, value]]}, {"rows": [["a", "b"], (name, [value])]}]:
        assert value not in json.dumps(redact_data(data)), data
        assert may_hold_secrets(canonical(data)), data
    for word in PLAIN:
        assert redact_data({name: word}) == {name: word}


@pytest.mark.parametrize("name", ["pass", "Pass", "acme_pass", "Pass *"])
def test_a_pass_that_may_be_a_passport_keeps_its_number(name: str) -> None:
    assert redact_data({name: "C01X00T47"}) == {name: "C01X00T47"}
    assert redact(f"{name}: C01X00T47") == f"{name}: C01X00T47"
    assert redact_data({name: CHOSEN}) == {name: REDACTED}


@pytest.mark.parametrize("name", WHOLE_NONE)
def test_any_other_name_keeps_its_value(name: str) -> None:
    """Whatever it looks like."""
    values = (12, "horse", CHOSEN, "C01X00T47", "strict", "yes", *PLAIN)
    for value in values:
        for data in [*_shapes(name, value), {"rows": [[name, value]]}]:
            assert redact_data(data) == data, (name, value)


@pytest.mark.parametrize("name", [name for name in NONE if name not in ("key", "tokens")])
def test_any_other_name_keeps_its_value_in_a_text(name: str) -> None:
    for text in (
        f"{name}: C01X00T47",
        f"{name} = horse",
        json.dumps({name: CHOSEN, "zone": "eu"}),
        f"<{name}>{CHOSEN}</{name}>",
        json.dumps([[name, CHOSEN]]),
        yaml.safe_dump({name: CHOSEN, "rows": [[name, CHOSEN]]}),
    ):
        assert redact(text) == text


@pytest.mark.parametrize("name", [*SURE, *LABELS])
def test_a_secrets_name_is_found_in_a_text(name: str) -> None:
    for data in ({name: CHOSEN, "zone": "eu"}, [{"a": 1, name: CHOSEN}]):
        for text in (
            json.dumps(data, ensure_ascii=False),
            json.dumps({"body": json.dumps(data, ensure_ascii=False)}, ensure_ascii=False),
            json.dumps(data, indent=2, ensure_ascii=False),
        ):
            lines = json.dumps({"doc": f"user: anna\n{name}: {CHOSEN}\nzone: eu"}, ensure_ascii=False)
            assert not name.isascii() or not name.isidentifier() or "2024" not in redact(lines)
            if '"' in name or "\n" in name:
                continue
            assert "2024" not in redact(text), text
            assert may_hold_secrets(canonical({"text": text})), text


LINES = [
    # A list of things that a sentence names.
    'Anna: "Zugang (Laptop, Passwort): erledigt". Die Rechnung 4711 über 500 EUR, Anna\'s Ziel.',
    "Betroffene Daten (Name, E-Mail, Passwort): 3.000 Kunden. Frist: 72 h\nMeldung an: LfDI",
    "Leaked data (name, e-mail, password): 3,000 customers. The supplier's letter is attached.\nDeadline: 72 h",
    "Leaked: name, password: no findings. The auditor's notes follow.\nPage 2\nPage 3",
    "Fields (username, password): required",
    "Priority (password *): high",
    "Missing data (API key): ask the supplier",
    "Supplier audit (API key): 2 findings",
    "[reset-password]: https://example.com/2fa-reset",
    "See [api-key].\n\n[api-key]: ./keys.md\n[1]: x",
    "def login(user, password): return check(user, password)\n",
    "class A:\n    def __init__(self, user, password):\n        self.user = user\n",
    "Name, Passwort: folgt separat per Post. Bitte melden Sie sich bei Bert am Montag.",
    "Inhalt: Name, Passwort: siehe Anlage; Betrag 500 EUR; Frist 3. Mai",
    'Item "Victoria\'s Secret": 3 pcs',
    # Sentences behind a name, in any language.
    "Passwort: siehe Tresor",
    "Passwort: folgt",
    "Passwort: folgt\n  Ansprechpartner: Bert\n  Budget: 5000 EUR",
    "- Passwort: liegt bei Anna\n  Termin: Montag 10 Uhr\n- Laptop: da",
    "Passwort: ist abgelaufen!",
    "Passwort: R&D-Team, C#-Projekt und anna@example.com (bitte!)",
    "Passwort: muss 12 Zeichen haben",
    "Passwort: wird per SMS verschickt",
    "Passwort: geändert am 3. Mai",
    "Passwort: Herr Meier's Aufgabe\nRechnung: 500 EUR",
    "passwort: siehe Tresor",
    "Passwörter: bitte alle 90 Tage ändern",
    "Betreff: AW: Passwort: Termin",
    "Mot de passe: Password: envoyé par courrier",
    "Privater Schlüssel: Haus B, 2. Stock",
    "Lager, neue Passwörter: 200 Stück; Thema: Passwort: 2025 wird alles neu",
    "API-Schlüssel: liegt im Tresor",
    "Password: sent by SMS",
    "Password: min 12 characters",
    "Password: required",
    "Private key: left at reception",
]
SAID = [
    ("(Password): Sommer2024!", "(Password): {}"),
    ("Zugang (VPN, Passwort): Sommer2024! (bitte ändern)", "Zugang (VPN, Passwort): {} (bitte ändern)"),
    ("user[password]: Sommer2024!\nzone: eu", "user[password]: {}\nzone: eu"),
    ("Access (API key): k7Qx9fZZ12ab34 until May", "Access (API key): {} until May"),
    ("Passwort: ist jetzt Sommer2024! und gilt ab Mai", "Passwort: ist jetzt {} und gilt ab Mai"),
    ("Passwort: Sommer2024! gilt ab Mai", "Passwort: {} gilt ab Mai"),
    ("Name: anna, Passwort: Sommer2024! Bitte ändern", "Name: anna, Passwort: {} Bitte ändern"),
    ("Passwort: horse\n  Budget: 5000 EUR", "Passwort: {}\n  Budget: 5000 EUR"),
    ("Passwort: hunter!x (bis Mai)", "Passwort: {} (bis Mai)"),
    ("Das Passwort: hunter2 (bis Mai)", "Das Passwort: {} (bis Mai)"),
    ("**Password:** Sommer2024!", "**Password:** {}"),
    ("<b>Passwort:</b> Sommer2024!<br>", "<b>Passwort:</b> {}<br>"),
    ("Passwort: geheim", "Passwort: {}"),
    ("db_password: correct horse", "db_password: {}"),
    ("{user: anna, password: correct horse, zone: eu}", "{{user: anna, password: {}, zone: eu}}"),
    ("{user: anna, Passwort: geheim, zone: eu}", "{{user: anna, Passwort: {}, zone: eu}}"),
    (
        f"Protocol=https;AccountName=acme;AccountKey={ENCODED};Suffix=net",
        "Protocol=https;AccountName=acme;AccountKey={};Suffix=net",
    ),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nab\n-----END PGP PRIVATE KEY BLOCK-----\nrest", "{}\nrest"),
    ('{"note": "Setup (laptop, password): Sommer2024!", "n": 5}', '{{"note": "Setup (laptop, password): {}", "n": 5}}'),
    ('[["user", "anna"], ["X-Api-Key", 12]]', '[["user", "anna"], ["X-Api-Key", "{}"]]'),
]


@pytest.mark.parametrize("line", LINES)
def test_a_sentence_behind_a_secrets_name_stays(line: str) -> None:
    """Alone, in a longer text, and as JSON writes it within one: what stands behind it stays as well."""
    for text in (line, f"1. Dear Anna\n{line}\n2. The end, it's late.\n", f"- {line}\n- zone: eu\n"):
        for written in (text, json.dumps({"note": text, "n": 500}), json.dumps({"note": text}, ensure_ascii=False)):
            assert redact(written) == written
        assert redact_data({"note": text, "rows": [[1, text]]}) == {"note": text, "rows": [[1, text]]}


@pytest.mark.parametrize(("line", "clean"), SAID)
def test_of_a_sentence_only_what_looks_like_a_secret_goes(line: str, clean: str) -> None:
    clean = clean.format(REDACTED)
    for around in ("{}", "Dear Anna\n{}\nthe end, it's late"):
        text, shown = around.format(line), around.format(clean)
        assert redact(text) == shown
        assert redact(shown) == shown, "redacting twice is redacting once"
        assert may_hold_secrets(canonical({"text": text}))
        assert redact(redact(json.dumps({"text": text}))) == redact(json.dumps({"text": text}))


QUESTIONS = [
    [["I forgot my password", "Click on the link"], ["Where are you?", "In Kiel"]],
    [["How do I reset my password?", "Click"], ["What is an API key?", "A text"]],
    [["secret", "geheim"], ["token", "Zeichen"], ["house", "Haus"]],
    [["password", "Passwort"], ["user", "Benutzer"], ["API key", "Schlüssel"]],
    [["Passwort vergessen?", "Bitte melden"], ["Kennwort", "keyword"]],
    [["password", 12], ["token", 40]],
    {"I have forgotten the password": "Click"},
    {"What is a token?": "A sign"},
]


@pytest.mark.parametrize("data", QUESTIONS, ids=str)
def test_questions_and_glossaries_keep_their_answers(data: Any) -> None:
    assert redact_data(data) == data
    for text in (json.dumps(data), json.dumps({"a": json.dumps(data)}), repr(data), yaml.safe_dump(data)):
        assert redact(text) == text


@pytest.mark.parametrize("name", ["X-Api-Key", "db_password", "Password *", "password", "API key (prod)", "[token]"])
@pytest.mark.parametrize("hold", [lambda it: it, lambda it: [it], lambda it: ["zone", it]], ids=["text", "list", "two"])
def test_a_list_of_pairs_is_found_in_data_and_in_every_text(name: str, hold: Callable[[str], Any]) -> None:
    data = [["user", "anna"], [name, hold(KEY)]]
    tuples = (("user", "anna"), (name, hold(KEY)))
    assert KEY not in str(redact_data(data))
    assert KEY not in str(redact_data({"deep": [tuples]}))
    assert may_hold_secrets(canonical({"deep": data}))
    for text in (
        json.dumps(data),
        json.dumps(data, indent=2),
        json.dumps({"body": json.dumps(data)}),
        repr(data),
        repr(tuples),
        f"sent {tuples!r} to them",
        yaml.safe_dump(data),
        yaml.safe_dump(data, default_flow_style=True),
    ):
        assert KEY not in redact(text), text
        assert "anna" in redact(text)
        assert redact(redact(text)) == redact(text)
        assert may_hold_secrets(canonical({"text": text}))
        json_text = json.dumps(data)
        assert json.loads(redact(json_text))[0] == ["user", "anna"], "still JSON"


@pytest.mark.parametrize(
    "scheme", ["ApiKey", "Api-Key", "Bearer", "Basic", "Token", "DPoP", "SSWS", "DeepL-Auth-Key", "Hawk"]
)
def test_what_an_authorization_hands_over_is_hidden(scheme: str) -> None:
    for data in ({"Authorization": f"{scheme} abcdefghi"}, {"headers": [["Authorization", f"{scheme} abcdefghi"]]}):
        assert "abcdefghi" not in json.dumps(redact_data(data))
        assert "abcdefghi" not in redact(json.dumps(data))
        assert may_hold_secrets(canonical(data))
        assert may_hold_secrets(canonical({"text": json.dumps(data)}))
    if scheme.lower() not in ("bearer", "basic", "token"):
        assert redact(f"GET /\nAuthorization: {scheme} abcdefghi\nHost: x") == (
            f"GET /\nAuthorization: {scheme} {REDACTED}\nHost: x"
        )
    signed = {"authorization": 'Signature keyId="a",x="abcdefghi"'}
    assert redact_data(signed) == {"authorization": REDACTED}
    for said in ("Signature required", "digest approved"):
        assert redact_data({"authorization": said}) == {"authorization": said}
    prose = {"authorization": "given by Anna", "text": "Authorization: given yesterday, basic rules apply"}
    assert redact_data(prose) == prose


ODD = st.text("*:?!()[]{}<>\"'\\/|#.,;-_ \t\n\u00a0\x01§~", max_size=4)
PARTS = st.sampled_from(
    _names(
        """
    password Password secret api key API Key private client token access smtp pass pw db user cookie
    authorization credentials passwort kennwort schlüssel prod new office policy count for forgot my the reise
    passHolder PASSWORD2 X
    """
    )
)
ODD_NAMES = st.lists(st.tuples(ODD, PARTS), min_size=1, max_size=5).flatmap(
    lambda parts: ODD.map(lambda end: "".join(odd + part for odd, part in parts) + end)
)
HELD = st.sampled_from(["horse", CHOSEN, KEY, 12345, ["a", CHOSEN], {"a": KEY}, "Bearer x", "two words"])


@settings(max_examples=1500, deadline=None)
@given(
    name=ODD_NAMES,
    other=ODD_NAMES,
    value=HELD,
    shape=st.sampled_from(
        [
            lambda n, v, o: {n: v},
            lambda n, v, o: [{"a": 1, n: v}, {o: v}],
            lambda n, v, o: [[n, v]],
            lambda n, v, o: [["user", "anna"], [n, v]],
            lambda n, v, o: [[o, v], [n, [v]]],
            lambda n, v, o: {"name": n, "value": v},
            lambda n, v, o: {"Field name": n, "fieldValue": v, o: 1},
            lambda n, v, o: {o: {n: {"b": [v]}}},
            lambda n, v, o: {"header": n, "contents": [v]},
            lambda n, v, o: {"text": json.dumps({n: v})},
            lambda n, v, o: {"text": repr([(n, v), (o, v)])},
            lambda n, v, o: f"{n}: {v}\n{o} = {v}",
        ]
    ),
)
@example(name="password\t", other="api", value="horse", shape=lambda n, v, o: f"{n}: {v}\n{o} = {v}")
@example(name="Password ", other="a", value=CHOSEN, shape=lambda n, v, o: {n: v})
@example(name="Password *", other="a", value=CHOSEN, shape=lambda n, v, o: [[n, v]])
def test_whatever_a_name_hides_is_looked_at(
    name: str, other: str, value: Any, shape: Callable[[str, Any, str], Any]
) -> None:
    """The quick look that every event is given leaves no name out, however it is written."""
    data = shape(name, value, other)
    shown = redact_data(data)
    assert shown == json.loads(json.dumps(data)) or may_hold_secrets(canonical(data)), data


@EXAMPLES
@given(
    before=st.text("*:!)[]{}<>'/|#.,;-_ ", max_size=3),
    name=st.sampled_from(["password", "X-Api-Key", "clientSecret", "smtp_pass", "API key"]),
    behind=st.text("*:!)]}>'/|#.,;-_ ", max_size=3),
)
def test_punctuation_around_a_name_changes_nothing(before: str, name: str, behind: str) -> None:
    assert kind_of(before.replace(" ", "") + name + behind.replace(" ", "")) == kind_of(name)


def test_settings_and_defaults_are_judged_by_the_same_names(tmp_path: Path) -> None:
    folder = tmp_path / "include"
    (folder / "automations").mkdir(parents=True)
    steps = "steps:\n  - {id: one, notify: ops, text: x}\n"
    for names, value in ((SURE + LABELS, CHOSEN), *((names, value) for value, names in IN_DOUBT.items())):
        for name in names:
            quoted = json.dumps(name)
            text = f"automation: a\nsettings: {{{quoted}: {value}}}\n{steps}"
            (folder / "automations" / "a.yaml").write_text(text, encoding="utf-8")
            said = "\n".join(map(str, load_folder(folder).problems))
            assert "stored with every run" in said, name
            assert value not in said
    for name in WHOLE_NONE:
        text = f"automation: a\nsettings: {{{json.dumps(name)}: {CHOSEN}}}\n{steps}"
        (folder / "automations" / "a.yaml").write_text(text, encoding="utf-8")
        assert "stored with every run" not in "\n".join(map(str, load_folder(folder).problems)), name


def test_rows_and_forms_reach_the_log_without_secrets_and_questions_whole(
    tmp_path: Path, database: Database, dsn: str
) -> None:
    site = Site(tmp_path, database)
    rows = [{"User": "anna", "Password ": CHOSEN}]
    form = [["User *", "anna"], ["Password *", CHOSEN]]
    faq = [["I forgot my password", "Click on the link"], ["Reisepass", "C01X00T47"]]
    held = {"rows": rows, "form": form, "faq": faq}
    site.skills(
        "office",
        "from muster.skills import skill\n\n@skill('office.all')\ndef all_of_it() -> dict[str, list[object]]:\n"
        f"    'Reads a table, a form and questions.'\n    return {held!r}\n",
    )
    site.run(site.definition("automation: a\nsteps:\n  - {id: x, skill: office.all}\n"))
    with psycopg.connect(dsn) as connection:
        stored = connection.execute("SELECT data -> 'output' FROM events WHERE type = 'step.succeeded'").fetchall()
    ((output,),) = stored
    assert output["rows"] == [{"User": "anna", "Password ": REDACTED}]
    assert output["form"] == [["User *", "anna"], ["Password *", REDACTED]]
    assert output["faq"] == faq
