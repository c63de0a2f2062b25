"""The cluster observer: what a Kubernetes cluster itself tells of servers and nodes.

It is off unless configured, and only then is the Kubernetes client imported. Everything here only
looks, but for pods without a session, which it may stop by policy.
"""
