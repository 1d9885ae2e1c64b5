"""The texts that `deploy init` writes: README, systemd units, compose file."""

from collections.abc import Sequence

UNIT = """\
[Unit]
Description={description}
After=network-online.target
Wants=network-online.target

[Service]
User=fedpin
WorkingDirectory=/opt/fedpin
StateDirectory=fedpin
CacheDirectory=fedpin
Environment=FEDPIN_CACHE=/var/cache/fedpin
ExecStart=/opt/fedpin/.venv/bin/python -m sim deploy {command}
Restart=on-failure
RestartSec=10
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""

README = """\
# A fedpin deployment: server {server}, {count} nodes

Every machine needs fedpin with its packages (`make install` in a checkout, here `/opt/fedpin`): nothing is
fetched when runs are made. `python` below is `.venv/bin/python` of that checkout, started there. Clocks must
agree to within seconds.

## The server
1. Keep this folder there, but `ca/` and `nodes/` only until they are where they belong: `nodes/NAME` on its
   device, `ca/` on no machine of the deployment (it renews the certificate, and is needed for nothing else).
2. Let devices reach port {port}. They reach the signed part of it only: runs are asked for
   on the server itself.
3. `python -m sim deploy server FOLDER` (or `server/fedpin-server.service` for systemd)

## Each device
{devices}

The folder of videos has a `clips.csv` with the columns `path` and `label` (1 = fake), or another layout:
`--layout`. Videos, paths and teacher outputs stay on the device. It sends the weights of the student that it
trained, its votes for pruning, its losses, and how many clips it has.

The units run as the user `fedpin` (`useradd --system fedpin`) on what lies in `/var/lib/fedpin`:
`deployment` is this folder, `NAME` a node's. It must own them, and `/opt/fedpin/runs`; runs are then asked
for in its name (`sudo -u fedpin`). A device that lost its power counts as online for up to a minute more, and
is refused for so long: the units and the compose file start it again until it is let in.

## Runs, on the server
```
python -m sim deploy status FOLDER
python -m sim deploy submit FOLDER data=lavdf data.root=CORPUS --follow
python -m sim deploy stop FOLDER RUN_ID
python -m sim deploy revoke FOLDER {first}
python -m sim deploy init FOLDER --renew
```
`data` is the server's own corpus: public clips for the teacher, validation and test. Who may submit runs may
run code on the server and on every device: that is whoever has an account on the server's machine.
"""


def server_unit() -> str:
    """A systemd unit of the server."""
    return UNIT.format(description="fedpin server", command="server /var/lib/fedpin/deployment")


def node_unit(name: str) -> str:
    """A systemd unit of a device."""
    return UNIT.format(
        description=f"fedpin node {name}",
        command=f"node /var/lib/fedpin/{name} --data /srv/fedpin/videos",
    )


def readme(server: str, names: Sequence[str]) -> str:
    """What to do, with the exact commands."""
    devices = "\n".join(
        f"- **{name}**: copy `nodes/{name}`, then `python -m sim deploy node {name} --data VIDEOS`"
        for name in names
    )
    return README.format(
        server=server, count=len(names), port=server.rpartition(":")[2], devices=devices, first=names[0]
    )


def compose_file(port: int, names: Sequence[str]) -> str:
    """Server and nodes as containers of one image, for one machine or as a pattern for several."""
    lines = ["# docker build -t fedpin -f Dockerfile CHECKOUT; nothing is pulled when it starts", "services:"]
    lines += [
        "  server:",
        "    image: fedpin",
        "    pull_policy: never",
        "    restart: on-failure",
        "    command: [deploy, server, /deployment]",
        f'    ports: ["{port}:{port}"]',
        '    volumes: [".:/deployment", "runs:/opt/fedpin/runs", "cache:/root/.cache/fedpin"]',
    ]
    for name in names:
        lines += [
            f"  {name}:",
            "    image: fedpin",
            "    pull_policy: never",
            "    restart: on-failure",
            "    command: [deploy, node, /node, --data, /videos]",
            "    volumes:",
            f"      - ./nodes/{name}:/node",
            f"      - ./videos/{name}:/videos:ro",
            f"      - {name}:/root/.cache/fedpin",
        ]
    kept = ", ".join(f"{name}: {{}}" for name in ("runs", "cache", *names))
    return "\n".join([*lines, f"volumes: {{{kept}}}", ""])


def dockerfile() -> str:
    """An image of a checkout."""
    return """\
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
COPY . /opt/fedpin
WORKDIR /opt/fedpin
RUN make install
ENTRYPOINT ["/opt/fedpin/.venv/bin/python", "-m", "sim"]
"""
