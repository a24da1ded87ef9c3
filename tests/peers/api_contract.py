"""Logs in to a dashboard and lets schemathesis ask its API everything its document allows, and much that it does not.

usage: api_contract.py http://HOST:PORT LOGIN PASSWORD
Exit 0: no 5xx, every answer has a status, media type and shape of the document.
"""
import json, os, subprocess, sys, urllib.parse, urllib.request

base, login, password = sys.argv[1:4]


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(path, data=None, headers=None):
    opener = urllib.request.build_opener(Stay)
    try:
        return opener.open(urllib.request.Request(base + path, data, headers or {}), timeout=30)
    except urllib.error.HTTPError as answer:
        return answer


form = urllib.parse.urlencode({"login": login, "password": password}).encode()
cookie = ask("/login", form).headers["Set-Cookie"].split(";")[0]
session = json.load(ask("/api/v1/session", None, {"Cookie": cookie}))
assert session["role"] == "server-admin", session
tool = os.path.join(os.path.dirname(sys.executable), "schemathesis")
done = subprocess.run(
    [tool, "--no-color", "run", base + "/api/openapi.json",
     "--header", "Cookie: " + cookie, "--header", "X-CSRF-Token: " + session["csrf_token"],
     "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
                 "response_headers_conformance",
     "--phases", "examples,coverage,fuzzing", "--max-examples", "12", "--seed", "1", "--generation-database", "none",
     "--request-timeout", "30", "--workers", "1", "--continue-on-failure",
     # a stream without an end; hashing a password takes a while on purpose; the number of keys is bounded
     "--exclude-path", "/api/v1/feed", "--exclude-path", "/api/v1/keys/rotate", "--exclude-path", "/api/v1/events",
     # its own login must outlive the run
     "--exclude-path", "/api/v1/users/{login}/password"],
    timeout=240)
# The relay is still there.
assert ask("/api/v1/session", None, {"Cookie": cookie}).status == 200
sys.exit(done.returncode)
