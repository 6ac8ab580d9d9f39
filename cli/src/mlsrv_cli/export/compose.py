"""Compose: the service of an image with models, for one machine."""

from __future__ import annotations

import json

from mlsrv_cli.export.service import Service


def compose_file(service: Service) -> str:
    """Return the text of a ``compose.yaml``."""
    port = service.ports["http"]
    published = "\n".join(f'      - "{number}:{number}"' for number in service.ports.values())
    variables = "\n".join(f'      {name}: "{value}"' for name, value in service.variables.items())
    check = json.dumps(["CMD", "python", "-c", _question(f"{service.scheme}://127.0.0.1:{port}")])
    return f"""\
services:
  "{service.name}":
    image: "{service.image}"
    ports:
{published}
    environment:
{variables}
    healthcheck:
      test: {check}
      interval: 10s
      timeout: 5s
      start_period: 60s
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    stop_grace_period: {service.grace}s
    restart: unless-stopped
"""


def _question(url: str) -> str:
    """Return a program that fails unless the server is ready; it takes any certificate, being local."""
    ready = f"{url}/v2/health/ready"
    if url.startswith("https:"):
        return (
            f"import ssl, urllib.request as u; u.urlopen('{ready}', context=ssl._create_unverified_context())"
        )
    return f"import urllib.request as u; u.urlopen('{ready}')"
