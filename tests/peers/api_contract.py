"""Logs in to a dashboard and lets schemathesis ask its API everything its document allows, and much that it does not; about
things that are there, which are named, and about things that are not.

usage: api_contract.py http://HOST:PORT LOGIN PASSWORD NAMES
NAMES is JSON: a parameter, or the end of a path with one, to what is there.
Exit 0: no 5xx, every answer has a status, media type and shape of the document.
"""
import json, os, subprocess, sys, urllib.parse, urllib.request

base, login, password = sys.argv[1:4]
names = json.loads(sys.argv[4])
# What ends things comes last, when everything else was asked while they were there.
LAST = ["/api/v1/privacy/erase", "/api/v1/keys/{id}/revoke"]
# A stream without an end; the number of keys is bounded.
NEVER = ["/api/v1/feed", "/api/v1/keys/rotate"]


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(path, data=None, headers=None):
    opener = urllib.request.build_opener(Stay)
    try:
        return opener.open(urllib.request.Request(base + path, data, headers or {}), timeout=30)
    except urllib.error.HTTPError as answer:
        return answer


def there(path, name):
    """What is there for this parameter of this path."""
    part = "{" + name + "}"
    head = path[: path.index(part) + len(part)]
    return next((value for key, value in names.items() if key == part or head.endswith(key)), None)


def told(document):
    """The document, whose parameters say what is there, beside what may be."""
    for path, item in document["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and (value := there(path, parameter["name"])) is not None:
                    parameter["example"] = value
                    parameter["schema"] = {"anyOf": [{"enum": [value]}, parameter["schema"]]}
                # It would wait, for nothing.
                if parameter["name"] == "wait_secs":
                    parameter["schema"] = {"type": "integer", "enum": [0, 1]}
    return document


def run(*filters, examples="10"):
    tool = os.path.join(os.path.dirname(sys.executable), "schemathesis")
    return subprocess.run(
        [tool, "--no-color", "run", "openapi.json", "--url", base,
         "--header", "Cookie: " + cookie, "--header", "X-CSRF-Token: " + session["csrf_token"],
         "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
                     "response_headers_conformance",
         "--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--seed", "1",
         "--generation-database", "none", "--request-timeout", "30", "--workers", "1", "--continue-on-failure",
         *[option for path in NEVER for option in ("--exclude-path", path)], *filters],
        timeout=400).returncode


form = urllib.parse.urlencode({"login": login, "password": password}).encode()
cookie = ask("/login", form).headers["Set-Cookie"].split(";")[0]
session = json.load(ask("/api/v1/session", None, {"Cookie": cookie}))
assert session["role"] == "server-admin", session
document = told(json.load(ask("/api/openapi.json")))
with open("openapi.json", "w") as file:
    json.dump(document, file)
named = [(path, parameter["name"]) for path, item in document["paths"].items() for operation in item.values()
         for parameter in operation.get("parameters", []) if parameter["in"] == "path" and "example" not in parameter]
unnamed = {path for path, name in named if name == "id"} - {
    "/api/v1/users/{login}/api-keys/{id}", "/api/v1/users/{login}/sessions/{id}"}
assert not unnamed, f"nothing is there for {unnamed}"
first = run("--exclude-method", "DELETE", *[option for path in LAST for option in ("--exclude-path", path)])
# Everything that was named is still there to end.
for path in ("/api/v1/messages/" + names["/messages/{id}"], "/api/v1/queue/" + names["/queue/{id}"], "/api/v1/users/victim"):
    answer = ask(path, None, {"Cookie": cookie})
    assert answer.status == 200, (path, answer.status)
ends = run("--include-method", "DELETE", examples="5")
last = run(*[option for path in LAST for option in ("--include-path", path)], examples="5")
# The relay is still there, and so is its own login: nothing that it asked took that away.
assert ask("/api/v1/session", None, {"Cookie": cookie}).status == 200
sys.exit(first or ends or last)
