/** What the tests of both pages share: the command, sizes, and what a page must be free of. */

import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { extname, join, normalize } from 'node:path'

import AxeBuilder from '@axe-core/playwright'
import { expect, type Page } from '@playwright/test'

import { text } from '../src/text/en'

export const GLIOMASK = process.env['GLIOMASK'] ?? 'gliomask'
/** The case that comes with the package. */
export const SAMPLE = join(import.meta.dirname, '../../src/gliomask/sample/synthetic_0001')

export const DESK = { width: 1440, height: 900 }
export const PHONE = { width: 390, height: 844 }
/** Below the width at which the viewer opens all sequences at once: drawing without a graphics card is slow. */
export const TABLET = { width: 690, height: 900 }

const PICTURES = process.env['GLIOMASK_SCREENSHOTS']

/** Takes a picture of the page for the documentation, where GLIOMASK_SCREENSHOTS names a folder for them; JPEG, to keep them small. */
export async function picture(page: Page, name: string): Promise<void> {
  if (!PICTURES) return
  // Readers have graphics cards, so they do not see the note that there is none.
  const note = page.locator('.message').filter({ hasText: text.software })
  for (const one of await note.all()) await one.evaluate((element) => (element.textContent = ''))
  await page.screenshot({ path: join(PICTURES, `${name}.jpg`), type: 'jpeg', quality: 85, timeout: 120_000 })
}

/** Takes a picture for a strip, from an element on; empty where no pictures are made. */
export async function shot(page: Page, from = 'h1'): Promise<Buffer> {
  if (!PICTURES) return Buffer.alloc(0)
  const before = page.viewportSize() ?? TABLET
  await page.setViewportSize({ width: 720, height: 720 })
  await page.locator(from).first().evaluate((element) => element.scrollIntoView())
  const taken = await page.screenshot({ type: 'jpeg', quality: 90, timeout: 120_000 })
  await page.setViewportSize(before)
  return taken
}

/** Puts pictures side by side, small enough to open a README with (`strip.jpg`). */
export async function writeStrip(page: Page, pictures: readonly Buffer[]): Promise<void> {
  if (!PICTURES) return
  const sheet = await page.context().newPage()
  await sheet.setViewportSize({ width: 360 * pictures.length, height: 360 })
  const images = pictures.map((one) => `<img width=360 height=360 src="data:image/jpeg;base64,${one.toString('base64')}">`)
  await sheet.setContent(`<body style="margin:0;display:flex">${images.join('')}</body>`)
  await sheet.screenshot({ path: join(PICTURES, 'strip.jpg'), type: 'jpeg', quality: 80 })
  await sheet.close()
}

/** The path below which the application is served. */
export const BELOW = '/some/where/'

const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
}

/** Serves a folder as any static server does, below `BELOW`, without headers of isolation. */
export async function serveSite(site: string): Promise<Server> {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent((request.url ?? '').split('?')[0] ?? ''))
    const file = join(site, path.slice(BELOW.length) || 'index.html')
    if (!path.startsWith(BELOW) || !existsSync(file)) return response.writeHead(404).end()
    return response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

/** Gathers the errors that a page reports. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  return complaints
}

/** Refuses barriers that axe-core calls serious or critical. */
export async function expectNoBarriers(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze()
  const serious = violations.filter((one) => one.impact === 'serious' || one.impact === 'critical')
  expect(serious.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(' ')}`)).toEqual([])
}

/** Refuses a page that is wider than its window. */
export async function expectNoOverflow(page: Page): Promise<void> {
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
  expect(wide).toBeLessThanOrEqual(window as number)
}
