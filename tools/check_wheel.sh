#!/usr/bin/env bash
# Builds the wheel, installs it beside the development install's libraries, and runs the demo from a
# folder whose own models/, plugins/ and world/ would shadow ours if an import looked there.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
server=""
finish() { [[ -n $server ]] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; rm -rf "$work"; }
trap finish EXIT

.venv/bin/python -m pip wheel -q --no-deps -w "$work/wheel" .
.venv/bin/python -m venv "$work/venv"
# The libraries are those already built for .venv; the product itself comes from the wheel alone.
site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
libraries=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$work/venv/bin/python" -m pip install -q --no-deps --no-index "$work"/wheel/greenroom-*.whl
for entry in "$libraries"/*; do
    name=$(basename "$entry")
    case $name in *greenroom* | __editable__* | pip | pip-*) continue ;; esac
    [[ -e $site/$name ]] || ln -s "$entry" "$site/$name"
done

mkdir -p "$work/here"/{models,plugins,world}
for name in models plugins world; do echo 'raise RuntimeError("shadowed")' >"$work/here/$name/__init__.py"; done
cd "$work/here"
"$work/venv/bin/greenroom" plugins list
"$work/venv/bin/greenroom" simulate --scene valley --ticks 200 --seed 7 --no-models --out run --json >run.json
"$work/venv/bin/greenroom" models check --lines 1 --json >check.json
"$work/venv/bin/greenroom" demo --port 0 --http-port 0 --data data --ready-file ready.json >demo.log 2>&1 &
server=$!
for _ in $(seq 120); do [[ -s ready.json ]] && break; kill -0 "$server" || { cat demo.log; exit 1; }; sleep 0.5; done
[[ -s ready.json ]] || { cat demo.log; echo "the demo did not become ready"; exit 1; }
url=$("$work/venv/bin/python" -c 'import json; print(json.load(open("ready.json"))["game"])')
"$work/venv/bin/greenroom" talk "Marta Kell" --url "$url" --say "Good evening. What news of the wolves?"
echo "the wheel runs from a folder that holds models/, plugins/ and world/"
