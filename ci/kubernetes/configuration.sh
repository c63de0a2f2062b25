# The configuration of containerd, the kubelet and the API server's audit log; sourced by up.
# shellcheck shell=bash

configure_containerd() {
    mkdir -p "$runtime/networks"
    cat >"$runtime/config.toml" <<TOML
version = 2
root = "$runtime/root"
state = "$runtime/state"
oom_score = 0
[grpc]
  address = "$runtime/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$runtime/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:debian"
  # In a container of its own this machine may not be allowed to lower a process's score.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$runtime/networks"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
TOML
    cat >"$runtime/networks/10-bridge.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "$runtime/addresses"
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
}

# syncFrequency, and no dead containers kept (daemons/kubelet): a deletion takes seconds, not a minute.
# Once a minute the kubelet sweeps, too, and must leave young ones alone: a container that is swept
# before its end was seen is started anew, or holds its pod for a minute (--minimum-container-ttl-…).
configure_kubelet() {
    cat >"$cluster/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
port: 10250
readOnlyPort: 0
healthzBindAddress: 127.0.0.1
healthzPort: 10248
cgroupDriver: cgroupfs
cgroupRoot: /
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
hairpinMode: none
clusterDNS: [${services%.*.*}.0.10]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
authentication:
  x509: {clientCAFile: $keys/ca.crt}
  webhook: {enabled: true}
  anonymous: {enabled: false}
authorization: {mode: Webhook}
tlsCertFile: $keys/node.crt
tlsPrivateKeyFile: $keys/node.key
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: 100Mi
  nodefs.available: 1%
  imagefs.available: 1%
  nodefs.inodesFree: 0%
featureGates: {BoundServiceAccountTokenVolume: true}
nodeStatusUpdateFrequency: 5s
syncFrequency: 2s
maxPods: 200
YAML
}

configure_audit_log() { # one line for each request of a hub or a service, and of nobody else
    cat >"$cluster/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
- level: None
  userGroups: ["system:serviceaccounts:kube-system", "system:nodes"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
YAML
}
