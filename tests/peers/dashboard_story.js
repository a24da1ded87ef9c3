// One afternoon with the dashboard, from the password of the first start to a recipient's "no". Every step is something
// a person sees; a step that does not come to pass in time ends the run with its words.
"use strict";
const { browser, logIn, send, ask, until, copyFor, check, run } = require("./dashboard.js");

const FROM = "Ana <ana@example.com>";
const LINK = "https://shop.example/offer?a=1";
const mail = (to, subject) => ({ from: FROM, to, subject, html: `<!DOCTYPE html><html><body><p>Dear reader, <a href="${LINK}">the offer</a> is here.</p></body></html>` });
const OWN = "a password of the admin's own";
const CHIEF = ["chief@other.example", "a password of the chief's"];
const BEN = ["ben@example.com", "a password of Ben's"];

const addUser = async (page, [login, password], role, org) => {
  await page.goto("/users");
  const add = page.locator("form[action='/users']");
  await add.getByLabel("Login", { exact: true }).fill(login);
  await add.getByLabel("Password", { exact: true }).fill(password);
  await add.getByLabel("Role").selectOption(role);
  await add.getByLabel("Organisation").selectOption(org);
  await add.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("status").getByText("The user was added").waitFor();
};

// The token that every form of this session carries.
const tokenOf = (page) => page.locator("input[name=csrf]").first().getAttribute("value");

