"""The cloud-init that every machine starts with. Rancher merges its own bootstrap into it through `runcmd`."""

from __future__ import annotations

from typing import Any

import yaml

from bot.core.spec import Envelope

# A kernel or driver package that changes under a loaded NVIDIA module breaks the node (Driver/library version
# mismatch), and a new kernel may have no headers for the driver container to build against.
USERDATA = """#cloud-config
write_files:
  - path: /etc/apt/apt.conf.d/99-gpu-cluster
    permissions: "0644"
    content: |
      APT::Periodic::Enable "0";
      APT::Periodic::Update-Package-Lists "0";
      APT::Periodic::Unattended-Upgrade "0";
runcmd:
  - systemctl disable --now unattended-upgrades.service apt-daily.timer apt-daily-upgrade.timer || true
  - >-
    command -v apt-mark >/dev/null &&
    dpkg-query -W -f='${db:Status-Abbrev} ${Package}\\n' 'linux-image*' 'linux-headers*' 'linux-modules*' 'linux-aws*' |
    awk '$1 == "ii" {print $2}' | xargs -r apt-mark hold || true
"""


def userdata(envelope: Envelope) -> str:
    """Text that starts with #cloud-config; with the network's proxy and CA where there are any."""
    network = envelope.network
    environment = network.environment(envelope.cidrs)
    if not environment and not network.ca:
        return USERDATA
    config: dict[str, Any] = yaml.safe_load(USERDATA)
    if environment:
        config["apt"] = {"http_proxy": network.proxy, "https_proxy": network.proxy}
        lines = [line for name, value in environment for line in (f"{name}={value}", f"{name.lower()}={value}")]
        content = "\n".join(lines) + "\n"
        config["write_files"].append({"path": "/etc/environment", "append": True, "content": content})
    if network.ca:
        config["ca_certs"] = {"trusted": [network.ca]}
    return "#cloud-config\n" + yaml.safe_dump(config, sort_keys=False, width=1000)
