"""The Kubernetes API of a cluster: through Rancher's proxy, or by a kubeconfig file."""

from bot.kube.adapter import KubeCluster, KubeconfigCluster

__all__ = ["KubeCluster", "KubeconfigCluster"]
