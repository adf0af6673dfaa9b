"""Keys, certificates and kubeconfigs of a cluster, made by the `openssl` command.

Two authorities, as upstream demands: `ca` signs servers and clients, `front-proxy-ca` only the API
aggregator, so that an ordinary client certificate can never pass for the aggregator's. Idempotent:
what exists is kept.
"""

import base64
import subprocess
from pathlib import Path

from cluster.errors import ClusterError
from cluster.spec import API_VIP, CLUSTER_DOMAIN, HUB_ADDRESS, Cluster, Node, write_atomically

DAYS = "3650"
# Clients by certificate: file name → (user, group).
CLIENTS = {
    "admin": ("tephra-admin", "system:masters"),
    "kubelet-client": ("kube-apiserver-kubelet-client", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "agent": ("tephra-cluster-agent", "system:masters"),
    "netpol": ("tephra-cluster-netpol", "system:masters"),
    "kwok": ("tephra-cluster-kwok", "system:masters"),
}


def openssl(*args: str) -> None:
    """Run openssl; ClusterError with its words if it fails."""
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"openssl {args[0]} failed: {done.stderr.strip()}")


def _request(directory: Path, name: str, subject: str, extensions: list[str], issuer: str | None) -> None:
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    if certificate.exists():
        return
    signer = ["-CA", str(directory / f"{issuer}.crt"), "-CAkey", str(directory / f"{issuer}.key")]
    draft = certificate.with_suffix(".new")
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS),
        *("-keyout", str(key), "-out", str(draft), "-subj", subject),
        *(signer if issuer else []),
        *(word for extension in extensions for word in ("-addext", extension)),
    )
    draft.rename(certificate)


def make_authority(directory: Path, name: str) -> None:
    """Make a self-signed authority `name`.crt/.key."""
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    _request(directory, name, f"/CN=tephra-{name}", extensions, None)


def make_client(directory: Path, name: str, user: str, group: str, issuer: str = "ca") -> None:
    """Make a client certificate that authenticates as `user` in `group` ('' for none)."""
    subject = (f"/O={group}" if group else "") + f"/CN={user}"
    extensions = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=clientAuth"]
    _request(directory, name, subject, extensions, issuer)


def make_server(directory: Path, name: str, common_name: str, alternatives: list[str]) -> None:
    """Make a server certificate; `alternatives` are subjectAltName entries (`IP:…`, `DNS:…`)."""
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        "extendedKeyUsage=serverAuth",
        "subjectAltName=" + ",".join(alternatives),
    ]
    _request(directory, name, f"/CN={common_name}", extensions, "ca")


def make_cluster_pki(cluster: Cluster) -> None:
    """Make everything the control plane and its clients need."""
    directory = cluster.pki
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_authority(directory, "ca")
    make_authority(directory, "front-proxy-ca")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += [f"kubernetes.default.svc.{CLUSTER_DOMAIN}", "localhost"]
    addresses = ["127.0.0.1", HUB_ADDRESS, API_VIP]
    make_server(directory, "apiserver", "kube-apiserver", [f"DNS:{n}" for n in names] + [f"IP:{a}" for a in addresses])
    make_client(directory, "front-proxy-client", "front-proxy-client", "", issuer="front-proxy-ca")
    for name, (user, group) in CLIENTS.items():
        make_client(directory, name, user, group)
        write_kubeconfig(cluster, name)
    if not (directory / "sa.key").exists():
        draft = str(directory / "sa.new")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", draft)
        Path(draft).rename(directory / "sa.key")
    openssl("pkey", "-in", str(directory / "sa.key"), "-pubout", "-out", str(directory / "sa.pub"))
    write_atomically(cluster.kubeconfig, kubeconfig(cluster, "admin", cluster.host_url), 0o600)


def make_node_pki(cluster: Cluster, node: Node) -> None:
    """Make a kubelet's client and server certificates."""
    make_client(cluster.pki, node.name, f"system:node:{node.name}", "system:nodes")
    alternatives = [f"IP:{node.address}", f"DNS:{node.name}"]
    make_server(cluster.pki, f"{node.name}-serving", f"system:node:{node.name}", alternatives)
    write_kubeconfig(cluster, node.name)


def write_kubeconfig(cluster: Cluster, client: str) -> None:
    """Write `pki/<client>.kubeconfig` for use inside the cluster's namespaces."""
    text = kubeconfig(cluster, client, cluster.inside_url)
    write_atomically(cluster.pki / f"{client}.kubeconfig", text, 0o600)


def kubeconfig(cluster: Cluster, client: str, url: str) -> str:
    """A self-contained kubeconfig of `client` (a name of a certificate in the pki directory)."""

    def data(file: str) -> str:
        return base64.b64encode((cluster.pki / file).read_bytes()).decode()

    context = f"tephra-{cluster.name}"
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {context}
  cluster: {{server: "{url}", certificate-authority-data: {data("ca.crt")}}}
users:
- name: {client}
  user:
    client-certificate-data: {data(f"{client}.crt")}
    client-key-data: {data(f"{client}.key")}
contexts:
- name: {context}
  context: {{cluster: {context}, user: {client}}}
current-context: {context}
"""
