"""Settings: what is taken, what overrides what, and what a fault says."""

import tomllib
from pathlib import Path

import pytest

from proxy.settings import MASK, Address, Settings, load, without_password
from proxy.settings.validation import SettingsError
from proxy.version import VERSION

ROOT = Path(__file__).parent.parent.parent
TOKEN = "0123456789abcdef"
DSN = "postgresql://shadow:secret@localhost:5432/postgres"
CLUSTER = "abc123.dsql.eu-west-1.on.aws"


def written(folder: Path, text: str) -> Path:
    path = folder / "crossfade.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(text: str, folder: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(written(folder, text), environ or {})
    return list(caught.value.problems)


def test_nothing_set_gives_the_defaults() -> None:
    settings = load(None, {})
    assert settings == Settings()
    assert settings.listen == Address("127.0.0.1", 8000)
    assert settings.admin.listen == Address("127.0.0.1", 8001)
    assert settings.stage == "off"
    assert not settings.follow_tables


def test_a_file_is_read_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    settings = load(
        written(
            tmp_path,
            f"""
            listen = "[::1]:9000"
            mappings = ["billio.toml", "/etc/other.toml"]
            [dsql]
            dsn = "{DSN}"
            timeout_seconds = 2
            [journal]
            path = "state/journal.sqlite"
            synchronous = "full"
            [mirror.breaker]
            failures = 3
            [tables.items]
            stage = "dualwrite"
            types.Book.stage = "shadow"
            """,
        ),
        {},
    )
    assert settings.listen == Address("::1", 9000)
    assert settings.mappings == (tmp_path / "billio.toml", Path("/etc/other.toml"))
    assert settings.journal.path == tmp_path / "state/journal.sqlite"
    assert settings.dsql.timeout_seconds == 2.0
    assert settings.mirror.breaker.failures == 3
    assert settings.stage_of("items") == "dualwrite"
    assert settings.stage_of("items", "Book") == "shadow"
    assert settings.stage_of("items", "TvSeason") == "dualwrite"
    assert settings.stage_of("other", "Book") == "off"


