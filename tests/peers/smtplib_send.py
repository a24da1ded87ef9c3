"""Sends one file with Python's smtplib: PORT starttls|implicit CA FILE RECIPIENT..."""
import smtplib
import ssl
import sys

port, kind, ca, path, *recipients = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if kind == "implicit":
    client = smtplib.SMTP_SSL("localhost", int(port), context=context, timeout=20)
else:
    client = smtplib.SMTP("localhost", int(port), timeout=20)
    client.starttls(context=context)
client.login("alice", "correct horse battery")
with open(path, "rb") as mail:
    refused = client.sendmail("a@example.com", recipients, mail.read(), mail_options=["BODY=8BITMIME"])
client.quit()
sys.exit(1 if refused else 0)
