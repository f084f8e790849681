// Walks through the console as each of its people does, in a real browser: every page of every role in both languages, both
// lights and at the width of a telephone; by keyboard; with axe-core. Writes a picture of each page, and fails at the first
// thing that a person would stumble over.
//
//   node walk.mjs CONSOLE_URL PICTURES_DIR CHROMIUM

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, pictures, chromium] = process.argv.slice(2);
const require = createRequire(join(process.env.CONSOLE_MODULES ?? process.cwd(), "package.json"));
const playwright = require("playwright-core");
const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

// Of the golden table: which role sees which page. Pages about one thing are reached by following links.
const table = (await readFile(new URL("../../gateway/console/tests/golden/pages.txt", import.meta.url), "utf8"))
  .trimEnd().split("\n").map((line) => line.split(/\s+/));
const roles = table[0].slice(1);
const pages = table.slice(1)
  .map(([path, ...marks]) => ({ path, roles: roles.filter((_, place) => marks[place] === "yes") }))
  .filter(({ path }) => !/[{.]|\/(live|close|note)$/.test(path));

if (roles.length < 3 || pages.length < 10) throw new Error("the table of pages is not there");

const people = { operator: "DEMO – Nguyễn Văn Mẫu", auditor: "DEMO – Lê Thị Mẫu", officer: "DEMO – Hoàng Thị Mẫu", steward: "DEMO – Đỗ Văn Mẫu", head: "DEMO – Vũ Thị Mẫu" };
const problems = [];
const problem = (where, what) => { problems.push(`${where}: ${what}`); console.log(`✗ ${where}: ${what}`); };

await mkdir(pictures, { recursive: true });
const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });

for (const role of roles) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.on("console", (message) => { if (message.type() === "error" && !/40[34]/.test(message.text())) problem(page.url(), message.text()); });
  page.on("pageerror", (error) => problem(page.url(), String(error)));
  await page.goto(`${url}/vi/sign-in`);
  await judge(page, `${role} sign-in`);
  await page.getByRole("button", { name: people[role] }).click();
  if (!page.url().endsWith("/vi/")) problem(role, `signing in leads to ${page.url()}`);

  for (const { path, roles: allowed } of pages) {
    for (const lang of ["vi", "en"]) {
      const response = await page.goto(`${url}/${lang}${path}`, { waitUntil: "load" });
      const expected = allowed.includes(role) ? 200 : 403;
      if (response.status() !== expected) problem(`${role} ${lang}${path}`, `${response.status()}, not ${expected}`);
      if (expected === 403) continue;
      await judge(page, `${role} ${lang}${path}`);
      const name = `${role}-${lang}${path.replaceAll("/", "-")}`;
      await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
      if (lang === "vi") {
        await page.emulateMedia({ colorScheme: "dark" });
        await judge(page, `${role} dark ${path}`);
        await page.screenshot({ path: join(pictures, `${name}-dark.png`), fullPage: true });
        await page.emulateMedia({ colorScheme: "light" });
        await page.setViewportSize({ width: 390, height: 844 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
        if (wide) problem(`${role} telephone ${path}`, "the page is wider than the screen");
        await page.screenshot({ path: join(pictures, `${name}-telephone.png`), fullPage: true });
        await page.setViewportSize({ width: 1280, height: 900 });
      }
    }
  }
  if (pages.some(({ path, roles }) => path === "/records" && roles.includes(role))) await byKeyboard(page, role);
  await withoutScript(role);
  await context.close();
}

await browser.close();
await writeFile(join(pictures, "problems.txt"), problems.join("\n"));
console.log(`${problems.length} problems`);
process.exit(problems.length ? 1 : 0);

// No serious or critical finding of axe-core; one first heading; a language.
async function judge(page, where) {
  const found = await page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] })`);
  for (const violation of found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact))) {
    problem(where, `${violation.id}: ${violation.nodes.map(({ html }) => html).slice(0, 3).join(" | ")}`);
  }
  if (await page.locator("h1").count() !== 1) problem(where, "not exactly one first heading");
}

// From the top: the skip link, the search form, a search, an exchange; no mouse.
async function byKeyboard(page, role) {
  await page.goto(`${url}/vi/records`);
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => document.activeElement.textContent);
  if (first !== "Đến nội dung") problem(`${role} keyboard`, `the first stop is ${first}`);
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  const field = await page.evaluate(() => document.activeElement.name);
  if (field !== "agency") problem(`${role} keyboard`, `behind the skip link comes ${field}`);
  await page.keyboard.type("H26.90");
  await page.keyboard.press("Enter");
  await page.waitForURL(/agency=H26\.90/);
  await judge(page, `${role} results`);
  await page.screenshot({ path: join(pictures, `${role}-vi-results.png`), fullPage: true });
  const link = page.locator("tbody a").first();
  await link.focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/exchanges\//);
  await judge(page, `${role} exchange`);
  if (!(await page.locator(".good").first().textContent()).includes("Đã kiểm chứng")) problem(`${role} exchange`, "not verified");
  await page.screenshot({ path: join(pictures, `${role}-vi-exchange.png`), fullPage: true });
  await page.emulateMedia({ media: "print" });
  await page.screenshot({ path: join(pictures, `${role}-vi-exchange-print.png`), fullPage: true });
  await page.emulateMedia({ media: null });
}

// Reading needs no script.
async function withoutScript(role) {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${url}/en/sign-in`);
  await page.getByRole("button", { name: people[role] }).click();
  for (const { path } of pages.filter(({ roles }) => roles.includes(role))) {
    const response = await page.goto(`${url}/en${path}`);
    if (response.status() !== 200) problem(`${role} without script ${path}`, String(response.status()));
  }
  await context.close();
}
