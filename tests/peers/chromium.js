// How every test starts its headless Chromium, and takes a picture of a page.
"use strict";
const { chromium } = require("playwright-core");

// Every other test may want the processors too.
exports.PATIENCE_MS = 180_000;

// `hosts` are rules of --host-resolver-rules: which names lead where, and that others lead nowhere.
exports.launch = (hosts = [], more = []) => chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  timeout: exports.PATIENCE_MS,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--font-render-hinting=none",
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,HttpsFirstModeV2",
    ...(hosts.length ? [`--host-resolver-rules=${hosts.join(", ")}`] : []),
    ...more,
  ],
});

// On a busy machine Chromium refuses a picture now and then (its surface is just being resized) and takes the same one a moment
// later: it is asked six times. Any other error is one at once.
exports.photograph = async (page, options) => {
  for (let turn = 1; ; turn += 1) {
    try {
      return await page.screenshot(options);
    } catch (error) {
      if (turn === 6 || !/Unable to capture screenshot/.test(error.message)) throw error;
      await page.waitForTimeout(500 * turn);
    }
  }
};
