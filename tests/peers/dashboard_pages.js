// Every page a link leads to, from the first one on, in light and dark, on a desk and on a phone: axe-core finds nothing
// serious, nothing sticks out to the right, no page goes against its own policy. With a folder, pictures of all.
//
// The routes come from the router's own table; the answer says which of them no link led to. Besides: what only a form
// leads to, forms that were wrong, what an organisation's admin and a sender see, and the recipient's own pages.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { browser, logIn, send, ask, copyFor, check, run, PATIENCE_MS } = require("./dashboard.js");
const { photograph } = require("./chromium.js");

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const LOOKS = [
  { name: "light.desktop", colorScheme: "light", width: 1280, height: 800 },
  { name: "dark.desktop", colorScheme: "dark", width: 1280, height: 800 },
  { name: "light.phone", colorScheme: "light", width: 390, height: 844 },
  { name: "dark.phone", colorScheme: "dark", width: 390, height: 844 },
];
// For pages that look as others do.
const TWO_LOOKS = [LOOKS[0], LOOKS[3]];
const LENA = ["lena@example.com", "a password of Lena's"];
const TOM = ["tom@example.com", "a password of Tom's"];
// Addresses with a query that change what a page is.
const KINDS = ["recipient", "address", "before"];

const AGENTS = [
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
];
const PLACES = ["193.0.6.139", "130.192.181.193", "200.160.2.3"];
const MAILS = [
  ["Lena Ortiz <lena@example.com>", "Offer for the new workshop windows", ["h.lindqvist@nordglas.example", "office@bauwerk.example"]],
  ["Lena Ortiz <lena@example.com>", "Minutes of Tuesday's call", ["marta@studio-marta.example", "j.brandt@bauwerk.example", "h.lindqvist@nordglas.example"]],
  ["Tom Aalto <tom@example.com>", "Invoice 2026-0417", ["accounts@nordglas.example"]],
  ["Lena Ortiz <lena@example.com>", "Re: delivery date for the second lot", ["j.brandt@bauwerk.example"]],
  ["Tom Aalto <tom@example.com>", "Autumn catalogue", ["marta@studio-marta.example", "info@cafe-lumi.example", "office@bauwerk.example", "team@harbour-school.example"]],
  ["Lena Ortiz <lena@example.com>", "Drawings, third revision", ["marta@studio-marta.example"]],
];
// Some have a name in To, some have none, as in anybody's mail.
const NAMES = {
  "h.lindqvist@nordglas.example": "Henrik Lindqvist",
  "marta@studio-marta.example": "Marta Bianchi",
  "j.brandt@bauwerk.example": "Jana Brandt",
  "info@cafe-lumi.example": "Café Lumi",
};
const html = (subject) => `<!DOCTYPE html><html><body style="font-family:sans-serif"><p>Hello,</p><p>about <b>${subject}</b>: please see
<a href="https://www.example.com/drawings/2026/rev-3">the drawings</a> and <a href="https://www.example.com/prices">the prices</a>.</p><p>Kind regards</p></body></html>`;

// Some days of mail: most of it read, some followed, a scanner among the readers, one who never looks.
const fill = async (site, page) => {
  for (const [from, subject, to] of MAILS) {
    const named = to.map((address) => ({ name: NAMES[address] || "", address }));
    await send(site, { from, to: named, subject, html: html(subject), text: `Hello,\n\nabout ${subject}\n` });
  }
  if (!site.inbox) return;
  let turn = 0;
  for (const [, subject, to] of MAILS) {
    for (const who of to) {
      turn += 1;
      if (who.startsWith("team@")) continue;
      const copy = await copyFor(page, who, subject);
      const [from, agent] = [PLACES[turn % 3], AGENTS[turn % 3]];
      if (turn % 4 === 1) await ask(site, copy.pixels[0], "203.0.113.7", "Barracuda Sentinel (EE)");
      const { status } = await ask(site, copy.pixels[0], from, agent);
      check(status === 200, `the picture of ${who} comes: ${status}`);
      if (turn % 2 === 0) await ask(site, copy.clicks[turn % copy.clicks.length], from, agent);
    }
  }
};

