# The cluster's keys, certificates and kubeconfigs, made once; sourced by up.
# shellcheck shell=bash

make_certificates() {
    if [ -f "$keys/ready" ]; then
        return
    fi
    mkdir -p "$keys"
    openssl genrsa -out "$keys/service-accounts.key" 2048 2>/dev/null
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=jhub-tokens-tests \
        -keyout "$keys/ca.key" -out "$keys/ca.crt" 2>/dev/null
    local names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
    certificate apiserver /CN=kube-apiserver "$names,IP:127.0.0.1,IP:${services%.*.*}.0.1,IP:$address"
    certificate kubelet-client /O=system:masters/CN=apiserver-kubelet-client
    certificate node "/O=system:nodes/CN=system:node:$node" \
        "DNS:$node,DNS:localhost,IP:127.0.0.1,IP:$address"
    certificate admin /O=system:masters/CN=admin
    certificate scheduler /CN=system:kube-scheduler
    certificate controller-manager /CN=system:kube-controller-manager
    certificate proxy /CN=system:kube-proxy
    local name
    for name in admin node scheduler controller-manager proxy; do
        kubeconfig "$name" >"$cluster/$name.kubeconfig"
    done
    touch "$keys/ready"
}

certificate() { # NAME SUBJECT [ALTERNATIVE NAMES]
    local path=$keys/$1
    openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$path.key" -out "$path.csr" 2>/dev/null
    {
        echo extendedKeyUsage=serverAuth,clientAuth
        echo "${3:+subjectAltName=$3}"
    } >"$path.extensions"
    openssl x509 -req -in "$path.csr" -CA "$keys/ca.crt" -CAkey "$keys/ca.key" -CAcreateserial \
        -days 3650 -extfile "$path.extensions" -out "$path.crt" 2>/dev/null
}

kubeconfig() { # NAME: its certificate as a kubeconfig that needs no other file
    cat <<YAML
apiVersion: v1
kind: Config
current-context: tests
contexts:
- name: tests
  context: {cluster: tests, user: $1}
clusters:
- name: tests
  cluster:
    server: https://$address:6443
    certificate-authority-data: $(base64 -w0 "$keys/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$keys/$1.crt")
    client-key-data: $(base64 -w0 "$keys/$1.key")
YAML
}
