"""The keys that clients sign with, from the settings and the files that these name. Reads files, and nothing else."""

from proxy.settings import Auth
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.sigv4 import Credential


def client_keys(auth: Auth) -> tuple[Credential, ...]:
    """Every key of `[auth.keys]`. Raises SettingsError with all files that cannot be used."""
    keys: list[Credential] = []
    problems: list[str] = []
    for access_key_id, key in auth.keys.items():
        secret, file = key.secret_access_key, key.secret_access_key_file
        if file is not None:
            place = f'auth.keys."{access_key_id}".secret_access_key_file: {file}'
            try:
                secret = file.read_text(encoding="ascii").strip()
            except OSError as error:
                problems.append(f"{place}: {error.strerror or error}: give a file that this process may read")
                continue
            except UnicodeDecodeError:
                problems.append(f"{place}: this is no secret: put it there as its only line, in ASCII")
                continue
            if len(secret.split()) != 1:
                problems.append(f"{place}: put the secret there, as its only line")
                continue
        if secret is not None:  # the settings see to it that there is one or the other
            keys.append(Credential(access_key_id, secret))
    if problems:
        raise SettingsError(problems)
    return tuple(keys)
