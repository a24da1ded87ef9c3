// A headless Chromium in which mail.test is a folder of decoded mails, track.example the relay, and no other host exists.
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { launch, PATIENCE_MS } = require('./chromium.js');

exports.open = async (folder, trackingPort) => {
  const types = JSON.parse(fs.readFileSync(path.join(folder, 'types.json')));
  const server = http.createServer((request, response) => {
    const stem = decodeURIComponent(request.url.slice(1));
    if (!types[stem]) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': types[stem], 'Cache-Control': 'no-store' });
    response.end(fs.readFileSync(path.join(folder, `${stem}.html`)));
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  const hosts = [
    `MAP mail.test 127.0.0.1:${server.address().port}`,
    `MAP track.example 127.0.0.1:${trackingPort}`,
    'MAP * ~NOTFOUND',
  ];
  const browser = await launch(hosts);
  const names = [...new Set(Object.keys(types).map((stem) => stem.replace(/\.(before|after)$/, '')))];
  const newContext = async (options) => {
    const made = await browser.newContext(options);
    made.setDefaultTimeout(PATIENCE_MS);
    return made;
  };
  const close = async () => {
    await browser.close();
    server.close();
  };
  return { newContext, names, close };
};

exports.run = (main) => main().catch((error) => {
  console.error(error);
  process.exit(1);
});
