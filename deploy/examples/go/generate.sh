#!/usr/bin/env bash
# Makes the Go stubs in ./argosyv1 with protoc, protoc-gen-go and protoc-gen-go-grpc. PROTOC says which protoc.
set -euo pipefail
cd "$(dirname "$0")"
protos=../../../proto
options=()
for file in "$protos"/argosy/v1/*.proto; do
    # The protos name no Go package: it is yours to choose.
    options+=("M${file#"$protos"/}=example/argosyv1")
done
joined=$(IFS=,; printf '%s' "${options[*]}")
out=${1:-.}
mkdir -p "$out"
${PROTOC:-protoc} -I "$protos" --go_out="$out" --go-grpc_out="$out" \
    --go_opt="module=example,$joined" --go-grpc_opt="module=example,$joined" "$protos"/argosy/v1/*.proto
