"""What Python's smtplib makes of an answer, as JSON: PORT starttls|implicit CA PASSWORD RECIPIENT..."""
import json
import smtplib
import ssl
import sys

port, kind, ca, password, *recipients = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if kind == "implicit":
    client = smtplib.SMTP_SSL("localhost", int(port), context=context, timeout=20)
else:
    client = smtplib.SMTP("localhost", int(port), timeout=20)
    client.starttls(context=context)
try:
    client.login("alice", password)
    refused = client.sendmail("a@example.com", recipients, "From: a@example.com\r\nSubject: t\r\n\r\nhello\r\n")
    rejected = list(refused)
    accepted = [one for one in recipients if one not in refused]
    print(json.dumps({"accepted": accepted, "rejected": rejected, "codes": [refused[one][0] for one in rejected]}))
except smtplib.SMTPAuthenticationError as error:
    print(json.dumps({"code": "EAUTH", "responseCode": error.smtp_code}))
