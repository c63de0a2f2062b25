# Where everything of the cluster is; sourced by the scripts beside it.
# shellcheck shell=bash disable=SC2034

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kept=${XDG_CACHE_HOME:-$HOME/.cache}/jhub-tokens

# What takes long is kept under the hash of what it is made by.
binaries=$kept/kubernetes-$(sha256sum "$here/build" | cut -c1-16)

# The cluster itself: keys, state, logs, images. It lives in a network namespace of this name.
cluster=${JHUB_TOKENS_CLUSTER_HOME:-$kept/kubernetes-cluster}
network=jhub-tokens
address=10.99.0.1
node=node-1
pods=10.244.7.0/24
services=10.96.0.0/16

keys=$cluster/keys
runtime=$cluster/containerd
kubeconfig=$cluster/admin.kubeconfig

# Not "ip netns exec": it mounts /sys anew, and the kubelet would not find its cgroups there.
in_network() {
    nsenter --net="/run/netns/$network" -- "$@"
}

eventually() { # CONDITION, a command line: wait until it holds, for two minutes at most
    local attempt
    for attempt in $(seq 600); do
        if eval "$1" >/dev/null 2>&1; then
            return
        fi
        sleep 0.2
    done
    echo "Not within two minutes: $1; see the logs in $cluster/logs" >&2
    exit 1
}

# Says why there is no cluster here: a failure in CI, a mere notice for somebody at a desk.
give_up() {
    echo "No Kubernetes can be run here: $1" >&2
    if [ -n "${CI:-}" ]; then
        exit 1
    fi
    exit 0
}
