import { defineConfig } from '@playwright/test'

/** Debian's Chromium; GLIOMASK_CHROMIUM names another. */
export default defineConfig({
  testDir: 'e2e',
  timeout: 1_200_000,
  workers: 1,
  reporter: 'list',
  // What a page shows may wait for a report to be written, on a machine that does other things, too.
  expect: { timeout: 60_000 },
  use: {
    // Longer than any of them takes without a graphics card.
    actionTimeout: 60_000,
    launchOptions: {
      executablePath: process.env['GLIOMASK_CHROMIUM'] ?? '/usr/bin/chromium',
      // Draws without a graphics card, as test machines are.
      args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'],
    },
  },
})
