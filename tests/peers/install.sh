#!/usr/bin/env bash
# Puts what is neither Debian's nor Rust's into one folder: nodemailer (npm), and a Python environment for the second readers.
set -euo pipefail
here=$1
mkdir -p "$here"
if [ ! -d "$here/node_modules/nodemailer" ]; then
  (cd "$here" && npm install --silent --no-audit --no-fund --prefix "$here" nodemailer@7 >/dev/null)
fi
if [ ! -d "$here/node_modules/standardwebhooks" ]; then
  (cd "$here" && npm install --silent --no-audit --no-fund --prefix "$here" standardwebhooks@1.1.1 >/dev/null)
fi
if [ ! -x "$here/venv/bin/python" ]; then
  python3 -m venv "$here/venv"
  "$here/venv/bin/pip" install -q --disable-pip-version-check html5lib lxml dkimpy
fi
