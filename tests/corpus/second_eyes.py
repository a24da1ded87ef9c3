#!/usr/bin/env python3
"""A second pair of eyes on the rewriter: Python's email package and html5lib against our own parser and lol_html.

    second_eyes.py FOLDER

FOLDER holds pairs NAME.in and NAME.out: a message, and the same message rewritten with everything on for the tracking
site https://track.example. A token there is base64url of 28 octets and the destination. For every pair:

- the same tree of parts, the same header fields in the same order, the same octets in every part but text;
- text parts, decoded, differ only where a link of ours stands for another, and by one pixel;
- HTML, parsed as a browser does, is the same tree but for those links and that pixel;
- every token opens to what the browser would have opened;
- no line is over 998 octets in a message that had none before.

Prints one line a fault, and a summary; exits 1 if there was a fault.
"""
import base64
import email
import email.policy
import multiprocessing
import pathlib
import re
import sys

import html5lib

SITE = b"https://track.example"
CLICK = re.compile(rb"https://track\.example/c/([A-Za-z0-9_-]+)")
PIXEL = re.compile(rb"<img src=\"https://track\.example/i/[A-Za-z0-9_-]+\.gif\" [^>]*>")
HTML_BYTES_MAX = 300_000


def opened(token):
    return base64.urlsafe_b64decode(token + b"=" * (-len(token) % 4))[28:].decode()


def leaves(message):
    return [part for part in message.walk()]


def stripped(url):
    """The URL standard's own stripping."""
    return re.sub("[\t\r\n]", "", url.strip("".join(map(chr, range(33)))))


def same_destination(href, destination):
    href = stripped(href)
    if href.isascii():
        return href == destination
    # Beyond ASCII: compare what follows the host, percent-encoded; the host is another library's word for it.
    tail = re.sub(r"^[a-z]+://[^/?#\\]*", "", href, flags=re.I)
    encoded = "".join(c if ord(c) < 128 else "".join("%%%02X" % b for b in c.encode()) for c in tail)
    return destination.endswith(encoded)


def same_text(before, after, html):
    """Walks both texts; where ours has a link of ours, the other has what it stands for."""
    pixels = PIXEL.findall(after)
    if len(pixels) > (1 if html else 0):
        return "more than one pixel"
    at, rest = 0, after
    while True:
        click, pixel = CLICK.search(rest), PIXEL.search(rest)
        found = min((m for m in (click, pixel) if m), key=lambda m: m.start(), default=None)
        if found is None:
            return None if before[at:] == rest else "differs after the last link: %r / %r" % (before[at:at + 60], rest[:60])
        kept = rest[: found.start()]
        if found is pixel:
            rest = rest[found.end():]
            if not before.startswith(kept, at):
                # On a line of its own, where the line would have become too long.
                eol = b"\r\n" if kept.endswith(b"\r\n") else b"\n"
                kept = kept.removesuffix(eol)
                if not (before.startswith(kept, at) and rest.startswith(eol)):
                    return "differs before the pixel"
                rest = rest.removeprefix(eol)
            at += len(kept)
            continue
        destination = opened(found.group(1))
        rest = rest[found.end():]
        added_quotes = False
        if not before.startswith(kept, at):
            # An unquoted value got quotes; a line may break before the attribute's name.
            if kept.endswith(b'"') and before.startswith(kept[:-1], at):
                kept, added_quotes = kept[:-1], True
            else:
                broken = re.compile(rb"\s+".join(map(re.escape, re.split(rb"\s+", kept))))
                match = broken.match(before, at)
                if not match:
                    return "differs before %s: %r / %r" % (destination, before[at:at + 60], kept[-60:])
                kept = match.group(0)
        at += len(kept)
        if not html:
            value = destination.encode()
            if not before.startswith(value, at):
                return "text link %s is not what stands there" % destination
            at += len(value)
            continue
        if added_quotes:
            if not rest.startswith(b'"'):
                return "added quotes do not close"
            rest = rest[1:]
            end = re.compile(rb"[\s>]").search(before, at)
        else:
            end = re.compile(re.escape(rest[:1])).search(before, at)
        if not end:
            return "value of %s never ends" % destination
        at = end.start()


def tree(content, charset):
    return html5lib.parse(content, treebuilder="etree", namespaceHTMLElements=False, transport_encoding=charset)


