#!/usr/bin/env bash
# A cluster of one control plane and three nodes, with a network that enforces NetworkPolicy in place of the default one.
set -euo pipefail
kind create cluster --config - <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {disableDefaultCNI: true, podSubnet: 192.168.0.0/16}
nodes: [{role: control-plane}, {role: worker}, {role: worker}, {role: worker}]
YAML
kubectl apply -f "https://raw.githubusercontent.com/projectcalico/calico/v3.30.3/manifests/calico.yaml"
kubectl wait node --all --for=condition=Ready --timeout=300s
