#!/usr/bin/env bash
# Runs a command in a container: run.sh IMAGE [COMMAND...]. Needs buf and jq, and no file of argosy's: the daemon says
# itself what its messages are.
set -euo pipefail

socket=${ARGOSY_HOST:-unix:///run/argosy/argosy.sock}
socket=${socket#unix://}

# call METHOD JSON: the answer as JSON; an error as one line, and 125.
call() {
    local told
    if ! told=$(buf curl --protocol grpc --http2-prior-knowledge --unix-socket "$socket" --data "$2" \
        "http://localhost/argosy.v1.Containers/$1" 2>&1); then
        jq -r '"\(.code): \(.message)"' <<<"$told" >&2 2>/dev/null || printf '%s\n' "$told" >&2
        exit 125
    fi
    printf '%s' "$told"
}

image=$1
shift
spec=$(jq -n --arg image "$image" '{spec: {image: $image, command: $ARGS.positional}}' --args -- "$@")
id=$(call Create "$spec" | jq -r .id)
container=$(jq -n --arg id "$id" '{container: $id}')
trap 'call Remove "$(jq -n --arg id "$id" "{container: \$id, force: true}")" >/dev/null' EXIT
call Start "$container" >/dev/null
code=$(call Wait "$container" | jq -r '.exitCode // 0')
# Bytes are base64 in JSON. Each stream goes where it belongs.
logs=$(call Logs "$container")
jq -rj '.entries[]? | select(.stream != "STREAM_STDERR") | .data | @base64d' <<<"$logs"
jq -rj '.entries[]? | select(.stream == "STREAM_STDERR") | .data | @base64d' <<<"$logs" >&2
exit "$code"
