// What the dashboard tests share: a headless Chromium in which track.example is the tracking site, a mail client
// (nodemailer), readers of mail, and waits that have an end.
"use strict";
const http = require("node:http");
const nodemailer = require("nodemailer");
const { launch, PATIENCE_MS } = require("./chromium.js");

exports.PATIENCE_MS = PATIENCE_MS;
const AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1";

exports.browser = async (site) => {
  const browser = await launch([`MAP track.example ${site.tracking}`]);
  const context = async (options) => {
    // Colours that are still changing are nobody's to judge.
    const still = { baseURL: `http://${site.admin}`, locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce" };
    const made = await browser.newContext({ ...still, ...options });
    made.setDefaultTimeout(PATIENCE_MS);
    // What a page's policy forbids is said on its console.
    made.on("console", (said) => {
      if (/Content Security Policy|violates the following/.test(said.text())) site.violations.push(said.text());
    });
    return made;
  };
  site.violations = [];
  return { context, close: () => browser.close() };
};

exports.logIn = async (page, login, password) => {
  await page.getByLabel("Login").fill(login);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
};

exports.send = async (site, mail) => {
  const [host, port] = site.smtp.split(":");
  const transport = nodemailer.createTransport({ host, port, secure: false, ignoreTLS: true, connectionTimeout: PATIENCE_MS });
  try {
    return await transport.sendMail({ headers: { "X-Mailer": "A test" }, ...mail });
  } finally {
    transport.close();
  }
};

// One request to the tracking site, as a mail program of somebody at `from` sends it.
const ask = (site, url, from = "193.0.6.139", agent = AGENT) => new Promise((done, failed) => {
  const [host, port] = site.tracking.split(":");
  const { pathname } = new URL(url);
  const headers = { Host: "track.example", "User-Agent": agent, "X-Forwarded-For": from, Accept: "image/*,text/html" };
  const request = http.request({ host, port, path: pathname, headers, timeout: PATIENCE_MS }, (answer) => {
    answer.resume();
    answer.on("end", () => done({ status: answer.statusCode, location: answer.headers.location }));
  });
  request.on("error", failed);
  request.on("timeout", () => request.destroy(new Error(`no answer to ${url}`)));
  request.end();
});
exports.ask = ask;

exports.until = async (what, found) => {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await found();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((go) => setTimeout(go, 50));
  }
};

// The newest copy for somebody in the built-in inbox, decoded enough to find its links: `page` belongs to an admin.
exports.copyFor = async (page, who, subject) => {
  const list = await (await page.request.get("/api/v1/inbox")).json();
  const entry = list.find((mail) => mail.to.includes(who) && mail.subject === subject);
  if (!entry) throw new Error(`no mail "${subject}" for ${who} in the inbox`);
  const raw = await (await page.request.get(`/api/v1/inbox/${entry.id}/raw`)).text();
  const quoted = /^content-transfer-encoding: quoted-printable/im.test(raw);
  const octet = (_, hex) => String.fromCharCode(parseInt(hex, 16));
  const text = quoted ? raw.replace(/=\r\n/g, "").replace(/=([0-9A-F]{2})/g, octet) : raw;
  const found = (kind) => [...text.matchAll(new RegExp(`http://track\\.example/${kind}/[A-Za-z0-9_.~-]+`, "g"))].map(([url]) => url);
  return { id: entry.id, text, pixels: found("i"), clicks: found("c"), preferences: found("p") };
};

exports.check = (holds, words) => {
  if (!holds) throw new Error(`not so: ${words}`);
};

exports.run = (main) => main(JSON.parse(process.argv[2])).then(
  (told) => console.log(JSON.stringify(told ?? {})),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
