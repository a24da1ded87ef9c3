// Takes webhooks: PORT SECRET LOG. Verifies each with the standardwebhooks library and writes a line about it.
const fs = require('node:fs');
const http = require('node:http');
const { Webhook } = require('standardwebhooks');

const [port, secret, log] = process.argv.slice(2);
const webhook = new Webhook(secret);
const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8');
    try {
      const event = webhook.verify(body, request.headers);
      fs.appendFileSync(log, `good ${request.headers['webhook-id']} ${event.type} ${event.data.recipient}\n`);
      response.writeHead(204).end();
    } catch (error) {
      fs.appendFileSync(log, `bad ${request.headers['webhook-id']} ${error.message}\n`);
      response.writeHead(400).end();
    }
  });
});
server.listen(Number(port), '127.0.0.1', () => fs.appendFileSync(log, 'ready\n'));
