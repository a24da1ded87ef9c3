// A reader with a real Chromium: opens a mail's HTML from a local file, follows its first link, then opens a page that
// fetches a link ahead. All hosts are the proxy below, which says in X-Forwarded-For where the reader is.
//
//   node real_browser.js TRACKING-HOST:PORT READER-ADDRESS MAIL.html PREFETCHING.html
//
// It prints one line of JSON: what the page of the link's destination said, and the requests that went to the site.
"use strict";
const http = require("http");
const { pathToFileURL } = require("url");
const { launch, PATIENCE_MS } = require("./chromium.js");

const [site, reader, mail, prefetching] = process.argv.slice(2);
const [siteHost, sitePort] = site.split(":");
const asked = [];

const proxy = http.createServer((request, response) => {
  if (!request.headers.host.startsWith("track.example")) {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end(`<title>arrived at ${request.headers.host}${request.url}</title>`);
    return;
  }
  const purpose = request.headers["sec-purpose"] || request.headers["purpose"] || "";
  asked.push(`${request.method} ${request.url.slice(0, 3)} ${purpose}`.trim());
  const headers = { ...request.headers, "x-forwarded-for": reader };
  const onward = { host: siteHost, port: sitePort, method: request.method, path: request.url, headers };
  const passed = http.request(onward, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  passed.on("error", () => response.destroy());
  request.pipe(passed);
});

async function until(condition) {
  for (let waited = 0; !condition(); waited += 50) {
    if (waited > PATIENCE_MS) throw new Error(`nothing after ${PATIENCE_MS / 1000} seconds; asked so far: ${asked.join(", ")}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

proxy.listen(0, "127.0.0.1", async () => {
  const { port } = proxy.address();
  // The site's name counts as secure, as it is behind TLS outside of this test: browsers say what they fetch ahead only there.
  const more = ["--no-proxy-server", "--unsafely-treat-insecure-origin-as-secure=http://track.example"];
  const browser = await launch([`MAP * 127.0.0.1:${port}`], more);
  try {
    const version = browser.version().split(".")[0];
    const userAgent = `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`;
    const context = await browser.newContext({ userAgent });
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    await page.goto(pathToFileURL(mail).href);
    await page.waitForFunction(() => [...document.images].every((image) => image.complete && image.naturalWidth === 1));
    await page.click("a");
    await page.waitForURL("http://shop.example/**");
    const title = await page.title();
    const before = asked.length;
    await page.goto(pathToFileURL(prefetching).href);
    await until(() => asked.length > before);
    console.log(JSON.stringify({ title, asked }));
  } finally {
    await browser.close();
    proxy.close();
  }
});
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
