"""Whether two mails say the same to Python's `email`: NAME.in and NAME.out in a folder, in pairs.

The same parts in the same order, the same types, names and fields but for transfer encodings, the same content octets.
"""
import email
import pathlib
import sys

FREE = {"content-transfer-encoding", "mime-version"}


def outline(path):
    message = email.message_from_bytes(path.read_bytes())
    parts = []
    for part in message.walk():
        fields = [(name.lower(), value) for name, value in part.items() if name.lower() not in FREE]
        content = None if part.is_multipart() else part.get_payload(decode=True)
        parts.append((part.get_content_type(), fields, content))
    return parts


wrong = 0
pairs = sorted(pathlib.Path(sys.argv[1]).glob("*.in"))
for before in pairs:
    after = before.with_suffix(".out")
    if outline(before) != outline(after):
        wrong += 1
        print(f"differs: {before.name}")
        for one, other in zip(outline(before), outline(after)):
            if one != other:
                print(f"  {one!r:.300}\n  {other!r:.300}")
print(f"{len(pairs)} pairs, {wrong} differ")
sys.exit(1 if wrong or not pairs else 0)
