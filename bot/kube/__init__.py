"""The Kubernetes API of a downstream cluster, through Rancher's proxy."""

from bot.kube.adapter import KubeCluster

__all__ = ["KubeCluster"]
