// Sends one file with nodemailer: PORT starttls|implicit CA FILE RECIPIENT...
const fs = require('node:fs');
const nodemailer = require('nodemailer');

const [port, kind, ca, path, ...recipients] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: 'localhost',
  port: Number(port),
  secure: kind === 'implicit',
  requireTLS: true,
  auth: { user: 'alice', pass: 'correct horse battery' },
  tls: { ca: fs.readFileSync(ca) },
  connectionTimeout: 20000,
});
transport
  .sendMail({ envelope: { from: 'a@example.com', to: recipients, use8BitMime: true }, raw: fs.readFileSync(path) })
  .then((info) => process.exit(info.rejected.length ? 1 : 0))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
