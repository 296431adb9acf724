/** What the tests of both pages share: the command, sizes, and what a page must be free of. */

import { join } from 'node:path'

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