const steps = {
  async "the one-time password leads to one of one's own, a wrong one to nothing"({ page, site }) {
    await page.goto("/audit");
    await logIn(page, "admin", "not the password");
    await page.getByRole("alert").getByText("The login or the password is wrong").waitFor();
    await logIn(page, "admin", site.password);
    await page.getByRole("heading", { name: "Choose a password" }).waitFor();
    await page.goto("/audit");
    await page.getByRole("button", { name: "Log in" }).waitFor();
    await logIn(page, "admin", site.password);
    await page.getByLabel("New password").fill(OWN);
    await page.getByRole("button", { name: "Set password" }).click();
    await page.getByRole("heading", { name: "Audit log" }).waitFor();
    check(new URL(page.url()).pathname === "/audit", "the login leads where one wanted to go");
    await page.getByRole("link", { name: "Messages" }).click();
    await page.getByRole("heading", { name: "No mail yet" }).waitFor();
  },

  async "tracking switched off: the next mail leaves as it came"({ page, site }) {
    const choose = async (opens, links) => {
      await page.goto("/orgs/default");
      await page.locator(`input[name=opens][value=${opens}]`).check();
      await page.locator(`input[name=links][value=${links}]`).check();
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByRole("status").getByText("Saved").waitFor();
    };
    await choose("off", "off");
    await send(site, mail("plain@reader.example", "Untouched"));
    const plain = await copyFor(page, "plain@reader.example", "Untouched");
    check(!plain.text.includes("track.example") && plain.text.includes(`href="${LINK}"`), "nothing was put in");
    await choose("individual", "individual");
    await send(site, mail("plain@reader.example", "Touched"));
    check((await copyFor(page, "plain@reader.example", "Touched")).pixels.length === 1, "it is on again");
  },

  async "a page that was left open undoes nothing of what was done meanwhile"({ page }) {
    const choice = (at, name, value) => at.locator(`input[name=${name}][value=${value}]`);
    const save = (at) => at.getByRole("button", { name: "Save" }).click();
    await page.goto("/orgs/default");
    const other = await page.context().newPage();
    await other.goto("/orgs/default");
    await choice(other, "opens", "aggregate").check();
    await save(other);
    await other.getByRole("status").getByText("Saved").waitFor();
    await choice(page, "links", "off").check();
    await save(page);
    await page.getByRole("alert").getByText("Changed meanwhile by somebody else").waitFor();
    check(await choice(page, "links", "off").isChecked(), "what was chosen is still chosen");
    await other.reload();
    check(await choice(other, "opens", "aggregate").isChecked(), "what was done meanwhile stays");
    check(await choice(other, "links", "individual").isChecked(), "and nothing else was changed");
    await other.close();
    await choice(page, "links", "individual").check();
    await choice(page, "opens", "individual").check();
    await save(page);
    await page.getByRole("status").getByText("Saved").waitFor();
  },

  async "two recipients, one opens: the Activity page says so without being loaded again"({ page, site, kept }) {
    await send(site, mail("bob@reader.example, cy@reader.example", "The offer"));
    kept.bob = await copyFor(page, "bob@reader.example", "The offer");
    await page.goto("/activity");
    await page.getByRole("status").getByText("Live").waitFor();
    await page.evaluate(() => { document.body.dataset.first = "yes"; });
    check((await ask(site, kept.bob.pixels[0])).status === 200, "the picture comes");
    await page.locator("#activity li", { hasText: "bob@reader.example opened" }).first().waitFor();
    check((await page.locator("body").getAttribute("data-first")) === "yes", "it is the same page still");
    check((await page.locator("#activity").getByText("cy@reader.example").count()) === 0, "the other one did nothing");
  },

  async "from there to the mail: who has it and who opened it"({ page, kept }) {
    await page.locator("#activity li", { hasText: "bob@reader.example" }).first().getByRole("link", { name: "The offer" }).click();
    await page.getByRole("heading", { level: 1, name: "The offer" }).waitFor();
    kept.message = new URL(page.url()).pathname;
    await page.locator(".recipients li", { hasText: "cy@reader.example" }).waitFor();
    await page.locator(".timeline li.open", { hasText: "bob@reader.example" }).waitFor();
  },

  async "a link is led elsewhere, withdrawn, and led back"({ page, site, kept }) {
    const follow = () => ask(site, kept.bob.clicks[0]);
    check((await follow()).location === LINK, "it leads where the mail says");
    const link = page.locator(".links > li", { hasText: LINK });
    const change = async () => {
      await page.goto(kept.message);
      await link.getByText("Change where it leads").click();
    };
    await change();
    await link.getByLabel("New destination").fill("https://shop.example/new");
    await link.getByRole("button", { name: "Change", exact: true }).click();
    await page.getByRole("status").getByText("The link was changed").waitFor();
    check((await follow()).location === "https://shop.example/new", "it leads elsewhere at once");
    await change();
    await link.getByRole("button", { name: "Withdraw the link" }).click();
    await page.getByText("readers learn that the sender took it back").waitFor();
    check((await follow()).status === 410, "it is gone");
    await change();
    await link.getByRole("button", { name: "Back to the original" }).click();
    await page.getByRole("status").getByText("The link was changed").waitFor();
    check((await follow()).location === LINK, "and back again");
  },

  async "a recipient says no on their own page: their next mail is not tracked"({ page, site, context }) {
    await page.goto("/orgs/default/privacy");
    await page.getByLabel("Footer").fill("You may [say what you want to be known of you].");
    await page.locator("form.settings").getByRole("button", { name: "Save" }).click();
    await page.getByRole("status").waitFor();
    await send(site, mail("dan@reader.example", "With a footer"));
    const copy = await copyFor(page, "dan@reader.example", "With a footer");
    check(copy.preferences.length > 0, "the footer has the link");
    const reader = await (await context({ javaScriptEnabled: false })).newPage();
    await reader.goto(copy.preferences[0]);
    await reader.getByRole("button").first().click();
    await reader.getByText("You said no").waitFor();
    await send(site, mail("dan@reader.example", "After the no"));
    const after = await copyFor(page, "dan@reader.example", "After the no");
    check(after.pixels.length === 0 && after.clicks.length === 0, "nothing is tracked any more");
    await page.goto("/orgs/default/privacy");
    await page.getByLabel("Address").fill("dan@reader.example");
    await page.getByRole("button", { name: "Look up" }).click();
    await page.locator("code", { hasText: "http://track.example/p/" }).waitFor();
    await page.getByText("They said no on their own page").waitFor();
    await reader.context().close();
  },

  async "the list as a file"({ page }) {
    await page.goto("/");
    await page.locator("details.search summary").click();
    const saved = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download as CSV" }).click();
    const chunks = [];
    for await (const chunk of await (await saved).createReadStream()) chunks.push(chunk);
    const lines = Buffer.concat(chunks).toString().split("\r\n");
    check(lines[0].startsWith("sent,from,subject"), "it has a heading");
    check(lines.filter((line) => line.includes("The offer")).length === 1, "and the mails");
  },

  async "another organisation's admin sees nothing of this one, by page or by API"({ page, context, kept }) {
    await addUser(page, CHIEF, "org-admin", "other");
    kept.chief = await (await context()).newPage();
    await kept.chief.goto("/");
    await logIn(kept.chief, ...CHIEF);
    await kept.chief.getByRole("heading", { name: "No mail yet" }).waitFor();
    const id = kept.message.split("/").pop();
    const closed = ["/orgs/default", "/orgs/default/privacy", kept.message, `/?org=default`, "/figures?org=default", "/audit?org=default",
      "/api/v1/orgs/default", `/api/v1/messages/${id}`, `/api/v1/messages/${id}/links`, "/api/v1/messages?org=default",
      "/api/v1/events?org=default", "/api/v1/readers/bob@reader.example", "/api/v1/users/admin", "/people/one?address=bob@reader.example"];
    for (const path of closed) {
      const status = (await kept.chief.request.get(path)).status();
      check(status === 404, `${path} is not there for them: ${status}`);
    }
    check((await kept.chief.request.get("/inbox")).status() === 403, "the inbox is the server admin's");
    const events = await (await kept.chief.request.get(`/api/v1/events?message=${id}`)).json();
    check(events.events.length === 0, "no event of another organisation's mail");
  },

  async "nor can they change anything of it, by form or by API"({ page, site, context, kept }) {
    await addUser(page, BEN, "sender", "default");
    const csrf = await tokenOf(kept.chief);
    const before = await (await page.request.get("/api/v1/audit")).text();
    const forms = [
      [`${kept.message}/links/0`, { do: "to", destination: "https://evil.example/" }],
      [`${kept.message}/links/0`, { do: "withdraw" }],
      [`${kept.message}/events`, { own: "1" }],
      ["/orgs/default", { opens: "off", links: "off" }],
      ["/orgs/default/privacy", { footer: "theirs" }],
      ["/orgs/default/privacy/note", { address: "bob@reader.example", act: "refuse" }],
      ["/orgs/default/access", { admins_see_messages: "on" }],
      ["/users/password", { login: BEN[0], password: "a password of the chief's choice" }],
      ["/users/remove", { login: BEN[0] }],
      ["/users/link", { login: BEN[0] }],
      ["/users/sessions/end", { login: BEN[0], id: "all" }],
      ["/users", { login: "spy@example.com", password: "a password of the spy's", role: "org-admin", org: "default" }],
      ["/users/invite", { login: "spy@example.com", role: "org-admin", org: "default" }],
      ["/tracking", { login: BEN[0], opens: "off" }],
      ["/notices/org", { org: "default", mail: "on", level: "every" }],
      ["/webhooks", { org: "default", url: "https://evil.example/hook" }],
    ];
    for (const [path, form] of forms) {
      const status = (await kept.chief.request.post(path, { form: { csrf, ...form }, maxRedirects: 0 })).status();
      check([403, 404, 422].includes(status), `POST ${path} ${JSON.stringify(form)} is not theirs: ${status}`);
    }
    const headers = { "X-CSRF-Token": csrf };
    const id = kept.message.split("/").pop();
    const calls = [
      ["put", `/api/v1/messages/${id}/links/0`, { destination: "https://evil.example/" }],
      ["patch", "/api/v1/orgs/default", { opens: "off" }],
      ["patch", "/api/v1/orgs/default/privacy", { footer: "theirs" }],
      ["delete", `/api/v1/users/${BEN[0]}`, undefined],
      ["put", `/api/v1/users/${BEN[0]}/password`, { password: "a password of the chief's choice" }],
      ["delete", `/api/v1/users/${BEN[0]}/sessions`, undefined],
      ["post", "/api/v1/webhooks", { org: "default", url: "https://evil.example/hook" }],
      ["post", "/api/v1/privacy/erase", { address: "bob@reader.example", org: "default" }],
    ];
    for (const [how, path, data] of calls) {
      const status = (await kept.chief.request[how](path, { data, headers })).status();
      check([403, 404, 422].includes(status), `${how} ${path} is not theirs: ${status}`);
    }
    check((await (await page.request.get("/api/v1/audit")).text()) === before, "and nothing was changed");
    // A form from elsewhere, with a session but without its token, does nothing either.
    const foreign = await page.request.post("/orgs/default", { form: { opens: "off" }, maxRedirects: 0 });
    check(foreign.status() === 403, `a form without the token: ${foreign.status()}`);
    kept.ben = await (await context()).newPage();
    await kept.ben.goto("/tracking");
    await logIn(kept.ben, ...BEN);
    await kept.ben.getByRole("heading", { name: "Tracking of your mail" }).waitFor();
  },

  async "what an admin locks, its users see and cannot turn"({ page, kept }) {
    const links = kept.ben.locator("fieldset", { has: kept.ben.locator("input[name=links]") });
    await links.getByLabel("Off").check();
    await kept.ben.getByRole("button", { name: "Save" }).click();
    await kept.ben.getByRole("status").getByText("Saved").waitFor();
    await kept.ben.locator("dl.force div", { hasText: "Link tracking" }).getByText("Off").waitFor();
    await page.goto("/orgs/default");
    await page.locator("input[name=locked][value=links]").check();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("status").getByText("Saved").waitFor();
    await kept.ben.reload();
    await links.getByText("locked by the organisation").waitFor();
    check(await links.locator("input[value=off]").isDisabled(), "the switch is out of reach");
    check(await kept.ben.locator("input[name=opens][value=off]").isEnabled(), "the one beside it is not");
    await kept.ben.locator("dl.force div", { hasText: "Link tracking" }).getByText("Individual").waitFor();
    const form = { csrf: await tokenOf(kept.ben), login: BEN[0], links: "off" };
    const answer = await kept.ben.request.post("/tracking", { form, maxRedirects: 0 });
    check(answer.status() === 422, `a form that turns it all the same: ${answer.status()}`);
    await kept.ben.context().close();
  },

  async "what config.toml holds is shown and cannot be changed"({ kept }) {
    await kept.chief.goto("/orgs/other");
    const opens = kept.chief.locator("fieldset", { has: kept.chief.locator("input[name=opens]") });
    await opens.getByText("managed in config.toml").waitFor();
    check(await opens.locator("input[value=off]").isDisabled(), "the switch is out of reach");
    check(await kept.chief.locator("input[name=links][value=off]").isEnabled(), "the one beside it is not");
  },

  async "a session that ended: one logs in again and is back where one was"({ page, kept }) {
    await page.goto(`/users/edit?login=${encodeURIComponent(CHIEF[0])}`);
    const password = "another password of the chief's";
    const form = page.locator("form[action='/users/password']");
    await form.getByLabel("Password", { exact: true }).fill(password);
    await form.getByRole("button", { name: "Set password" }).click();
    await page.getByRole("status").waitFor();
    await kept.chief.getByRole("link", { name: "People" }).click();
    await kept.chief.getByRole("button", { name: "Log in" }).waitFor();
    await logIn(kept.chief, CHIEF[0], password);
    await kept.chief.getByRole("heading", { name: "People" }).waitFor();
  },

  async "all of it without script"({ context, site, kept }) {
    const page = await (await context({ javaScriptEnabled: false })).newPage();
    await page.goto("/activity");
    await logIn(page, "admin", site.password);
    await page.getByRole("alert").getByText("The login or the password is wrong").waitFor();
    await logIn(page, "admin", OWN);
    await page.locator("#activity li", { hasText: "bob@reader.example" }).first().waitFor();
    await page.goto(kept.message);
    await page.getByText("Change where it leads").click();
    await page.getByLabel("New destination").fill("https://shop.example/without-script");
    await page.getByRole("button", { name: "Change", exact: true }).click();
    await page.getByText("https://shop.example/without-script").first().waitFor();
    await page.goto("/");
    await page.locator("details.search summary").click();
    await page.getByLabel("Subject").fill("offer");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("link", { name: "The offer" }).waitFor();
    check((await page.getByRole("link", { name: "Untouched" }).count()) === 0, "the search searches");
    await page.goto("/orgs/default");
    await page.locator("input[name=opens][value=aggregate]").check();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("status").getByText("Saved").waitFor();
    await page.locator("dl.force div", { hasText: "Email tracking" }).getByText("Aggregate").waitFor();
    await addUser(page, ["cleo@example.com", "a password of Cleo's"], "sender", "default");
    await page.getByRole("link", { name: "cleo@example.com" }).waitFor();
    await page.goto("/setup");
    await page.getByText("Thunderbird", { exact: true }).first().click();
    await page.getByRole("button", { name: "Send a test mail" }).click();
    await page.getByRole("heading", { name: "Test mail to" }).waitFor();
    await until("the test mail is delivered", async () => {
      await page.getByRole("link", { name: "Look again" }).click();
      return page.getByText("Delivered to upstream").isVisible();
    });
    await page.goto("/figures?days=7");
    await page.getByRole("link", { name: "90 days" }).click();
    await page.getByText("The same as a table").click();
    await page.getByRole("columnheader", { name: "Opens by people" }).first().waitFor();
    await page.goto("/health");
    await until("the look has ended", async () => {
      await page.getByRole("link", { name: /show it|Look again/ }).click();
      return page.getByRole("heading", { name: "Storage" }).isVisible();
    });
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("button", { name: "Log in" }).waitFor();
  },
};

run(async (site) => {
  const { context, close } = await browser(site);
  try {
    const page = await (await context()).newPage();
    const kept = {};
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step({ page, site, context, kept });
      } catch (error) {
        throw new Error(`${name}: at ${page.url()}`, { cause: error });
      }
    }
    check(site.violations.length === 0, `no page went against its policy: ${site.violations.join("; ")}`);
    return { steps: Object.keys(steps).length };
  } finally {
    await close();
  }
});
