"""Real servers on loopback that DVC remotes are tested against: ssh, S3 and WebDAV."""

import getpass
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import pytest


@dataclass
class Remote:
    """A DVC remote, and the way in by which a test looks at its objects and damages them.

    settings: of `dvc remote modify`; secrets: of `dvc remote modify --local`.
    wrong: the same as secrets, but refused; message: what DVC's error then says.
    keeps_cut_uploads: the server takes the first part of a file for the file, where a client dies.
    """

    url: str
    folder: Path | None
    settings: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    message: str = ""
    s3: object = None
    keeps_cut_uploads: bool = False

    def configure(self, repository) -> None:
        """Make this the repository's default remote, as docs/team.md tells a team to."""
        (repository.folder / ".dvc/config.local").unlink(missing_ok=True)
        repository.dvc("remote", "add", "--force", "--default", "team", self.url)
        for name, value in ({"verify": "true"} | self.settings).items():
            repository.dvc("remote", "modify", "team", name, value)
        self.add_secrets(repository, self.secrets)

    def add_secrets(self, repository, secrets: dict[str, str]) -> None:
        """Set what one person knows; git does not see it."""
        for name, value in secrets.items():
            repository.dvc("remote", "modify", "--local", "team", name, value)

    def objects(self) -> list[str]:
        """Return the names of what is stored, as below the remote's URL."""
        if self.s3:
            found = self.s3.list_objects_v2(Bucket="team").get("Contents", [])
            return [entry["Key"] for entry in found]
        return [str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file()]

    def move(self, repository) -> None:
        """Go on in an empty place on the same server, as docs/team.md advises after damage."""
        self.url = f"{self.url.rstrip('/')}/again"
        if self.url.startswith("webdav"):  # DVC makes no root folder there
            (self.folder / urlsplit(self.url).path.strip("/")).mkdir()
        repository.dvc("remote", "modify", "team", "url", self.url)

    def receiving(self, size: int, before: set[str]) -> bool:
        """Tell whether a large object is on its way: `size` bytes arrived, or any to S3."""
        if self.s3:
            return "Uploads" in self.s3.list_multipart_uploads(Bucket="team")
        new = (self.folder / name for name in set(self.objects()) - before)
        return any(path.is_file() and path.stat().st_size > size for path in new)

    def damage(self, name: str) -> None:
        """Change one byte of an object."""
        if self.s3:
            body = bytearray(self.s3.get_object(Bucket="team", Key=name)["Body"].read())
            body[len(body) // 2] ^= 1
            self.s3.put_object(Bucket="team", Key=name, Body=bytes(body))
        else:
            path = self.folder / name
            path.chmod(0o644)
            body = bytearray(path.read_bytes())
            body[len(body) // 2] ^= 1
            path.write_bytes(body)


@contextmanager
def folder_remote(folder: Path) -> Iterator[Remote]:
    yield Remote(url=str(folder / "store"), folder=folder / "store")


@contextmanager
def ssh_remote(folder: Path) -> Iterator[Remote]:
    """OpenSSH's own server as the user who runs the tests, with keys made for it."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if not sshd:
        pytest.skip("no sshd; install the package openssh-server")
    needs("dvc_ssh")
    for name in ("host", "user", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nUsePAM no\nSubsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:  # where sshd drops its privileges; the system's service makes it, too
        Path("/run/sshd").mkdir(exist_ok=True)
    with serving([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], port, folder):
        yield Remote(
            url=f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder}/store",
            folder=folder / "store",
            settings={"allow_agent": "false"},
            secrets={"keyfile": str(folder / "user")},
            wrong={"keyfile": str(folder / "stranger")},
            message="Permission denied",
        )


@contextmanager
def webdav_remote(folder: Path) -> Iterator[Remote]:
    needs("dvc_webdav", "wsgidav", "cheroot")
    port = free_port()
    (folder / "store").mkdir()
    password = token_hex(8)
    users = {"*": {"team": {"password": password}}}
    (folder / "wsgidav.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "port": port,
                "provider_mapping": {"/": str(folder / "store")},
                "simple_dc": {"user_mapping": users},
                "http_authenticator": {"accept_digest": False, "default_to_digest": False},
            }
        )
    )
    command = [sys.executable, "-m", "wsgidav.server.server_cli"]
    with serving([*command, "--config", str(folder / "wsgidav.json")], port, folder):
        yield Remote(
            url=f"webdav://127.0.0.1:{port}/",
            folder=folder / "store",
            secrets={"user": "team", "password": password},
            wrong={"user": "team", "password": "guess"},
            message="401|Unauthorized",
            keeps_cut_uploads=True,
        )


@contextmanager
def s3_remote(folder: Path) -> Iterator[Remote]:
    """moto's server with its checks of signatures and rights switched on."""
    needs("dvc_s3", "moto", "flask", "flask_cors")
    import botocore.session

    port = free_port()
    setting_up = {"INITIAL_NO_AUTH_ACTION_COUNT": "4"}
    with serving([sys.executable, "-m", "moto.server", "-p", str(port)], port, folder, setting_up):
        session = botocore.session.get_session()
        address = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
        anyone = {"aws_access_key_id": "-", "aws_secret_access_key": "-"}
        iam = session.create_client("iam", **address, **anyone)
        allowed = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.create_user(UserName="team")
        iam.put_user_policy(UserName="team", PolicyName="s3", PolicyDocument=policy)
        session.create_client("s3", **address, **anyone).create_bucket(Bucket="team")
        key = iam.create_access_key(UserName="team")["AccessKey"]
        names = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        own = {f"aws_{name}": value for name, value in names.items()}
        yield Remote(
            url="s3://team/dvc",
            folder=None,
            settings={"endpointurl": address["endpoint_url"], "region": "us-east-1"},
            secrets=names,
            wrong=names | {"secret_access_key": "guess"},
            message="Forbidden",
            s3=session.create_client("s3", **address, **own),
        )


REMOTES = {
    "folder": folder_remote,
    "ssh": ssh_remote,
    "s3": s3_remote,
    "webdav": webdav_remote,
}


def needs(*modules: str) -> None:
    for module in modules:
        if not importlib.util.find_spec(module):
            pytest.skip(f"no {module}; pip install -r tests/requirements.txt")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextmanager
def serving(command: list[str], port: int, folder: Path, settings: dict[str, str] | None = None):
    """Run a server until the block ends; it is up once it accepts connections."""
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | (settings or {}), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            for _ in range(300):
                assert server.poll() is None, (folder / "server.log").read_text()
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            else:
                raise AssertionError((folder / "server.log").read_text())
            yield
        finally:
            server.terminate()
            server.wait(10)
