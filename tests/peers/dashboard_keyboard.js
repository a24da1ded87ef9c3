// The dashboard by keyboard alone: Tab, arrows, Enter and Space, from the login to the page of a mail. Where the focus is
// can be seen at every step.
"use strict";
const { browser, send, until, check, run } = require("./dashboard.js");

const FROM = "Ana <ana@example.com>";
const STOPS_MAX = 150;

// What has the focus, in a word, and whether one sees it: an outline of its own that is not transparent.
const focused = (page) => page.evaluate(() => {
  const at = document.activeElement;
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(at);
  const hidden = /rgba\(.*, 0\)$/.test(outlineColor);
  const box = at.getBoundingClientRect();
  return {
    is: `${at.tagName.toLowerCase()} ${at.name || at.textContent.trim().slice(0, 40)}`,
    seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && !hidden && box.width > 0 && box.right > 0,
  };
});

// Goes on with Tab until this has the focus. On the way nothing is passed unseen.
const tabTo = async (page, target) => {
  for (let stop = 0; stop < STOPS_MAX; stop += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
    const { is, seen } = await focused(page);
    if (!is.startsWith("body")) check(seen, `the focus is seen on ${is} of ${page.url()}`);
  }
  throw new Error(`never reached by Tab: ${target}`);
};

const press = async (page, target, key) => {
  await tabTo(page, target);
  await page.keyboard.press(key);
};

const write = async (page, target, text) => {
  await tabTo(page, target);
  await page.keyboard.press("Control+A");
  await page.keyboard.type(text);
};

const steps = {
  async "the login has the focus, and Enter logs in"({ page, site }) {
    await page.goto("/");
    await until("the login field has the focus", () => page.getByLabel("Login").evaluate((field) => field === document.activeElement));
    await page.keyboard.type("admin");
    await write(page, page.getByLabel("Password"), site.password);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Messages" }).waitFor();
  },

  async "the first stop leads past the tabs"({ page }) {
    await page.keyboard.press("Tab");
    check((await focused(page)).is.includes("Skip to the page"), `the first stop: ${(await focused(page)).is}`);
    check((await focused(page)).seen, "it is seen once it has the focus");
    await page.keyboard.press("Enter");
    await until("the page has the focus", () => page.evaluate(() => document.activeElement.id === "main"));
  },

  async "a switch is turned with an arrow and saved with Space"({ page }) {
    await page.goto("/");
    await press(page, page.getByRole("link", { name: "Settings" }), "Enter");
    await page.getByRole("heading", { level: 1, name: "default" }).waitFor();
    await tabTo(page, page.locator("input[name=links]:checked"));
    // The choices are a ring: one up from the first is the last.
    await page.keyboard.press("ArrowUp");
    check(await page.locator("input[name=links][value=off]").isChecked(), "the arrow chose Off");
    await press(page, page.getByRole("button", { name: "Save" }), "Space");
    await page.getByRole("status").getByText("Saved").waitFor();
    await page.locator("dl.force div", { hasText: "Link tracking" }).getByText("Off").waitFor();
    await tabTo(page, page.locator("input[name=links]:checked"));
    for (let up = 0; up < 2; up += 1) await page.keyboard.press("ArrowUp");
    check(await page.locator("input[name=links][value=individual]").isChecked(), "two up it is Individual");
    await press(page, page.getByRole("button", { name: "Save" }), "Enter");
    await page.getByRole("status").getByText("Saved").waitFor();
  },

  async "a form is filled in and sent"({ page }) {
    await press(page, page.getByRole("link", { name: "Users" }), "Enter");
    const add = page.locator("form[action='/users']");
    await write(page, add.getByLabel("Login", { exact: true }), "kim@example.com");
    await write(page, add.getByLabel("Password", { exact: true }), "a password of Kim's");
    await tabTo(page, add.getByLabel("Role"));
    await page.keyboard.type("Sen");
    await press(page, add.getByRole("button", { name: "Add", exact: true }), "Enter");
    await page.getByRole("status").getByText("The user was added").waitFor();
  },

  async "a mail's page: a link is led elsewhere"({ page, site }) {
    const body = '<p>Dear reader, <a href="https://shop.example/offer">the offer</a> is here.</p>';
    await send(site, { from: FROM, to: "bob@reader.example", subject: "By keyboard", html: body });
    await press(page, page.getByRole("link", { name: "Messages" }), "Enter");
    await press(page, page.getByRole("link", { name: "By keyboard" }), "Enter");
    await page.getByRole("heading", { level: 1, name: "By keyboard" }).waitFor();
    await press(page, page.locator("summary", { hasText: "Change where it leads" }), "Space");
    await write(page, page.getByLabel("New destination"), "https://shop.example/elsewhere");
    await press(page, page.getByRole("button", { name: "Change", exact: true }), "Enter");
    await page.getByRole("status").getByText("The link was changed").waitFor();
    await page.getByText("https://shop.example/elsewhere").first().waitFor();
  },

  async "and out again"({ page }) {
    await press(page, page.getByRole("button", { name: "Log out" }), "Space");
    await page.getByRole("button", { name: "Log in" }).waitFor();
  },
};

run(async (site) => {
  const { context, close } = await browser(site);
  try {
    const page = await (await context()).newPage();
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step({ page, site });
      } catch (error) {
        throw new Error(`${name}: at ${page.url()}`, { cause: error });
      }
    }
    return { steps: Object.keys(steps).length };
  } finally {
    await close();
  }
});
