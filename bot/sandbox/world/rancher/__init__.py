"""Rancher: Norman, Steve, provisioning on EC2, the app catalog."""