def test_variables_override_the_file(tmp_path: Path) -> None:
    settings = load(
        written(tmp_path, 'listen = "127.0.0.1:1"\nfollow_tables = false\n[mirror]\nqueue = 5\nconcurrency = 7\n'),
        {
            "CROSSFADE_LISTEN": "127.0.0.1:2",
            "CROSSFADE_ADMIN__LISTEN": "localhost:3",
            "CROSSFADE_DYNAMODB__ENDPOINT_URL": "http://127.0.0.1:4566",
            "CROSSFADE_DYNAMODB__REGION": "eu-west-1",
            "CROSSFADE_DSQL__DSN": DSN,
            "CROSSFADE_STAGE": "shadow",
            "CROSSFADE_FOLLOW_TABLES": "true",
            "CROSSFADE_JOURNAL__PATH": "journal.sqlite",
            "CROSSFADE_MAPPINGS": "one.toml, two.toml",
            "CROSSFADE_MIRROR__QUEUE": "9",
            "CROSSFADE_DSQL__TIMEOUT_SECONDS": "0.5",
            "CROSSFADE_TABLES__My-Table__TYPES__Book__STAGE": "off",
            "UNRELATED": "x",
        },
    )
    assert settings.listen.port == 2
    assert settings.admin.listen == Address("localhost", 3)
    assert settings.dynamodb.endpoint_url == "http://127.0.0.1:4566"
    assert settings.dynamodb.region == "eu-west-1"
    assert settings.follow_tables
    assert settings.journal.path == Path("journal.sqlite")
    assert settings.mappings == (Path("one.toml"), Path("two.toml"))
    assert (settings.mirror.queue, settings.mirror.concurrency) == (9, 7)
    assert settings.dsql.timeout_seconds == 0.5
    assert settings.stage_of("My-Table", "Book") == "off"
    assert settings.stage_of("my-table", "Book") == "shadow"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lisen = "x"', ["lisen", "did you mean listen?"]),
        ("[miror]\nqueue = 1", ["miror", "did you mean mirror?"]),
        ("[mirror]\nqeue = 1", ["mirror.qeue", "did you mean queue?"]),
        ("[mirror]\nqueue = 0", ["mirror.queue", "0 is out of range", "1 to 1000000"]),
        ("[mirror]\nqueue = true", ["mirror.queue", "a whole number", "True"]),
        ('[dsql]\ntimeout_seconds = "5"', ["dsql.timeout_seconds", "a number"]),
        ('follow_tables = "yes"', ["follow_tables", "true or false"]),
        ('mappings = "billio.toml"', ["mappings", "a list of texts"]),
        ("mappings = [1]", ["mappings", "a path"]),
        ('listen = "8000"', ["listen", "127.0.0.1:8000"]),
        ('listen = "::1:8000"', ["listen", "[::1]:8000"]),
        ('listen = "127.0.0.1:70000"', ["listen", "is not an address"]),
        ("listen = 8000", ["listen", "a text"]),
        ("[listen]\nport = 1", ["listen", "not a table"]),
        ("admin = 1", ["admin", "a table"]),
        ('stage = "shaddow"', ["stage", "off, dualwrite, shadow"]),
        ('[tables.items.types.Book]\nstaeg = "off"', ['tables."items".types."Book".staeg', "did you mean stage?"]),
        ('stage = "shadow"', ["needs the mirror", "CROSSFADE_DSQL__DSN"]),
        ('[tables.items.types.Book]\nstage = "dualwrite"', ["needs the mirror"]),
        (
            '[items]\nlisten = "127.0.0.1:8002"\n[auth]\nmode = "sigv4"\n[auth.keys.A]\nsecret_access_key = "s"',
            ["items.listen", "items.write_token_file"],
        ),
        ('[dsql]\ndsn = "localhost"', ["dsql.dsn", "postgresql://"]),
        ("[dsql]\npool_min = 9\npool_max = 2", ["dsql", "pool_min (9) is above pool_max (2)"]),
        (f'[dsql]\nendpoint = "{CLUSTER}"\ndsn = "{DSN}"', ["dsql", "endpoint and dsn both"]),
        ('[dsql]\nendpoint = "db.internal"', ["dsql", "db.internal names no region", "set region"]),
        (f'[dsql]\nendpoint = "https://{CLUSTER}"', ["dsql.endpoint", "is not a cluster's endpoint", "host name"]),
        (f'[dsql]\ndsn = "{DSN}"\nprofile = "x"', ["dsql", "profile goes with endpoint"]),
        ('[dsql]\nregion = "us-east-1"', ["dsql", "region goes with endpoint"]),
        (f'[dsql]\nendpoint = "{CLUSTER}"\nrole_arn = "crossfade"', ["dsql.role_arn", "arn:aws:iam::"]),
        (f'[dsql]\nendpoint = "{CLUSTER}"\nuser = ""', ["dsql.user", "empty"]),
        ("[dsql]\nconnect_rate = 0", ["dsql.connect_rate", "out of range"]),
        ('[dynamodb]\nendpoint_url = "localhost:8000"', ["dynamodb.endpoint_url", "http(s)://host:port"]),
        ('[dynamodb]\naccess_key_id = "a"', ["dynamodb", "set both"]),
        ('[dynamodb]\nsession_token = "a"', ["dynamodb", "access_key_id"]),
        ('[admin]\nlisten = "0.0.0.0:8001"', ["admin", "operator_token_file", "insecure = true"]),
        ('[admin]\nlisten = "127.0.0.1:8000"', ["listen and admin.listen are both 127.0.0.1:8000"]),
        ('[admin]\nread_token = "short"', ["admin.read_token", "16 or more"]),
        ('[admin]\nread_token = "with a space in the middle"', ["admin.read_token", "visible ASCII"]),
        (f'[admin]\nread_token = "{TOKEN}"\noperator_token = "{TOKEN}"', ["admin", "are the same"]),
        (f'[admin]\nread_token = "{TOKEN}"\nread_token_file = "x"', ["admin", "remove one of them"]),
        ('[admin]\ntls_cert = "cert.pem"', ["admin", "tls_cert and tls_key belong together"]),
        ("[gate]\nmax_mismatch = 1", ["gate.max_mismatch", "there is no such setting", "max_mismatch_rate"]),
        ("[gate]\nmax_mismatch_rate = 2.0", ["gate.max_mismatch_rate", "out of range"]),
        ('[gate]\nadvisory = ["agrement"]', ["gate.advisory", "did you mean agreement?"]),
        ('[gate]\nadvisory = ["door"]', ["gate.advisory", "is not known"]),
        ('listen = "0.0.0.0:8000"', ["0.0.0.0:8000", "sigv4", "CROSSFADE_AUTH__INSECURE=true"]),
        ('listen = "proxy.internal:8000"', ["proxy.internal:8000", "AWS credentials"]),
        ('[auth]\nmode = "sigv5"', ["auth.mode", "none, sigv4"]),
        ('[auth]\nmode = "sigv4"', ["auth", "CROSSFADE_AUTH__KEYS__ACCESS_KEY_ID__SECRET_ACCESS_KEY"]),
        ('[auth.keys.A]\nsecret_access_key = "s"', ["auth", 'set mode = "sigv4"']),
        ('[auth]\nmode = "sigv4"\n[auth.keys.A]', ['auth.keys."A"', "secret_access_key_file"]),
        ('[auth]\nmode = "sigv4"\n[auth.keys.A]\nsecret_access_key = ""', ['auth.keys."A"', "empty"]),
        (
            '[auth]\nmode = "sigv4"\n[auth.keys.A]\nsecret_access_key = "s"\nsecret_access_key_file = "f"',
            ['auth.keys."A"', "either"],
        ),
        ('[auth]\nmode = "sigv4"\n[auth.keys."A/B"]\nsecret_access_key = "s"', ["auth", "'A/B'"]),
        ('tls_cert = "a.pem"', ["tls_cert and tls_key", "set both"]),
        ('[log]\nlevel = "loud"', ["log.level", "debug, info, warning, error"]),
        ("listen = [", ["this is not TOML"]),
    ],
)
def test_a_fault_names_its_place_and_its_remedy(text: str, said: list[str], tmp_path: Path) -> None:
    (problem,) = problems(text, tmp_path)
    assert problem.startswith(str(tmp_path / "crossfade.toml"))
    for part in said:
        assert part in problem


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CROSSFADE_LISEN", "x", "did you mean CROSSFADE_LISTEN?"),
        ("CROSSFADE_MIRROR__QEUE", "1", "did you mean CROSSFADE_MIRROR__QUEUE?"),
        ("CROSSFADE_STAGEE", "off", "did you mean CROSSFADE_STAGE?"),
        ("CROSSFADE_MIRROR__QUEUE", "many", "a whole number"),
        ("CROSSFADE_MIRROR__QUEUE", "0", "1 to 1000000"),
        ("CROSSFADE_FOLLOW_TABLES", "1", "true or false"),
        ("CROSSFADE_MIRROR", "1", "a group of settings"),
        ("CROSSFADE_LISTEN__PORT", "1", "LISTEN has no levels below it"),
        ("CROSSFADE_TABLES__", "1", "no level ''"),
    ],
)
def test_a_fault_in_a_variable_names_the_variable(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {variable: value})
    (problem,) = caught.value.problems
    assert problem.startswith(variable)
    assert said in problem


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    found = problems('lisen = "x"\n[mirror]\nqueue = 0\n', tmp_path, {"CROSSFADE_LOG__LEVEL": "loud"})
    assert len(found) == 3


