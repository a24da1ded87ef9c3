"""The HTML of mails, as somebody else's MIME parser reads it: every NAME.eml of a folder becomes NAME.html, and
types.json says each one's Content-Type."""
import email
import json
import pathlib
import sys

types = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.eml")):
    message = email.message_from_bytes(path.read_bytes())
    [part] = [part for part in message.walk() if part.get_content_type() == "text/html"]
    path.with_suffix(".html").write_bytes(part.get_payload(decode=True))
    types[path.stem] = "text/html; charset=" + part.get_content_charset("utf-8")
pathlib.Path(sys.argv[1], "types.json").write_text(json.dumps(types))
