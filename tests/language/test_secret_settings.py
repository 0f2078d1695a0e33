"""A secret never becomes part of a definition: it is refused where it stands, and nothing repeats it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from muster.language import load_folder

Write = Callable[[str, str], Path]

STEPS = "steps:\n  - {id: read, skill: office.read_letter, with: {uri: x}}\n"
SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"settings: {{smtp_password: {SECRET}}}\n{STEPS}", "2:27"),
        (f"settings:\n  crm:\n    X-Api-Key: {SECRET}\n{STEPS}", "4:16"),
        (f"settings: {{api_keys: [{SECRET}, b]}}\n{STEPS}", "2:23"),
        (f"settings: {{private_key: 12345}}\n{STEPS.replace('x}', SECRET + '}')}", "2:25"),
        (f"settings: {{smtp_pass: {SECRET}, api_key_id: {SECRET}-1}}\n{STEPS}".replace(f"{SECRET}-1", "k-1"), "2:23"),
        (f"settings: {{api_key_prod: {SECRET}}}\n{STEPS}", "2:26"),
        (f"settings: {{client_secret_value: {SECRET}}}\n{STEPS}", "2:33"),
        (f"settings: {{passwordNew: {SECRET}}}\n{STEPS}", "2:25"),
        (f"settings: {{env: [{{name: DB_PASSWORD, value: {SECRET}}}]}}\n{STEPS}", "2:45"),
        (f"settings: {{headers: [{{key: X-Api-Key, value: {SECRET}}}]}}\n{STEPS}", "2:46"),
        (f"settings: {{headers: [[X-Api-Key, {SECRET}]]}}\n{STEPS}", "2:34"),
        (f"settings: {{smtppass: {SECRET}}}\n{STEPS}", "2:22"),
        (f"settings: {{body: '<a><password>{SECRET}</password></a>'}}\n{STEPS}", "2:18"),
        (f"settings: {{place: 'https://anna:{SECRET}@example.com/'}}\n{STEPS}", "2:19"),
        (f"settings: {{dsn: 'host=db password={SECRET}'}}\n{STEPS}", "2:17"),
        (f"description: The key is sk-{SECRET}-{SECRET}.\n{STEPS}", "2:14"),
        ("steps:\n  - {id: read, operator: airflow.providers.x.Y, with: {auth: {token: " + SECRET + "}}}\n", "3:70"),
        ("steps:\n  - {id: read, skill: office.read_letter, with: {uri: 'Bearer Abc123Abc123Abc'}}\n", "3:55"),
        (f"inputs: {{password: {{type: string, default: {SECRET}}}}}\n{STEPS}", "2:44"),
        (f"inputs: {{api_key: {{type: string, enum: [a, {SECRET}]}}}}\n{STEPS}", "2:44"),
        (f"settings: {{command: 'mysql --password {SECRET} -u root'}}\n{STEPS}", "2:21"),
        (f"settings: {{args: [mysql, --password, {SECRET}]}}\n{STEPS}", "2:38"),
        (f"settings: {{wlan_schluessel: {SECRET}}}\n{STEPS}", "2:29"),
        (f"settings: {{dsn: 'psql password={SECRET} host=$HOST'}}\n{STEPS}", "2:17"),
        (f"settings: {{who: \"{{{{ 'sk-{SECRET}-{SECRET}' }}}}\"}}\n{STEPS}", "2:17"),
    ],
)
def test_a_secret_in_an_automation_is_refused_where_it_stands(site: Path, write: Write, text: str, where: str) -> None:
    write("automations/a.yaml", "automation: a\n" + text)
    catalogue = load_folder(site)
    assert catalogue.definitions == {}
    assert f"include/automations/a.yaml:{where}" in [problem.where for problem in catalogue.problems]
    said = "\n\n".join(map(str, catalogue.problems))
    assert "Airflow connection" in said
    assert SECRET not in said
    assert "Abc123" not in said


def test_a_secret_in_a_shared_file_stops_what_would_hold_it(site: Path, write: Write) -> None:
    write("automations/x/_defaults.yaml", f"settings: {{crm_token: {SECRET}}}\n")
    write("automations/x/a.yaml", f"automation: a\n{STEPS}")
    write("automations/b.yaml", f"automation: b\n{STEPS}")
    catalogue = load_folder(site)
    assert list(catalogue.definitions) == ["b"]
    assert [problem.where for problem in catalogue.problems] == ["include/automations/x/_defaults.yaml:1:23"]
    write("settings.yaml", f"inbox: /srv\nsmtp_password: {SECRET}\n")
    catalogue = load_folder(site)
    assert catalogue.definitions == {}
    assert "include/settings.yaml:2:16" in [problem.where for problem in catalogue.problems]
    assert SECRET not in "\n".join(map(str, catalogue.problems))


def test_a_secret_in_an_agents_file_is_refused(site: Path, write: Write) -> None:
    write(
        "agents/more.yaml",
        f"department: more\nagents:\n  - {{id: b, role: r, instructions: 'Use sk-{SECRET}-{SECRET}.'}}\n",
    )
    write("automations/a.yaml", "automation: a\nsteps:\n  - {id: one, agent: b, ask: x}\n")
    catalogue = load_folder(site)
    assert catalogue.definitions == {}
    assert "include/agents/more.yaml:3:36" in [problem.where for problem in catalogue.problems]


def test_names_and_words_about_secrets_are_no_secrets(site: Path, write: Write) -> None:
    write(
        "automations/a.yaml",
        """
        automation: a
        description: |
          Resets a password, and tells people so.
          Password: the one they chose. Token: see the manual.
        inputs:
          api_key: { type: string, title: "The key: a text" }
        settings: { password_policy: strict, max_tokens: 500, token: 7, key: a, smtp_connection: smtp }
        steps:
          - id: read
            skill: office.read_letter
            with: { uri: "{{ inputs.api_key }}" }
          - id: call
            operator: airflow.providers.standard.operators.bash.BashOperator
            with: { bash_command: "true", env: { PASSWORD: "{{ inputs.api_key }}", has_password: true } }
        """,
    )
    assert [str(problem) for problem in load_folder(site).problems] == []


@pytest.mark.parametrize(
    "value",
    [
        "PGPASSWORD=$DB_PASS psql",
        "PASSWORD=${DB_PASS} x",
        'export API_KEY="$(cat /run/secrets/k)"',
        "mysql --password=$PW",
        "mysql --password $DB_PASS1 --user anna",
        "run --api-key <your-key-1> --private-key /run/keys/k7",
        "PASSWORD={{ run.id }} x",
        "https://x.example/?token={id}",
        "https://x.example/?token=<your-token>",
        "postgres://u:{password}@h/db",
        "postgres://u:$PASSWORD@h/db",
        "curl -H 'Authorization: Bearer $TOKEN1xTOKEN1x' https://x.example",
    ],
)
def test_what_says_where_a_secret_comes_from_is_none(site: Path, write: Write, value: str) -> None:
    quoted = value.replace("'", "''")
    write("automations/a.yaml", "automation: a\n" + STEPS.replace("x}", f"'{quoted}'}}"))
    write("settings.yaml", "command: '" + ("" if "{{" in value else quoted) + "'\n")
    assert [str(problem) for problem in load_folder(site).problems] == []


@pytest.mark.parametrize(
    "setting",
    [
        "password: false",
        "private_key: /run/secrets/key",
        "crm_token: crm_default",
        "smtp_password: $SMTP_PASSWORD",
        "api_key: <the key>",
        "vault_secret: {path: /kv/crm}",
        "credentials: muster_crm",
        "ssh_keys: 3",
        "private_key_holder: anna",
        "secret_shopper: {name: Anna Berg, level: high}",
    ],
)
def test_a_setting_that_is_no_secret_keeps_its_name(site: Path, write: Write, setting: str) -> None:
    write("settings.yaml", setting + "\n")
    write("automations/a.yaml", f"automation: a\n{STEPS}")
    assert [str(problem) for problem in load_folder(site).problems] == []


def test_examples_in_what_people_and_models_read_are_no_secrets(site: Path, write: Write) -> None:
    write(
        "agents/more.yaml",
        "department: more\nagents:\n  - {id: b, role: Finds token=abc, instructions: See password=abc.}\n",
    )
    write(
        "automations/a.yaml",
        "automation: a\ndescription: Call with ?token=YOUR_TOKEN\n"
        "steps:\n  - {id: one, agent: b, ask: Report lines such as token=abc}\n",
    )
    assert [str(problem) for problem in load_folder(site).problems] == []


def test_a_line_that_is_shown_for_another_mistake_carries_no_secret(site: Path, write: Write) -> None:
    write("automations/a.yaml", f"automation: a\npassword: {SECRET}\n{STEPS}")
    write("automations/b.yaml", f"automation: b\nsettings: {{api_key: {SECRET}]\n{STEPS}")
    said = "\n".join(map(str, load_folder(site).problems))
    assert "b.yaml" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "said", ["Sign in with password: Sommer2024!xyz", "API key: k7Qx9fZZ12ab", "Passwort: Winter2023!"]
)
@pytest.mark.parametrize("where", ["description", "title", "ask"])
def test_a_password_in_a_sentence_is_refused(site: Path, write: Write, where: str, said: str) -> None:
    asked = f"steps:\n  - {{id: a, human: {{ask: '{said}', assignees: [anna]}}}}\n"
    write(
        "automations/a.yaml",
        f"automation: a\n{asked}" if where == "ask" else f"automation: a\n{where}: '{said}'\n{STEPS}",
    )
    told = "\n".join(map(str, load_folder(site).problems))
    assert "looks like a secret" in told
    assert said.split(": ")[1] not in told


@pytest.mark.parametrize(
    "said",
    [
        "Passwort: 1Password, Eintrag Bank", "Passwort: Raum2.14, im Tresor", "Password: 2FA-protected, ask IT",
        "API key: Base64-encoded", "password: Office365 account", "Passwort: Anhang_A1", "Secret: #vault-channel",
        "Passwort: S4HANA-Zugang", "Secret: k8s-secret of the cluster", "token: ISO8601-timestamp",
        "Password: KeePass2-Datei", "Passwort: Microsoft365-Anmeldung", "Passwort: *Pflichtfeld*",
        "Password: AES256-encrypted in the vault", "Kennwort: mindestens12Zeichen", "API key: v2-Format",
        "API key: SHA256-Hash im Kopf", "Passwort: Vertrag2024-Anlage", "Passwort: §12-Regelung",
        "Password: ISO27001-compliant", "SELECT id FROM sessions WHERE token = %(token1)s",
        "UPDATE users SET password = %(hashed2)s WHERE id = %(id)s", "SELECT 1 FROM t WHERE token = :token1",
        "password: ask IT", "token: (none)", "the password reset e-mail", "Passwort: liegt bei Anna",
        "Password: see 1Password",
        "Password: at least 12 characters, e.g. one digit", "Token: OAuth2", "Password: none", "password: ********",
        "Password: changed on 2024-01-31", "password: see ticket INV-2024-001", "Password: use SSO (Azure AD)",
        "Call https://x.example/?token=abc123 for example", "Secret: do not tell anybody",
        "API key: rotate every 90 days",
        "Kennwort: per Post am 12.3.2026", "Password: same as Windows11", "Bearer token: see RFC6750",
        "password: vault:kv/crm", "Credentials: in the safe, room 2.14", "Wi-Fi password: printed on room sign B12",
    ],
)  # fmt: skip
def test_a_sentence_about_a_password_is_none(site: Path, write: Write, said: str) -> None:
    write("automations/a.yaml", f"automation: a\ndescription: '{said}'\n{STEPS}")
    assert [str(problem) for problem in load_folder(site).problems] == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM t WHERE api_key = @api_key",
        "select 1 from t where token = :token1",
        "UPDATE u SET password = crypt(%(given)s, gen_salt($$bf$$))",
        "SELECT 1 FROM t WHERE token=sha256(:given)",
        "SELECT 1 FROM a JOIN b ON a.token = b.sessionToken2",
    ],
)
def test_a_statement_that_names_a_column_is_none(site: Path, write: Write, sql: str) -> None:
    step = f'steps:\n  - {{id: a, skill: office.read_letter, with: {{uri: "{sql}"}}}}\n'
    write("automations/a.yaml", f"automation: a\n{step}")
    assert [str(problem) for problem in load_folder(site).problems] == []


def test_a_statement_that_holds_a_key_is_refused(site: Path, write: Write) -> None:
    sql = f"SELECT 1 FROM t WHERE token = '{SECRET}'"
    write(
        "automations/a.yaml",
        f'automation: a\nsteps:\n  - {{id: a, skill: office.read_letter, with: {{uri: "{sql}"}}}}\n',
    )
    assert "looks like a secret" in "\n".join(map(str, load_folder(site).problems))
