#!/usr/bin/env bash
# Puts what is neither Debian's nor Rust's into one folder: nodemailer and playwright-core (npm), and a Python environment for the second readers.
set -euo pipefail
here=$1
mkdir -p "$here"
if [ ! -d "$here/node_modules/nodemailer" ] || [ ! -d "$here/node_modules/playwright-core" ]; then
  (cd "$here" && npm install --silent --no-audit --no-fund --prefix "$here" nodemailer@7 playwright-core@1.65.1 >/dev/null)
fi
[ -x "$here/venv/bin/python" ] || python3 -m venv "$here/venv"
if ! "$here/venv/bin/python" -c 'import html5lib, lxml, dkim, authres' 2>/dev/null; then
  "$here/venv/bin/pip" install -q --disable-pip-version-check html5lib==1.1 lxml==6.1.3 dkimpy==1.1.8 authres==1.2.0
fi