def flat(node):
    """The tree as a list of events; our pixel left out, texts that meet joined."""
    events = []

    def text(value):
        if value:
            if events and events[-1][0] == "text":
                events[-1] = ("text", events[-1][1] + value)
            else:
                events.append(("text", value))

    # html5lib's trees are deep; no recursion.
    stack = [("open", node)]
    while stack:
        what, element = stack.pop()
        if what == "text":
            text(element)
        elif what == "close":
            events.append(("close", element))
        elif element.tag == "img" and element.get("src", "").startswith("https://track.example/i/"):
            pass
        elif not isinstance(element.tag, str):
            events.append(("comment", element.text))
        else:
            events.append(("open", element.tag, dict(element.attrib)))
            stack.append(("close", element.tag))
            for child in reversed(list(element)):
                stack.append(("text", child.tail))
                stack.append(("open", child))
            stack.append(("text", element.text))
    return events


def blank(events):
    """White space that a line break around the pixel may have added."""
    return [e if e[0] != "text" else ("text", " ".join(e[1].split())) for e in events if e[0] != "text" or e[1].strip()]


def same_html(before, after, charset):
    if max(len(before), len(after)) > HTML_BYTES_MAX:
        return None
    one, two = blank(flat(tree(before, charset))), blank(flat(tree(after, charset)))
    if len(one) != len(two):
        return "another tree: %d / %d nodes" % (len(one), len(two))
    for a, b in zip(one, two):
        if a == b:
            continue
        if a[0] == b[0] == "open" and a[1] == b[1] in ("a", "area"):
            old, new = a[2], b[2]
            ours = CLICK.fullmatch(new.get("href", "").encode())
            rest = lambda attributes: {k: v for k, v in attributes.items() if k != "href"}
            if ours and rest(old) == rest(new) and same_destination(old.get("href", ""), opened(ours.group(1))):
                continue
        return "another node: %r / %r" % (a, b)
    return None


def long_lines(data):
    return sum(len(line) > 999 for line in data.split(b"\n"))


def check(path):
    before, after = path.read_bytes(), path.with_suffix(".out").read_bytes()
    faults = []
    # A line the sender wrote too long may be broken into two that still are.
    if long_lines(after) and not long_lines(before):
        faults.append("a line over 998 octets")
    parse = lambda data: email.message_from_bytes(data, policy=email.policy.compat32)
    one, two = leaves(parse(before)), leaves(parse(after))
    if [part.get_content_type() for part in one] != [part.get_content_type() for part in two]:
        return [(path.name, "another tree of parts")], 0
    changed = 0
    for number, (a, b) in enumerate(zip(one, two)):
        if a.items() != b.items():
            faults.append("part %d: another header" % number)
        if a.is_multipart():
            if (a.preamble, a.epilogue) != (b.preamble, b.epilogue):
                faults.append("part %d: preamble or epilogue" % number)
            continue
        if a.get_payload() == b.get_payload():
            continue
        kind = a.get_content_type()
        if kind not in ("text/html", "text/plain"):
            faults.append("part %d: %s was touched" % (number, kind))
            continue
        changed += 1
        x, y = a.get_payload(decode=True), b.get_payload(decode=True)
        fault = same_text(x, y, kind == "text/html")
        if not fault and kind == "text/html":
            charset = a.get_content_charset()
            try:
                fault = same_html(x, y, charset)
            except Exception as error:  # html5lib has faults of its own; they are told, not hidden
                fault = "html5lib: %r" % error
        if fault:
            faults.append("part %d: %s" % (number, fault))
    return [(path.name, fault) for fault in faults], changed


def main():
    sys.setrecursionlimit(20_000)
    pairs = sorted(pathlib.Path(sys.argv[1]).glob("*.in"))
    changed, faults = 0, []
    with multiprocessing.Pool() as pool:
        for found, parts in pool.imap_unordered(check, pairs, chunksize=8):
            faults += found
            changed += parts
    for name, fault in sorted(faults):
        print(name, fault, sep=": ")
    print("%d messages, %d parts rewritten, %d faults" % (len(pairs), changed, len(faults)))
    return 1 if faults or not pairs else 0


if __name__ == "__main__":
    sys.exit(main())
