// The page of a test mail in a real Chromium: logs in, presses the button, and tells each state the page shows without ever
// being reloaded.
//
//   node test_mail.js http://ADMIN-HOST:PORT LOGIN PASSWORD RECIPIENT
//
// It prints a line of JSON when the mail is delivered (its page's path), and another when the link was followed.
"use strict";
const { launch, PATIENCE_MS } = require("./chromium.js");

const [site, login, password, to] = process.argv.slice(2);
const shows = (page, words) => page.waitForFunction(
  (text) => document.getElementById("steps").textContent.includes(text), words);

(async () => {
  const browser = await launch();
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  await page.goto(`${site}/login`);
  await page.fill("input[name=login]", login);
  await page.fill("input[name=password]", password);
  await page.click("form button");
  await page.goto(`${site}/setup`);
  await page.fill("#to", to);
  await page.click("form[action='/setup/test-mail'] button");
  await page.waitForURL("**/setup/test-mail/*");
  await page.evaluate(() => { window.neverReloaded = true; });
  await shows(page, "Delivered to upstream");
  await page.waitForFunction(() => document.getElementById("live").textContent === "Live");
  console.log(JSON.stringify({ path: new URL(page.url()).pathname }));
  await shows(page, "Link followed");
  const told = await page.evaluate(() => ({
    steps: [...document.querySelectorAll("#steps .state")].map((state) => state.textContent),
    reloaded: !window.neverReloaded,
  }));
  await browser.close();
  console.log(JSON.stringify({ ...told, errors }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
