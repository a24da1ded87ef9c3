// What nodemailer makes of an answer, as JSON: PORT starttls|implicit CA PASSWORD RECIPIENT...
const fs = require('node:fs');
const nodemailer = require('nodemailer');

const [port, kind, ca, pass, ...to] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: 'localhost',
  port: Number(port),
  secure: kind === 'implicit',
  requireTLS: true,
  auth: { user: 'alice', pass },
  tls: { ca: fs.readFileSync(ca) },
  connectionTimeout: 20000,
});
const tell = (found) => console.log(JSON.stringify(found));
transport
  .sendMail({ envelope: { from: 'a@example.com', to }, raw: 'From: a@example.com\r\nSubject: t\r\n\r\nhello\r\n' })
  .then(({ accepted, rejected, rejectedErrors }) =>
    tell({ accepted, rejected, codes: (rejectedErrors || []).map((error) => error.responseCode) }))
  .catch(({ code, responseCode }) => tell({ code, responseCode }));
