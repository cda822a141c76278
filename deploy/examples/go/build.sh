#!/usr/bin/env bash
# Makes the stubs and the program `run`, with the sources that Debian packages (golang-google-grpc-dev). In a module of
# your own the first half is enough: it fills the package example/argosyv1. PROTOC says which protoc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
protos=$here/../../../proto
out=$(realpath "${1:-$here/build}")
source=$out/src/example
mkdir -p "$source"

options=
for file in "$protos"/argosy/v1/*.proto; do
    # The protos name no Go package: it is yours to choose.
    options+=",M${file#"$protos"/}=example/argosyv1"
done
${PROTOC:-protoc} -I "$protos" --go_out="$source" --go-grpc_out="$source" \
    --go_opt="module=example$options" --go-grpc_opt="module=example$options" "$protos"/argosy/v1/*.proto

cp "$here/main.go" "$source/"
cd "$source"
GO111MODULE=off GOPATH="$out:/usr/share/gocode" go build -o "$out/run" example