// A second person, a webhook: what only a form makes.
const furnish = async (page) => {
  const token = (await (await page.request.get("/api/v1/session")).json()).csrf_token;
  const put = async (address, data) => {
    const answer = await page.request.post(address, { data, headers: { "X-CSRF-Token": token } });
    check(answer.ok(), `${address}: ${answer.status()} ${await answer.text()}`);
  };
  await put("/api/v1/users", { login: "lena@example.com", org: "default", role: "org-admin", addresses: [], password: LENA[1] });
  await put("/api/v1/users", { login: "tom@example.com", org: "default", role: "sender", addresses: ["tom@aalto.example"], password: TOM[1] });
  await put("/api/v1/orgs/default/people", { notes: [{ address: "office@bauwerk.example", act: "grant", source: "order form", wording: "I agree" }] });
};

const routeOf = (routes, pathname) => {
  const parts = pathname.split("/");
  const fits = (route) => {
    const named = route.split("/");
    return named.length === parts.length && named.every((part, at) => part.startsWith("{") ? parts[at] !== "" : part === parts[at]);
  };
  return routes.find((route) => route === pathname) ?? routes.find(fits);
};

const look = async (page, name, site, told, looks = LOOKS) => {
  const fits = async (how, width, height) => {
    await page.setViewportSize({ width, height });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (wide > 0) told.faults.push(`${name} ${how}: ${wide} pixels stick out to the right`);
  };
  // Between a desk and a hand, where tables are still tables.
  await fits("tablet", 740, 1000);
  for (const { name: how, colorScheme, width, height } of looks) {
    await page.emulateMedia({ colorScheme });
    await fits(how, width, height);
    if (site.pictures) await photograph(page, { path: path.join(site.pictures, `${name}.${how}.png`), fullPage: true });
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { iframes: false, resultTypes: ["violations"] }));
    for (const { id, impact, help, nodes } of found.violations) {
      if (impact !== "serious" && impact !== "critical") continue;
      told.faults.push(`${name} ${how}: ${impact}: ${help} (${id}) at ${nodes.slice(0, 3).map((node) => `${node.target} ${node.any.map((a) => a.message).join(" ").slice(0, 160)}`).join("; ")}`);
    }
  }
};

// Pages that only a form leads to: a link to pass on and where it leads, a key shown once, a test mail on its way.
const made = async (page, context, site, told) => {
  const has = (route) => site.routes.includes(route);
  if (has("/join/{secret}")) await invited(page, context, site, told);
  if (has("/setup/test-mail/{id}")) await tried(page, site, told);
  await wrong(page, site, told);
  await secondFactor(context, site, told);
  await recipients(page, context, site, told);
};

// Forms that a browser would not have sent: what is wrong is said on the page and led to, and what was typed is still there.
const WRONG = [
  ["/users", "form[action='/users']", { login: "lena@example.com", password: "short" }],
  ["/users", "form[action='/users/invite']", { login: "lena@example.com" }],
  ["/account", "form[action='/account']", { present: "not it", password: "another password" }],
  ["/orgs/default", "form.settings", { excluded_recipients: "not an address at all" }],
  ["/orgs/default/privacy", "form.settings", { footer: "no link at all" }],
  ["/notices", "form[action='/webhooks']", { url: "ftp://hooks.example.com/" }],
  ["/setup", "form[action='/setup/test-mail']", { to: "nobody" }],
  ["/inbox", "form[action='/inbox/test-mail']", { to: "nobody" }],
  ["/account/second-factor", "form:has(input[name=sealed])", { code: "000000", present: "not it" }],
];

const wrong = async (page, site, told) => {
  for (const [at, which, typed] of WRONG) {
    await page.goto(at);
    const form = page.locator(which).first();
    await form.evaluate((form) => { form.noValidate = true; });
    for (const [name, value] of Object.entries(typed)) await form.locator(`[name=${name}]`).fill(value);
    const answered = page.waitForResponse((answer) => answer.request().method() === "POST");
    await form.getByRole("button").first().click();
    const status = (await answered).status();
    check(status === 422, `${at} ${JSON.stringify(typed)} is refused: ${status}`);
    const led = page.getByRole("alert").getByRole("link");
    await page.getByRole("alert").waitFor();
    if (await led.count()) {
      const to = page.locator(await led.getAttribute("href"));
      check(await to.evaluate((field) => field === document.activeElement), `${at}: what is wrong has the focus`);
    }
    for (const [name, value] of Object.entries(typed)) {
      const field = page.locator(which).first().locator(`[name=${name}]:not([type=password], [autocomplete=one-time-code])`);
      if (await field.count()) check((await field.inputValue()) === value, `${at}: ${name} is still as typed`);
    }
    await look(page, `${site.prefix}wrong-${nameOf(at)}-${Object.keys(typed)[0]}`, site, told, TWO_LOOKS);
  }
};