def test_a_file_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(Path("/nonexistent/crossfade.toml"), {})


def test_an_insecure_admin_address_can_be_asked_for(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[admin]\nlisten = "0.0.0.0:8001"\ninsecure = true\n'), {})
    assert not settings.admin.listen.loopback


def test_a_data_address_for_other_machines_can_be_asked_for(tmp_path: Path) -> None:
    anywhere = 'listen = "0.0.0.0:8000"\n'
    assert not load(written(tmp_path, anywhere), {"CROSSFADE_AUTH__INSECURE": "true"}).listen.loopback
    variables = {"CROSSFADE_AUTH__MODE": "sigv4", "CROSSFADE_AUTH__KEYS__AKID__SECRET_ACCESS_KEY": "hidden"}
    settings = load(written(tmp_path, anywhere), variables)
    assert settings.auth.keys["AKID"].secret_access_key == "hidden"


def test_files_of_keys_are_beside_the_settings(tmp_path: Path) -> None:
    text = """
        tls_cert = "tls/cert.pem"
        tls_key = "/etc/key.pem"
        [auth]
        mode = "sigv4"
        [auth.keys.A]
        secret_access_key_file = "a.secret"
        """
    settings = load(written(tmp_path, text), {"CROSSFADE_AUTH__KEYS__B__SECRET_ACCESS_KEY_FILE": "b.secret"})
    assert settings.tls_cert == tmp_path / "tls" / "cert.pem"
    assert settings.tls_key == Path("/etc/key.pem")
    assert settings.auth.keys["A"].secret_access_key_file == tmp_path / "a.secret"
    assert settings.auth.keys["B"].secret_access_key_file == Path("b.secret")


def test_a_token_opens_the_admin_port_to_other_machines(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[admin]\nlisten = "0.0.0.0:8001"\noperator_token_file = "secrets/token"\n'), {})
    assert settings.admin.guarded
    assert settings.admin.operator_token_file == tmp_path / "secrets/token"


def test_ports_that_the_system_gives_are_not_the_same(tmp_path: Path) -> None:
    assert load(written(tmp_path, 'listen = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n'), {}).listen.port == 0


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = load(
        written(
            tmp_path,
            f"""
            [dynamodb]
            access_key_id = "AKID"
            secret_access_key = "hidden-key"
            session_token = "hidden-token"
            [auth]
            mode = "sigv4"
            [auth.keys.AKID]
            secret_access_key = "hidden-client-key"
            [dsql]
            dsn = "{DSN}?sslmode=require&password=secret"
            [admin]
            read_token = "hidden-read-token"
            operator_token = "hidden-operator-token"
            """,
        ),
        {},
    )
    assert settings.dynamodb.secret_access_key == "hidden-key"
    for text in (repr(settings), str(settings.shown())):
        assert "hidden" not in text
        assert "secret@" not in text
        assert "password=secret" not in text
    assert settings.shown()["dsql"]["dsn"] == (
        f"postgresql://shadow:{MASK}@localhost:5432/postgres?sslmode=require&password={MASK}"
    )


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    (problem,) = problems('[dsql]\ndsn = "mysql://root:hunter2@db"\n', tmp_path)
    assert "hunter2" not in problem
    (problem,) = problems('[dynamodb]\nconnections = "hunter2"\n', tmp_path)
    assert "hunter2" not in problem


def test_a_password_less_address_is_left_alone() -> None:
    assert without_password("postgresql://admin@db:5432/postgres") == "postgresql://admin@db:5432/postgres"


@pytest.mark.parametrize(
    ("section", "region"),
    [
        (f'endpoint = "{CLUSTER}"', "eu-west-1"),
        (f'endpoint = "{CLUSTER}:5432"', "eu-west-1"),
        ('endpoint = "abc.dsql-fnh4.us-east-2.on.aws"', "us-east-2"),
        (f'endpoint = "{CLUSTER}"\nregion = "us-west-2"', "us-west-2"),
        ('endpoint = "db.internal"\nregion = "us-west-2"', "us-west-2"),
        (f'dsn = "{DSN}"', None),
    ],
)
def test_the_region_is_the_one_set_or_the_one_in_the_cluster_s_name(
    section: str, region: str | None, tmp_path: Path
) -> None:
    dsql = load(written(tmp_path, f"[dsql]\n{section}\n"), {}).dsql
    assert dsql.given
    assert dsql.region_of_endpoint == region


def test_the_example_settings_are_the_defaults(tmp_path: Path) -> None:
    example = ROOT / "config" / "crossfade.toml"
    commented = example.read_text(encoding="utf-8")
    assert load(example, {}).shown() | {"journal": None} == Settings().shown() | {"journal": None}
    # Every setting is shown, commented out, and what is shown would be taken.
    lines = [line[1:] for line in commented.splitlines() if line.startswith("#") and not line.startswith("# ")]
    taken = tomllib.loads("\n".join(lines))
    shown = Settings().shown()
    assert taken.keys() == shown.keys()
    for section in ("dynamodb", "journal", "mirror", "shutdown", "gate", "log"):
        assert taken[section].keys() == shown[section].keys()
    assert taken["dsql"].keys() | {"dsn"} == shown["dsql"].keys()  # it goes without an endpoint
    # A token, or the file that holds it.
    assert taken["admin"].keys() | {"read_token_file", "operator_token_file"} == shown["admin"].keys()
    assert taken["auth"].keys() | {"keys"} == shown["auth"].keys()
    load(written(tmp_path, "\n".join(lines)), {})


def test_the_version_is_the_package_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
