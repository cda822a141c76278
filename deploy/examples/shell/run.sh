#!/usr/bin/env bash
# Runs a command in a container: run.sh IMAGE [COMMAND...]. Needs buf and jq, and no file of argosy's: the daemon says
# itself what its messages are.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: run.sh IMAGE [COMMAND...]" >&2; exit 125; }

socket=${ARGOSY_HOST:-unix:///run/argosy/argosy.sock}
socket=${socket#unix://}
failure=$(mktemp)
trap 'rm -f "$failure"' EXIT

# call METHOD JSON: the answers as JSON; an error as one line, and 125.
call() {
    buf curl --protocol grpc --http2-prior-knowledge --unix-socket "$socket" --data "$2" \
        "http://localhost/argosy.v1.Containers/$1" 2>"$failure" && return
    jq -r '"\(.code): \(.message)"' <"$failure" >&2 2>/dev/null || cat "$failure" >&2
    return 125
}

image=$1
shift
spec=$(jq -n --arg image "$image" '{spec: {image: $image, command: $ARGS.positional}}' --args -- "$@")
made=$(call Create "$spec")
id=$(jq -r .id <<<"$made")
trap 'call Remove "{\"container\": \"$id\", \"force\": true}" >/dev/null; rm -f "$failure"' EXIT
call Start "{\"container\": \"$id\"}" >/dev/null
# Bytes are base64 in JSON. Each stream goes where it belongs, as it comes.
call Logs "{\"container\": \"$id\", \"follow\": true}" |
    jq --unbuffered -r '.entries[]? | "\(.stream) \(.data)"' |
    while read -r stream data; do
        case "$stream" in
            STREAM_STDERR) base64 -d <<<"$data" >&2 ;;
            *) base64 -d <<<"$data" ;;
        esac
    done
ended=$(call Wait "{\"container\": \"$id\"}")
exit "$(jq -r '.exitCode // 0' <<<"$ended")"