// RFC 6238 with what every app does: SHA-1, six digits, half a minute.
const codeOf = (key, step) => {
  const bits = [...key.replace(/[\s=]/g, "")].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const secret = Buffer.from(bits.match(/.{8}/g).map((octet) => parseInt(octet, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + step));
  const hash = crypto.createHmac("sha1", secret).update(counter).digest();
  const at = hash[19] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
};

// Tom sets a second factor up, and logs in with one of its recovery codes.
const secondFactor = async (context, site, told) => {
  const page = await (await context()).newPage();
  await page.goto("/account/second-factor");
  await logIn(page, ...TOM);
  const key = await page.locator("section[aria-labelledby=scan] code").textContent();
  await page.getByLabel("Code", { exact: true }).fill(codeOf(key, 0));
  await page.getByLabel("Present password").fill(TOM[1]);
  await page.getByRole("button", { name: "Set up" }).click();
  await page.getByRole("heading", { name: "Recovery codes" }).waitFor();
  const [recovery] = (await page.locator("pre code").textContent()).trim().split(/\s+/);
  await look(page, `${site.prefix}recovery`, site, told);
  await page.goto("/account/second-factor");
  await page.getByRole("heading", { name: "Take it away" }).waitFor();
  await look(page, `${site.prefix}second-factor-set`, site, told);
  await page.getByRole("button", { name: "Log out" }).click();
  await logIn(page, ...TOM);
  await page.getByRole("heading", { name: "One more step" }).waitFor();
  await look(page, `${site.prefix}code`, site, told);
  await page.getByLabel("Code of your authenticator app").fill("000000");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").waitFor();
  await look(page, `${site.prefix}code-wrong`, site, told, TWO_LOOKS);
  await page.getByLabel("Code of your authenticator app").fill(recovery);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Messages", level: 1 }).waitFor();
  // What is not theirs to see, and a form that did not come from their own page.
  check((await page.goto("/users")).status() === 403, "a sender manages nobody");
  await look(page, `${site.prefix}forbidden`, site, told, TWO_LOOKS);
  await page.context().close();
};

// What the tracking site shows to people: their own page before and after a "no", a link that was withdrawn, one that never was.
const recipients = async (page, context, site, told) => {
  const shown = async (reader, address, status, name) => {
    const answer = await reader.goto(address);
    check(answer.status() === status, `${name}: ${answer.status()}`);
    await look(reader, site.prefix + name, site, told);
  };
  await page.goto("/orgs/default/privacy");
  await page.getByLabel("Footer", { exact: true }).fill("You may [say what you want to be known of you].");
  await page.locator("form.settings").getByRole("button", { name: "Save" }).click();
  await page.getByRole("status").waitFor();
  const [from, subject, who] = ["Lena Ortiz <lena@example.com>", "The plans, once more", "plans@bauwerk.example"];
  await send(site, { from, to: who, subject, html: html(subject) });
  const copy = await copyFor(page, who, subject);
  const reader = await (await context()).newPage();
  await shown(reader, copy.preferences[0], 200, "recipient");
  await reader.getByRole("button").click();
  await reader.getByText("You said no").waitFor();
  await look(reader, `${site.prefix}recipient-no`, site, told);
  await page.goto("/");
  await page.getByRole("link", { name: subject }).click();
  await page.getByText("Change where it leads").first().click();
  await page.getByRole("button", { name: "Withdraw the link" }).first().click();
  await page.getByText("readers learn that the sender took it back").waitFor();
  await look(page, `${site.prefix}message-link-withdrawn`, site, told, TWO_LOOKS);
  await shown(reader, copy.clicks[0], 410, "track-gone");
  await shown(reader, "http://track.example/c/nothing", 404, "track-nothing");
  await reader.context().close();
};

const invited = async (page, context, site, told) => {
  await page.goto("/users");
  const invite = page.locator("form[action='/users/invite']");
  await invite.getByLabel("Login").fill("ines@example.com");
  await invite.getByRole("button").click();
  const link = await page.locator("pre code").textContent();
  await look(page, `${site.prefix}invitation-made`, site, told);
  const stranger = await (await context()).newPage();
  await stranger.goto(new URL(link.trim()).pathname);
  await stranger.getByLabel("New password").waitFor();
  told.visited.push("/join/{secret}");
  await look(stranger, `${site.prefix}join`, site, told);
  await page.goto("/users");
  await page.getByRole("button", { name: "Withdraw the link for ines@example.com" }).click();
  await page.getByRole("status").waitFor();
  check((await stranger.reload()).status() === 410, "the link is gone");
  await look(stranger, `${site.prefix}join-gone`, site, told, TWO_LOOKS);
  await stranger.context().close();
  await page.goto("/users");
  await invite.getByLabel("Login").fill("jo@example.com");
  await invite.getByRole("button").click();
  await page.locator("pre code").waitFor();
  await page.goto("/account");
  await page.getByText("Make an API key").click();
  const key = page.locator("form[action='/account/api-keys']");
  await key.getByLabel("What is it for?").fill("The backup script");
  await key.getByRole("button").click();
  await page.locator("pre code").waitFor();
  await look(page, `${site.prefix}key-made`, site, told);
};

const tried = async (page, site, told) => {
  await page.goto("/setup");
  await page.getByRole("button", { name: "Send a test mail" }).click();
  await page.getByRole("heading", { name: "Test mail to" }).waitFor();
  told.visited.push("/setup/test-mail/{id}");
  await look(page, `${site.prefix}test-mail`, site, told);
};

const nameOf = (route, query) => {
  const words = route.replace(/[{}]/g, "").split("/").filter(Boolean).join("-") || "messages";
  return query ? `${words}-${query}` : words;
};

// Follows links, one of each kind of page.
const crawl = async (page, site, told, looks = LOOKS) => {
  const queue = ["/", "/nowhere", ...site.seeds];
  const seen = new Set();
  while (queue.length > 0) {
    const address = new URL(queue.shift(), `http://${site.admin}`);
    const route = routeOf(site.routes, address.pathname) ?? (address.pathname === "/nowhere" ? "/nowhere" : undefined);
    if (!route || site.files.includes(route)) continue;
    const kind = KINDS.find((name) => address.searchParams.has(name));
    const name = nameOf(route, kind);
    if (seen.has(name)) continue;
    seen.add(name);
    told.visited.push(route);
    const answer = await page.goto(address.href, { waitUntil: "load" });
    check(answer.status() < 500 && (answer.status() === 200 || route === "/nowhere"), `${address.pathname}: ${answer.status()}`);
    const policy = answer.headers()["content-security-policy"] ?? "";
    if (!policy.includes("default-src 'none'") || policy.includes("unsafe")) told.faults.push(`${name}: its policy is ${policy}`);
    const links = await page.evaluate(() => [...document.querySelectorAll("a[href]:not([download])")].map((a) => a.href));
    queue.push(...links.filter((href) => href.startsWith(`http://${site.admin}/`)));
    // The page's own script brings the report once the first look has ended.
    if (route === "/health") await page.locator("#report section").first().waitFor();
    await look(page, site.prefix + name, site, told, looks);
  }
};

// What an organisation's admin and a sender are led to: all of it is theirs to see.
const others = async (context, site, told) => {
  for (const [prefix, [login, password]] of [["chief-", LENA], ["sender-", TOM]]) {
    const page = await (await context()).newPage();
    await page.goto("/login");
    await logIn(page, login, password);
    await page.waitForURL("/", { timeout: PATIENCE_MS });
    await crawl(page, { ...site, prefix: site.prefix + prefix, seeds: [] }, told, TWO_LOOKS);
    await page.context().close();
  }
};

run(async (site) => {
  const { context, close } = await browser(site);
  const told = { visited: [], faults: [] };
  try {
    const page = await (await context()).newPage();
    await page.goto("/login");
    if (site.fill) {
      await logIn(page, "admin", site.password);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await fill(site, page);
      await furnish(page);
      return told;
    }
    told.visited.push("/login");
    await look(page, `${site.prefix}login`, site, told);
    await page.setViewportSize({ width: 1280, height: 800 });
    await logIn(page, "admin", site.password);
    await page.waitForURL("/", { timeout: PATIENCE_MS });
    if (site.webhook) {
      await others(context, site, told);
      await made(page, context, site, told);
      await page.goto("/notices");
      const form = page.locator("form[action='/webhooks']");
      await form.getByLabel("Address").fill(site.webhook);
      await form.getByRole("button", { name: "Add" }).click();
      await page.getByRole("heading", { name: "The webhook is there" }).waitFor();
      await look(page, `${site.prefix}webhook-made`, site, told);
      await page.getByRole("link", { name: "To the webhook" }).click();
      await page.getByRole("button", { name: "Send a test" }).click();
      await page.getByRole("status").waitFor();
    }
    await crawl(page, site, told);
    told.faults.push(...site.violations);
    return told;
  } finally {
    await close();
  }
});
